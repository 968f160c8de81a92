package node_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// hire starts one more replica, which knows the members that the first replica is aware of, and is none yet.
func (c *company) hire() wire.Member {
	c.t.Helper()
	i := len(c.nodes)
	store := storage.NewMemory(storage.MemoryOptions{})
	config := configOf(epaxos.ReplicaID(i+1), store, i) //nolint:gosec // few
	config.WriteBack = 100 * time.Millisecond
	config.Members, _ = c.nodes[0].Members()
	c.stores, c.configs, c.nodes = append(c.stores, store), append(c.configs, config), append(c.nodes, nil)
	c.start(i)
	return wire.Member{Replica: config.ID, Incarnation: 1}
}

// grow adds a member to the voters, and tells the largest quorums that fit.
func grow(m *wire.Members, one wire.Member) {
	m.Learners = slices.DeleteFunc(slices.Clone(m.Learners), func(l wire.Member) bool { return l.Replica == one.Replica })
	m.Voters = append(slices.Clone(m.Voters), one)
	m.F = (len(m.Voters) - 1) / 2
	m.E = epaxos.LargestE(len(m.Voters), m.F)
	m.NextReplica = max(m.NextReplica, one.Replica+1)
}

func learn(m *wire.Members, one wire.Member) {
	m.Learners = append(slices.Clone(m.Learners), one)
	m.NextReplica = max(m.NextReplica, one.Replica+1)
}

func (c *company) role(i int) node.Role {
	_, role := c.nodes[i].Members()
	return role
}

// same expects that all states are equal, byte for byte.
func (c *company) same(stores ...int) {
	c.t.Helper()
	for _, i := range stores {
		if err := c.nodes[i].Flush(); err != nil {
			c.t.Fatal(err)
		}
	}
	want := dump(c.t, c.stores[stores[0]])
	for _, i := range stores[1:] {
		if got := dump(c.t, c.stores[i]); !slices.Equal(got, want) {
			c.t.Fatalf("violation of order: the states of replicas %d and %d differ:\n%q\n%q", stores[0]+1, i+1, want, got)
		}
	}
}

func dump(t *testing.T, s *storage.Memory) (all []string) {
	t.Helper()
	err := s.Scan(nil, nil, func(key, value []byte) error {
		all = append(all, fmt.Sprintf("%q=%x", key, value))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// fill writes some keys at each voter.
func (c *company) fill(count int, value string) {
	for k := range count {
		c.put(k%3, fmt.Sprintf("key%03d", k), value)
	}
	c.settle(time.Second)
}

// A replica that is added as a voter takes the state with which the epoch begins, and votes.
func TestJoinAsVoter(t *testing.T) {
	c := newCompany(t, 3)
	c.fill(30, "before")
	one := c.hire()
	change := c.reconfigure(0, func(m *wire.Members) { grow(m, one) })
	c.settle(time.Second)
	c.want(change)
	c.fill(30, "after")
	c.meet()
	c.settle(5 * time.Second)
	c.meet()
	c.settle(5 * time.Second)
	if c.role(3) != node.Voter || !c.nodes[3].Admitted() {
		t.Fatalf("it is a %v, admitted: %v; %+v", c.role(3), c.nodes[3].Admitted(), c.nodes[3].Status().Transfer)
	}
	id := c.put(3, "own", "value")
	c.settle(3 * time.Second)
	c.want(id)
	c.same(0, 1, 2, 3)
	for i, store := range c.stores {
		if held := store.Held(); held > 0 {
			t.Errorf("replica %d holds group %d though all have begun", i+1, held)
		}
	}
}

// A learner follows, stops at the beginning of the epoch that promotes it, and votes in it.
func TestLearnAndBePromoted(t *testing.T) {
	c := newCompany(t, 3)
	c.fill(30, "before")
	one := c.hire()
	c.want1(c.reconfigure(0, func(m *wire.Members) { learn(m, one) }))
	c.meet()
	c.settle(3 * time.Second)
	c.meet()
	if c.role(3) != node.Learner || !c.nodes[3].Admitted() {
		t.Fatalf("it is a %v, admitted: %v; %+v", c.role(3), c.nodes[3].Admitted(), c.nodes[3].Status().Transfer)
	}
	c.fill(60, "later")
	c.settle(3 * time.Second)
	c.same(0, 3)
	c.want1(c.reconfigure(1, func(m *wire.Members) { grow(m, one) }))
	c.fill(20, "promoted")
	c.settle(5 * time.Second)
	if c.role(3) != node.Voter {
		t.Fatalf("it is a %v; %+v", c.role(3), c.nodes[3].Status().Transfer)
	}
	id := c.put(3, "own", "value")
	c.settle(time.Second)
	c.want(id)
	c.same(0, 1, 2, 3)
}

// want1 lets a change take effect.
func (c *company) want1(id epaxos.ProposalID) {
	c.t.Helper()
	c.settle(time.Second)
	result, err := wire.DecodeControlResult(c.want(id).Result)
	if err != nil || result.Refused != "" {
		c.t.Fatalf("%+v, %v", result, err)
	}
}
