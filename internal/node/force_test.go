package node_test

import (
	"errors"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// TestForce: one directory of three goes on with all that its replica has executed, and tells what it has only
// heard of.
func TestForce(t *testing.T) {
	c := newCompany(t, 3)
	c.put(0, "a", "kept")
	c.settle(2 * time.Second)
	// The second replica hears of a command, and never what becomes of it.
	c.lost = func(e epaxos.Envelope) bool {
		_, proposal := e.Message.(epaxos.PreAccept)
		return e.To == 2 && !proposal
	}
	c.put(0, "a", "lost")
	c.settle(2 * time.Second)
	for i := range c.nodes {
		c.stores[i] = c.stores[i].Crash(false)
	}
	config := c.configs[1]
	config.Store = c.stores[1]
	s, err := node.OpenSurvivor(config)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Losses) != 3 || s.Losses[0].Replica != 1 || s.Losses[0].Missing != 1 || s.Losses[0].From != s.Losses[0].To ||
		s.Losses[1].Missing != 0 || s.Losses[2].Missing != 0 || s.Ahead != 1 || s.Role != node.Voter {
		t.Errorf("the losses: %+v", s)
	}
	before := c.stores[1].LastGroup()
	if again, err := node.OpenSurvivor(config); err != nil || c.stores[1].LastGroup() != before {
		t.Errorf("to look has changed something: %+v, %v", again, err)
	}
	members, err := s.Force()
	if err != nil || members.Epoch != 2 || len(members.Voters) != 1 || members.F != 0 || members.NextReplica != 4 {
		t.Fatalf("%+v, %v", members, err)
	}
	c.nodes = []*node.Node{nil, nil, nil}
	c.stores[1] = c.stores[1].Crash(false) // nothing of it was in memory only
	c.configs[1].Store = c.stores[1]
	c.start(1)
	if m, role := c.nodes[1].Members(); m.Epoch != 2 || role != node.Voter || !c.nodes[1].Admitted() {
		t.Fatalf("alone: %+v, %v", m, role)
	}
	if got := c.value(1, "a"); got != c.valueOf("kept") {
		t.Errorf("a is %s", got)
	}
	c.put(1, "a", "new")
	if got := c.value(1, "a"); got == c.valueOf("kept") {
		t.Errorf("a is still %s", got)
	}
}

// valueOf is what value returns for the first version of a key.
func (c *company) valueOf(value string) string {
	alone := newCompany(c.t, 1)
	alone.put(0, "a", value)
	alone.settle(time.Second)
	return alone.value(0, "a")
}

// TestForceRefuses: what holds no state carries nothing on.
func TestForceRefuses(t *testing.T) {
	config := configOf(9, storage.NewMemory(storage.MemoryOptions{}), 3)
	if _, err := node.OpenSurvivor(config); !errors.Is(err, node.ErrNoSurvivor) {
		t.Errorf("a replica without a state: %v", err)
	}
	// One that was removed has not been there since.
	c := newCompany(t, 3)
	c.reconfigure(0, func(m *wire.Members) { m.Voters, m.F, m.E = m.Voters[:2], 0, 0 })
	c.settle(2 * time.Second)
	config = c.configs[2]
	config.Store = c.stores[2].Crash(false)
	if _, err := node.OpenSurvivor(config); !errors.Is(err, node.ErrNoSurvivor) {
		t.Errorf("a replica that was removed: %v", err)
	}
}
