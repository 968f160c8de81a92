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
	return configOf(id, store, 3)
}

// configOf is of a replica of the first epoch of a cluster, all of incarnation 1.
func configOf(id epaxos.ReplicaID, store node.Store, replicas int) node.Config {
	var ids []epaxos.ReplicaID
	members := wire.Members{Epoch: 1, Format: wire.Format, NextReplica: epaxos.ReplicaID(replicas + 1)} //nolint:gosec // few
	for i := range replicas {
		ids = append(ids, epaxos.ReplicaID(i+1)) //nolint:gosec // few
		members.Voters = append(members.Voters, wire.Member{Replica: ids[i], Incarnation: 1})
	}
	m := epaxos.NewMembership(1, ids...)
	members.F, members.E = m.F, m.E
	return node.Config{
		ID: id, Incarnation: 1, Members: members, Store: store, Machine: execution.KV{},
		NewCore: func(m epaxos.Membership) (node.Core, error) {
			return epaxos.New(epaxos.Config{
				ID: id, Membership: m, Index: deps.New(m.N()), Rand: rand.New(rand.NewPCG(1, uint64(id))), //nolint:gosec // reproducible
				Limits: epaxos.DefaultLimits(), Timing: epaxos.DefaultTiming(),
			})
		},
		NewOrderer: func(m epaxos.Membership) node.Orderer { return execution.NewGraph(m) },
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
