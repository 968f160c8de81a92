package execution

import (
	"fmt"
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
)

func writes(keys ...string) *epaxos.Command {
	c := &epaxos.Command{}
	for _, k := range keys {
		c.Footprint = append(c.Footprint, epaxos.Access{Mode: epaxos.Write, Key: k})
	}
	return c
}

func threeVoters() epaxos.Membership { return epaxos.NewMembership(1, 1, 2, 3) }

func id(replica int, slot int) epaxos.InstanceID {
	return epaxos.InstanceID{Epoch: 1, Replica: epaxos.ReplicaID(replica), Slot: epaxos.Slot(slot)}
}

func drain(g *Graph) (count int) {
	for component := g.Next(); component != nil; component = g.Next() {
		count += len(component)
	}
	return count
}

// BenchmarkIndependent: commands that meet nothing, each executed as it commits.
func BenchmarkIndependent(b *testing.B) {
	g := NewGraph(threeVoters())
	commands := make([]*epaxos.Command, 1<<16)
	for i := range commands {
		commands[i] = writes(fmt.Sprintf("key-%d", i))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		instance, cmd := id(1+i%3, 1+i/3), commands[i%len(commands)]
		g.Learn(instance, cmd)
		g.Commit(instance, cmd, epaxos.Dependencies{0, 0, 0})
		if drain(g) != 1 {
			b.Fatal("an independent command did not execute")
		}
		if i%1024 == 0 {
			g.TakeExecuted()
		}
	}
}

// BenchmarkChain: 100,000 commands that each share a key with the one before, committed from the
// newest to the oldest, so that the search goes through the whole chain.
func BenchmarkChain(b *testing.B) {
	const length = 100_000
	commands := make([]*epaxos.Command, length+1)
	for i := range commands {
		commands[i] = writes(fmt.Sprintf("key-%d", i), fmt.Sprintf("key-%d", i+1))
	}
	for b.Loop() {
		g := NewGraph(threeVoters())
		for i := length; i >= 1; i-- {
			g.Commit(id(1, i), commands[i], epaxos.Dependencies{epaxos.Slot(i - 1), 0, 0})
			if i%100 == 0 {
				drain(g)
			}
		}
		if n := drain(g); n != length {
			b.Fatalf("%d of %d executed", n, length)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/length, "ns/command")
}

// BenchmarkComponent: 10,000 commands on one key, each depending on all others.
func BenchmarkComponent(b *testing.B) {
	const size = 9_999
	cmd := writes("hot")
	all := epaxos.Dependencies{size / 3, size / 3, size / 3}
	for b.Loop() {
		g := NewGraph(threeVoters())
		for i := range size {
			g.Learn(id(1+i%3, 1+i/3), cmd)
		}
		for i := range size {
			g.Commit(id(1+i%3, 1+i/3), cmd, all)
			g.Next()
		}
		if n := g.Pending(); n != 0 {
			b.Fatalf("%d left", n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size, "ns/command")
}

// BenchmarkHotKeyBacklog: 20,000 commands on one key; every second one commits late, oldest first,
// while all others wait.
func BenchmarkHotKeyBacklog(b *testing.B) {
	const size = 20_000
	cmd := writes("hot")
	for b.Loop() {
		g := NewGraph(threeVoters())
		for i := 1; i <= size; i++ {
			g.Learn(id(1, i), cmd)
		}
		for first := 2; first >= 1; first-- {
			for i := first; i <= size; i += 2 {
				g.Commit(id(1, i), cmd, epaxos.Dependencies{epaxos.Slot(i - 1), 0, 0})
				drain(g)
			}
		}
		if n := g.Pending(); n != 0 {
			b.Fatalf("%d left", n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size, "ns/command")
}
