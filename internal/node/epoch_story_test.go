package node_test

import (
	"slices"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// The first to execute the end of an epoch says so, and dies with all that it knew. Who has heard it must still
// be able to decide the end: a quorum of the old epoch is alive (rule M8).
func TestTheFirstBeyondTheEndDies(t *testing.T) {
	c := newCompany(t, 3)
	c.put(0, "a", "1")
	c.settle(time.Second)
	var beyond bool
	c.lost = func(e epaxos.Envelope) bool {
		_, ended := e.Message.(epaxos.Ended)
		beyond = beyond || ended
		_, commits := e.Message.(epaxos.Commit)
		_, gossips := e.Message.(epaxos.Gossip)
		return e.From == 1 && (commits || gossips)
	}
	c.reconfigure(0, func(m *wire.Members) { m.E = 0 })
	for !beyond {
		c.settle(0)
	}
	if got := c.epochs(); !slices.Equal(got, []epaxos.Epoch{2, 1, 1}) {
		t.Fatalf("epochs %v", got)
	}
	c.nodes[0], c.lost = nil, nil
	for _, n := range c.nodes[1:] {
		n.Suspect(c.now, 1, true)
	}
	c.settle(30 * time.Second)
	if got := c.epochs(); !slices.Equal(got, []epaxos.Epoch{0, 2, 2}) {
		t.Fatalf("violation of progress: two of three are alive, and their epochs are %v", got)
	}
	after := c.put(1, "a", "2")
	c.settle(time.Second)
	c.want(after)
}

// A Reconfigure that was committed before a crash executes in the replay; what is saved of it at the end of
// probation must hold the state at the end of the epoch, whoever saves it (rule M9).
func TestHeldFromReplay(t *testing.T) {
	for _, flushed := range []bool{false, true} {
		c := newCompany(t, 3)
		c.put(0, "a", "1")
		c.settle(time.Second)
		c.lost = func(e epaxos.Envelope) bool {
			_, commits := e.Message.(epaxos.Commit)
			return commits
		}
		c.reconfigure(0, func(m *wire.Members) { m.E = 0 })
		c.leadToCommit()
		c.crash(0)
		c.meet()
		c.now += time.Second
		if flushed {
			if err := c.nodes[0].Flush(); err != nil {
				t.Fatal(err)
			}
		} else {
			if _, err := c.nodes[0].Save(c.now); err != nil {
				t.Fatal(err)
			}
		}
		c.crash(0)
		if m, _ := c.nodes[0].Members(); m.Epoch != 2 {
			t.Fatalf("the story does not reach the second epoch, but %d", m.Epoch)
		}
		if held := c.stores[0].Held(); held == 0 {
			t.Errorf("flushed %v: the state at the end of the epoch is not held", flushed)
		}
	}
}

// leadToCommit runs the first replica until its own proposal is committed and saved, and no further.
func (c *company) leadToCommit() {
	c.t.Helper()
	// The votes of the others come in one turn; the next Save of the leader makes the commit durable.
	for range 2 {
		messages, err := c.nodes[0].Save(c.now)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, e := range slices.Clone(messages) {
			c.nodes[e.To-1].Deliver(c.now, 1, wire.FrameHeader{Group: c.stores[0].LastGroup()}, []epaxos.Message{e.Message})
		}
		for i := 1; i < 3; i++ {
			c.turn(i)
		}
	}
}

// One that is late asks the leader of a column first, which has restarted in the next epoch and knows nothing of this
// one any more. Whoever still does answers whatever it is asked about a decided instance (rule M7).
func TestLateBehindALeaderThatRestarted(t *testing.T) {
	c := newCompany(t, 3)
	c.put(0, "a", "1")
	c.settle(time.Second)
	c.lost = func(e epaxos.Envelope) bool { return e.To == 3 || e.From == 3 }
	c.put(0, "a", "2")
	c.reconfigure(0, func(m *wire.Members) { m.E = 0 })
	c.settle(time.Second)
	c.crash(0)
	c.lost = nil
	c.meet()
	c.settle(30 * time.Second)
	if got := c.epochs(); !slices.Equal(got, []epaxos.Epoch{2, 2, 2}) {
		t.Fatalf("violation of progress: replica 2 knows all that was decided, and the epochs are %v", got)
	}
}

// Two that have begun an epoch, with messages of the old one still under way between them, do not go on telling each
// other that it is over.
func TestNobodyIsToldTwice(t *testing.T) {
	c := newCompany(t, 3)
	c.lost = func(e epaxos.Envelope) bool { return e.To == 3 || e.From == 3 }
	c.reconfigure(0, func(m *wire.Members) { m.E = 0 })
	c.settle(time.Second)
	told := 0
	c.lost = func(e epaxos.Envelope) bool {
		if _, ended := e.Message.(epaxos.Ended); ended && e.To != 3 {
			told++
		}
		return e.To == 3 || e.From == 3
	}
	for range 10 {
		old := epaxos.Gossip{Epoch: 1}
		c.nodes[0].Deliver(c.now, 2, wire.FrameHeader{}, []epaxos.Message{old})
		c.settle(time.Second)
	}
	if told > 0 {
		t.Errorf("%d times", told)
	}
}
