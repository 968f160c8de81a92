package node_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// copied is a store that remembers its batches, so that an older state of it can be brought back.
type copied struct {
	*storage.Memory
	batches []storage.Batch
}

func (c *copied) Save(batch storage.Batch) error {
	if err := c.Memory.Save(batch); err != nil {
		return fmt.Errorf("save in memory: %w", err)
	}
	batch.Group = append([]byte(nil), batch.Group...)
	c.batches = append(c.batches, batch)
	return nil
}

func newCopied(t *testing.T, batches []storage.Batch) *copied {
	t.Helper()
	c := &copied{Memory: storage.NewMemory(storage.MemoryOptions{})}
	for _, b := range batches {
		if err := c.Save(b); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// TestForgetfulReplicaIsSilent: a replica that comes back with an old copy of its disk may have forgotten a
// vote or a promise, so nothing leaves it: not before n-f have greeted it, and never once somebody has told it
// of a group that it has lost (rule S8).
func TestForgetfulReplicaIsSilent(t *testing.T) {
	var nodes []*node.Node
	var stores []*copied
	for id := epaxos.ReplicaID(1); id <= 3; id++ {
		stores = append(stores, newCopied(t, nil))
		nodes = append(nodes, replicaOfThree(t, id, stores[id-1]))
	}
	for _, a := range nodes {
		greetAll(t, a, nodes)
	}
	run(t, nodes, stores)
	last := len(stores[1].batches)
	told := 0
	for kept := range last {
		for _, peer := range []*node.Node{nodes[0], nodes[2]} {
			if hello := peer.Hello(2); int(hello.HeardGroup) > kept {
				told++
				forgetful(t, newCopied(t, stores[1].batches[:kept]), hello)
			}
		}
	}
	if told < 6 {
		t.Errorf("only %d copies that a peer can tell are old", told)
	}
}

func replicaOfThree(t *testing.T, id epaxos.ReplicaID, store node.Store) *node.Node {
	t.Helper()
	n, err := node.New(configOfThree(t, id, store))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func greetAll(t *testing.T, a *node.Node, nodes []*node.Node) {
	t.Helper()
	for i, b := range nodes {
		if a != b {
			if err := b.Greet(0, a.Hello(epaxos.ReplicaID(i+1))); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// run lets each replica lead a few writes of one key, until nothing is under way.
func run(t *testing.T, nodes []*node.Node, stores []*copied) {
	t.Helper()
	now := time.Second
	for i, n := range nodes {
		for j := range 3 {
			payload := wire.AppendOp(nil, &wire.Op{Kind: wire.OpPut, Key: []byte("x"), Value: fmt.Appendf(nil, "%d.%d", i, j)})
			footprint, err := execution.KV{}.Footprint(payload)
			if err != nil {
				t.Fatal(err)
			}
			id := epaxos.ProposalID(10*i + j)
			if err := n.Propose(now, id, epaxos.Request{Payload: payload}, footprint); err != nil {
				t.Fatal(err)
			}
			turns(t, nodes, stores, now)
		}
	}
	for range 20 {
		now += 200 * time.Millisecond
		for _, n := range nodes {
			n.Tick(now)
		}
		turns(t, nodes, stores, now)
	}
}

// turns gives each replica one turn after the other until all are silent.
func turns(t *testing.T, nodes []*node.Node, stores []*copied, now time.Duration) {
	t.Helper()
	for busy := true; busy; {
		busy = false
		for i, n := range nodes {
			for _, e := range save(t, n, now) {
				busy = true
				header := wire.FrameHeader{Group: stores[i].LastGroup()}
				nodes[e.To-1].Deliver(now, e.From, header, []epaxos.Message{e.Message})
			}
		}
	}
}

// forgetful restarts replica 2 on a copy, and asks it for votes and promises.
func forgetful(t *testing.T, disk *copied, hello wire.Hello) {
	t.Helper()
	n := replicaOfThree(t, 2, disk)
	ask := func(now time.Duration) ([]epaxos.Envelope, error) {
		for slot := epaxos.Slot(1); slot <= 3; slot++ {
			id := epaxos.InstanceID{Epoch: 1, Replica: hello.Replica, Slot: slot}
			n.Deliver(now, hello.Replica, wire.FrameHeader{Group: hello.Group}, []epaxos.Message{
				epaxos.Recover{ID: id, Ballot: epaxos.Ballot{Number: 9, Replica: hello.Replica}},
			})
		}
		n.Tick(now)
		return n.Save(now)
	}
	kept := disk.LastGroup()
	if messages, err := ask(10 * time.Second); err != nil || len(messages) > 0 {
		t.Fatalf("violation of promise: on probation, with %d groups of %d, it says %v, %v",
			kept, hello.HeardGroup, messages, err)
	}
	if err := n.Greet(11*time.Second, hello); err != nil && !errors.Is(err, node.ErrForgot) {
		t.Fatal(err)
	}
	messages, err := ask(12 * time.Second)
	if len(messages) > 0 || !errors.Is(err, node.ErrForgot) {
		t.Fatalf("violation of promise: with %d groups of the %d that replica %d has heard of, it says %v, %v",
			kept, hello.HeardGroup, hello.Replica, messages, err)
	}
}
