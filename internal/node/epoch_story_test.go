package node_test

import (
	"slices"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/node"
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

// All are replaced at once. Those who leave must stay until the new ones have the state, though what these say of it is
// lost for a while (rule M12).
func TestTheRemovedStayUntilTheyAreNotNeeded(t *testing.T) {
	c := newCompany(t, 3)
	c.put(0, "a", "1")
	c.settle(time.Second)
	var fresh []wire.Member
	for range 3 {
		fresh = append(fresh, c.hire())
	}
	deaf := true
	c.lost = func(e epaxos.Envelope) bool {
		_, ended := e.Message.(epaxos.Ended)
		return deaf && (e.From > 3) != (e.To > 3) || ended && e.From > 3 && c.now < 40*time.Second
	}
	c.reconfigure(0, func(m *wire.Members) { m.Voters, m.NextReplica, m.E = fresh, 7, 0 })
	c.settle(10 * time.Second)
	for i, n := range c.nodes[:3] {
		if c.role(i) != node.Removed || n.Dispensable() {
			t.Fatalf("replica %d is %v; dispensable: %v, though nobody else has the state", i+1, c.role(i), n.Dispensable())
		}
	}
	deaf = false
	for c.now < 35*time.Second {
		c.meet()
		c.settle(time.Second)
	}
	if got := c.epochs(); !slices.Equal(got, []epaxos.Epoch{2, 2, 2, 2, 2, 2}) {
		t.Fatalf("epochs %v", got)
	}
	id := c.put(3, "a", "2")
	c.settle(10 * time.Second)
	c.want(id)
	for i, n := range c.nodes[:3] {
		if !n.Dispensable() {
			t.Errorf("replica %d would stay for ever", i+1)
		}
	}
}

// One that left a cluster of four decides the end alone with two others, and is cut off from them before they hear of it;
// the fourth is dead. Without it they have no quorum.
func TestTheRemovedIsTheLastOfAQuorum(t *testing.T) {
	c := newCompany(t, 4)
	c.put(0, "a", "1")
	c.settle(time.Second)
	c.nodes[3] = nil
	for _, n := range c.nodes[:3] {
		n.Suspect(c.now, 4, true)
	}
	cut, told := false, map[epaxos.ReplicaID]bool{}
	c.lost = func(e epaxos.Envelope) bool {
		_, commits := e.Message.(epaxos.Commit)
		if _, ended := e.Message.(epaxos.Ended); ended && e.To == 1 && !told[e.From] {
			told[e.From] = true
			return true
		}
		return e.From == 1 && commits || cut && (e.From == 1) != (e.To == 1)
	}
	c.reconfigure(0, func(m *wire.Members) { m.Voters, m.F, m.E = m.Voters[1:], 1, 0 })
	for c.role(0) != node.Removed {
		c.settle(0)
		c.now += 10 * time.Millisecond
	}
	cut = true
	c.settle(20 * time.Second)
	if got := c.epochs(); !slices.Equal(got, []epaxos.Epoch{2, 1, 1, 0}) {
		t.Fatalf("epochs %v: the story is another", got)
	}
	if c.nodes[0].Dispensable() {
		t.Fatal("it leaves two of four behind, who need three")
	}
	cut = false
	c.settle(20 * time.Second)
	if got := c.epochs(); !slices.Equal(got, []epaxos.Epoch{2, 2, 2, 0}) {
		t.Fatalf("epochs %v", got)
	}
	if !c.nodes[0].Dispensable() {
		t.Error("it would stay for ever")
	}
}

// One that is late asks for a state, and the one that it asked dies; then it hears the decisions after all. It must not go
// on asking.
func TestNobodyIsAskedForAStateThatIsNotNeeded(t *testing.T) {
	c := newCompany(t, 3)
	c.put(0, "a", "1")
	c.settle(time.Second)
	c.lost = func(e epaxos.Envelope) bool { return e.From == 3 || e.To == 3 }
	c.reconfigure(1, func(m *wire.Members) { m.E = 0 })
	c.settle(2 * time.Second)
	c.lost = func(e epaxos.Envelope) bool {
		switch e.Message.(type) {
		case epaxos.StateChunk:
			return true
		case epaxos.Gossip, epaxos.Commit:
			return e.To == 3
		default:
			return false
		}
	}
	for c.nodes[2].Status().Transfer.Source == 0 {
		c.settle(100 * time.Millisecond)
	}
	dead := c.nodes[2].Status().Transfer.Source
	c.lost = func(e epaxos.Envelope) bool { return e.From == dead || e.To == dead }
	c.settle(10 * time.Second)
	if got := c.epochs(); got[2] != 2 {
		t.Fatalf("epochs %v", got)
	}
	if source := c.nodes[2].Status().Transfer.Source; source != 0 {
		t.Errorf("it still asks replica %d, which is dead, for a state that it has", source)
	}
}

// Who executes the end of an epoch first goes on at once. What it asks of the others before they have executed it
// too waits there: to ask again would take a time that clients feel.
func TestWhatComesEarlyWaits(t *testing.T) {
	c := newCompany(t, 3)
	c.put(0, "a", "1")
	c.settle(time.Second)
	c.reconfigure(0, func(m *wire.Members) { m.E = 0 })
	for i := range c.nodes {
		c.turn(i) // the others vote
	}
	for slices.Equal(c.epochs(), []epaxos.Epoch{1, 1, 1}) {
		c.turn(0)
	}
	early := c.put(0, "a", "2")
	for c.turn(0) {
	}
	if got := c.epochs(); !slices.Equal(got, []epaxos.Epoch{2, 1, 1}) {
		t.Fatalf("epochs %v: the others should not have executed the end yet", got)
	}
	c.settle(100 * time.Millisecond) // a question is repeated later
	c.want(early)
}
