package node_test

import (
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// While many are executed above a gap nothing is deleted, so nothing is rewritten either: it would be
// again, in every tick, until the gap is closed.
func TestNothingIsRewrittenInVain(t *testing.T) {
	store := newCopied(t, nil)
	n := replicaOfThree(t, 1, store)
	if err := n.Greet(0, replicaOfThree(t, 2, newCopied(t, nil)).Hello(1)); err != nil {
		t.Fatal(err)
	}
	now := time.Second
	turn := func(messages ...epaxos.Message) {
		now += time.Millisecond
		n.Deliver(now, 2, wire.FrameHeader{Group: 1}, messages)
		if _, err := n.Save(now); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Execute(now); err != nil {
			t.Fatal(err)
		}
		if err := n.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	commits := func(from, to epaxos.Slot) {
		var messages []epaxos.Message
		for slot := from; slot <= to; slot++ {
			messages = append(messages, epaxos.Commit{
				ID: epaxos.InstanceID{Epoch: 1, Replica: 2, Slot: slot}, Value: epaxos.Value{Kind: epaxos.NoOp},
				Ballot: epaxos.Ballot{Number: 1, Replica: 2}, Deps: make(epaxos.Dependencies, 3),
			})
			if len(messages) == 20 {
				turn(messages...)
				messages = nil
			}
		}
	}
	commits(20_001, 25_000) // what happens now, above a gap
	commits(1, 15_000)      // what is caught up
	for _, from := range []epaxos.ReplicaID{2, 3} {
		executed := epaxos.Dependencies{0, 15_000, 0}
		n.Deliver(now, from, wire.FrameHeader{Group: 1}, []epaxos.Message{epaxos.Gossip{
			Epoch: 1, Executed: executed, Stable: executed, Tops: epaxos.Dependencies{0, 25_000, 0},
		}})
	}
	before := store.LastGroup()
	for range 50 {
		now += 10 * time.Millisecond
		n.Tick(now)
		turn()
	}
	if groups := store.LastGroup() - before; groups > 1 {
		t.Fatalf("%d groups were saved at rest", groups)
	}
}
