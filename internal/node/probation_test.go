package node_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/deps"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// second is replica 2 of 3 on a store.
func second(t *testing.T, store node.Store) *node.Node {
	t.Helper()
	return replicaOfThree(t, 2, store)
}

func configOfThree(t *testing.T, id epaxos.ReplicaID, store node.Store) node.Config {
	t.Helper()
	m := epaxos.NewMembership(1, 1, 2, 3)
	core, err := epaxos.New(epaxos.Config{
		ID: id, Membership: m, Index: deps.New(3), Rand: rand.New(rand.NewPCG(1, 1)), //nolint:gosec // reproducible
		Limits: epaxos.DefaultLimits(), Timing: epaxos.DefaultTiming(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return node.Config{
		ID: id, Membership: m, Core: core, Orderer: execution.NewGraph(m), Store: store, Machine: execution.KV{},
		Members: []node.Member{{Replica: 1, Incarnation: 1}, {Replica: 2, Incarnation: 1}, {Replica: 3, Incarnation: 1}},
	}
}

func greet(t *testing.T, n *node.Node) {
	t.Helper()
	hello := wire.Hello{Replica: 3, Incarnation: 1, FormatMin: wire.FormatMin, FormatMax: wire.Format}
	if err := n.Greet(0, hello); err != nil {
		t.Fatal(err)
	}
}

func save(t *testing.T, n *node.Node, now time.Duration) []epaxos.Envelope {
	t.Helper()
	messages, err := n.Save(now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Execute(now); err != nil {
		t.Fatal(err)
	}
	return messages
}

// A suspicion begins recoveries, and a recovery uses a ballot. On probation a replica does not know
// whether its disk has forgotten one, so it waits; what it was told is not lost (rule S8).
func TestSuspicionWaitsForTheEndOfProbation(t *testing.T) {
	store := storage.NewMemory(storage.MemoryOptions{})
	n := second(t, store)
	greet(t, n)
	command := &epaxos.Command{Footprint: epaxos.Footprint{{Mode: epaxos.Write, Key: "x"}}}
	n.Deliver(0, 1, wire.FrameHeader{}, []epaxos.Message{epaxos.PreAccept{
		ID: epaxos.InstanceID{Epoch: 1, Replica: 1, Slot: 1}, Command: command, Initial: make(epaxos.Dependencies, 3),
	}})
	if messages := save(t, n, 0); len(messages) != 1 {
		t.Fatalf("the vote: %v", messages)
	}

	n = second(t, store)
	before := store.LastGroup()
	n.Suspect(time.Second, 1, true)
	if messages := save(t, n, time.Second); len(messages) != 0 || store.LastGroup() != before {
		t.Fatalf("on probation it says %v and saves up to group %d", messages, store.LastGroup())
	}
	greet(t, n)
	messages := save(t, n, time.Second)
	if len(messages) != 2 {
		t.Fatalf("after probation it says %v", messages)
	}
	if _, recovers := messages[0].Message.(epaxos.Recover); !recovers {
		t.Fatalf("after probation it says %v", messages)
	}
}
