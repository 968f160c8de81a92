package node_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// The rules M5 to M11 where epochs change under replicas that are late, new, removed or forgetful.

// One that missed the end of its epoch, and finds nobody who still tells what was decided in it, takes the state of
// the next. What it had proposed may have happened or not (rule M6).
func TestLateTakesTheState(t *testing.T) {
	for _, epochs := range []int{1, 2} {
		c := newCompany(t, 3)
		c.fill(9, "before")
		c.apart(3)
		lost := c.put(2, "lost", "value")
		c.settle(500 * time.Millisecond)
		for range epochs {
			c.want1(c.reconfigure(1, func(m *wire.Members) { m.E = 0 }))
			c.fill2(9, "missed")
		}
		c.settle(70 * time.Second) // longer than the former core is kept
		c.lost = nil
		c.settle(15 * time.Second)
		if got := c.epochs()[2]; got != epaxos.Epoch(1+epochs) { //nolint:gosec // small
			t.Fatalf("violation of progress: epoch %d; %+v", got, c.nodes[2].Status().Transfer)
		}
		if !c.want(lost).Unknown {
			t.Errorf("the end of what it had proposed is %+v", c.want(lost))
		}
		id := c.put(2, "found", "value")
		c.settle(2 * time.Second)
		c.want(id)
		c.same(0, 1, 2)
		if rounds := c.nodes[2].Status().Transfer.Rounds; rounds != 1 {
			t.Errorf("%d states were taken over", rounds)
		}
	}
}

// What a replica had proposed may have been carried out by others, though it hears of nothing but the state at the
// end: so it must not say that it was not.
func TestUnknownIsNotVoid(t *testing.T) {
	c := newCompany(t, 3)
	c.fill(9, "before")
	c.lost = func(e epaxos.Envelope) bool { return e.To == 3 }
	lost := c.put(2, "lost", "value")
	c.settle(500 * time.Millisecond)
	c.apart(3)
	for i := range 2 {
		c.nodes[i].Suspect(c.now, 3, true)
	}
	c.settle(5 * time.Second)
	c.want1(c.reconfigure(1, func(m *wire.Members) { m.E = 0 }))
	c.settle(70 * time.Second)
	c.lost = nil
	for i := range 2 {
		c.nodes[i].Suspect(c.now, 3, false)
	}
	c.settle(15 * time.Second)
	id := c.read(2, "lost", node.Stale, node.Token{})
	c.settle(0)
	if c.shows(id) != "value" {
		t.Fatal("the test shows nothing: it did not happen")
	}
	if c.want(lost).Void || !c.want(lost).Unknown {
		t.Errorf("violation of once: it happened, and is said to be void: %+v", c.want(lost))
	}
}

// A replica that comes to the end of its epoch by itself, while it is still taking in the state of another, has no
// use for that any more: it has executed since.
func TestOwnEndComesFirst(t *testing.T) {
	c := newCompany(t, 5)
	away := func(e epaxos.Envelope) bool { return e.To == 5 || e.From == 5 } // so that the beginning is kept
	c.rate = node.Transfer{ChunkBytes: 300, BytesPerSecond: 150}
	for i := range c.nodes {
		c.crash(i)
	}
	c.meet()
	c.fill(40, "some value that takes a few bytes")
	c.lost = func(e epaxos.Envelope) bool { return away(e) || e.To == 3 || e.From == 3 }
	c.want1(c.reconfigure(1, func(m *wire.Members) { m.E = 0 }))
	c.lost = func(e epaxos.Envelope) bool { // nothing that helps to execute it
		switch e.Message.(type) {
		case epaxos.Ended, epaxos.StateRequest, epaxos.StateChunk:
			return away(e)
		default:
			return away(e) || e.To == 3
		}
	}
	c.settle(5 * time.Second)
	if s := c.nodes[2].Status().Transfer; s.Source == 0 || s.Bytes == 0 {
		t.Fatalf("the test shows nothing: %+v", s)
	}
	c.lost = away
	c.settle(4 * time.Second)
	if got := c.epochs()[2]; got != 2 {
		t.Fatalf("the test shows nothing: it is in epoch %d", got)
	}
	var own []epaxos.ProposalID
	for k := range 20 {
		own = append(own, c.put(2, fmt.Sprintf("own%d", k), "value"))
	}
	c.settle(40 * time.Second)
	for _, id := range own {
		c.want(id)
	}
	c.same(0, 1, 2)
	if s := c.nodes[2].Status().Transfer; s.Source != 0 || s.Rounds != 0 {
		t.Errorf("%+v", s)
	}
}

// fill2 writes at two of three replicas.
func (c *company) fill2(count int, value string) {
	for k := range count {
		c.put(k%2, fmt.Sprintf("key%03d", k), value)
	}
	c.settle(time.Second)
}

// One that was removed while it was away takes note, proposes nothing and answers what it had proposed.
func TestLateLearnsThatItWasRemoved(t *testing.T) {
	c := newCompany(t, 3)
	c.fill(9, "before")
	c.apart(3)
	lost := c.put(2, "lost", "value")
	c.settle(500 * time.Millisecond)
	c.want1(c.reconfigure(0, func(m *wire.Members) { m.Voters, m.F, m.E = m.Voters[:2], 0, 0 }))
	c.settle(70 * time.Second)
	c.lost = nil
	c.settle(15 * time.Second)
	if c.role(2) != node.Removed || !c.want(lost).Unknown {
		t.Fatalf("it is a %v; %+v", c.role(2), c.want(lost))
	}
	if err := c.nodes[2].Propose(c.now, 1000, epaxos.Request{}, nil); !errors.Is(err, node.ErrNotVoter) {
		t.Errorf("it proposes: %v", err)
	}
	c.crash(2)
	if c.role(2) != node.Removed {
		t.Errorf("after a restart it is a %v", c.role(2))
	}
}

// A learner stops at the beginning of the epoch that makes it a voter, though its source is far beyond (rule M11):
// what it votes with is what all others began with.
func TestLearnerStopsAtTheBeginning(t *testing.T) {
	c := newCompany(t, 3)
	c.fill(9, "before")
	one := c.hire()
	c.want1(c.reconfigure(0, func(m *wire.Members) { learn(m, one) }))
	c.meet()
	c.settle(5 * time.Second)
	c.meet()
	c.settle(time.Second)
	if c.role(3) != node.Learner || !c.nodes[3].Admitted() {
		t.Fatalf("it is a %v; %+v", c.role(3), c.nodes[3].Status().Transfer)
	}
	c.apart(4)
	c.want1(c.reconfigure(0, func(m *wire.Members) { grow(m, one) }))
	c.fill(60, "beyond")
	c.lost = func(e epaxos.Envelope) bool { // the others go on without it, and do not hear of it
		_, transfer := e.Message.(epaxos.StateRequest)
		_, answer := e.Message.(epaxos.StateChunk)
		return (e.To == 4 || e.From == 4) && !transfer && !answer
	}
	for range 5 {
		c.fill(10, "further")
	}
	if c.role(3) != node.Voter {
		t.Fatalf("violation of progress: it is a %v; %+v", c.role(3), c.nodes[3].Status().Transfer)
	}
	want := beginning(t, c.stores[0])
	for i := 1; i < 4; i++ {
		if got := beginning(t, c.stores[i]); !slices.Equal(got, want) {
			t.Errorf("violation of order: replica %d began with\n%q, not\n%q", i+1, got, want)
		}
	}
	c.lost = nil
	c.settle(10 * time.Second)
	c.same(0, 1, 2, 3)
}

// The state of a beginning is kept until all voters have begun, over restarts too (rule M9).
func TestBeginningIsKept(t *testing.T) {
	c := newCompany(t, 3)
	c.fill(9, "before")
	c.apart(3)
	c.want1(c.reconfigure(0, func(m *wire.Members) { m.E = 0 }))
	want := beginning(t, c.stores[0])
	for range 4 {
		c.fill2(20, "after")
		c.settle(40 * time.Second)
		c.crash(0)
		c.crash(1)
		c.meet2(0, 1)
		c.settle(time.Second)
	}
	if got := beginning(t, c.stores[0]); !slices.Equal(got, want) {
		t.Fatalf("violation of durability: the beginning is now %q", got)
	}
	c.lost = nil
	c.settle(20 * time.Second)
	for i := range 3 {
		if c.stores[i].Held() != 0 {
			t.Errorf("replica %d holds it though all have begun", i+1)
		}
	}
	c.same(0, 1, 2)
}

func (c *company) meet2(i, j int) {
	for _, pair := range [][2]int{{i, j}, {j, i}} {
		if err := c.nodes[pair[1]].Greet(c.now, c.nodes[pair[0]].Hello(epaxos.ReplicaID(pair[1]+1))); err != nil { //nolint:gosec // few
			c.t.Fatal(err)
		}
	}
}

// A learner writes nothing before a quorum has greeted it: it may have voted since, on a disk that is lost
// (rule M10).
func TestForgetfulLearner(t *testing.T) {
	c := newCompany(t, 3)
	c.fill(9, "before")
	one := c.hire()
	c.want1(c.reconfigure(0, func(m *wire.Members) { learn(m, one) }))
	c.meet()
	c.settle(2 * time.Second)
	c.meet()
	old := c.stores[3].Clone()
	c.apart(3) // and in the epoch in which the fourth learns
	c.want1(c.reconfigure(0, func(m *wire.Members) { grow(m, one) }))
	c.fill2(30, "voted upon")
	c.settle(2 * time.Second)
	if c.role(3) != node.Voter || c.epochs()[2] != 2 {
		t.Fatalf("it is a %v; epochs %v", c.role(3), c.epochs())
	}
	before := old.LastGroup()
	c.stores[3], c.configs[3].Store = old, old
	c.start(3)
	if err := c.nodes[3].Greet(c.now, c.nodes[2].Hello(4)); err != nil {
		t.Fatal(err)
	}
	c.lost = func(e epaxos.Envelope) bool { return e.From+e.To != 7 } // between these two alone
	c.settle(20 * time.Second)
	if last := old.LastGroup(); last > before {
		t.Fatalf("violation of promise: on probation the log grows from group %d to %d", before, last)
	}
	if err := c.nodes[3].Greet(c.now, c.nodes[1].Hello(4)); !errors.Is(err, node.ErrForgot) {
		t.Fatalf("violation of promise: it is greeted with %v, as a %v", err, c.role(3))
	}
}

// On probation one state is taken over and no second: the groups of two could hide the loss of a vote behind the
// first (rule M10).
func TestOneStateOnProbation(t *testing.T) {
	c := newCompany(t, 3)
	c.fill(9, "before")
	one := c.hire()
	c.want1(c.reconfigure(0, func(m *wire.Members) { grow(m, one) }))
	fresh := storage.NewMemory(storage.MemoryOptions{})
	c.stores[3], c.configs[3].Store = fresh, fresh
	c.start(3)
	if err := c.nodes[3].Greet(c.now, c.nodes[0].Hello(4)); err != nil {
		t.Fatal(err)
	}
	c.settle(5 * time.Second)
	if c.role(3) != node.Voter || c.nodes[3].Admitted() || fresh.LastGroup() != 1 {
		t.Fatalf("it is a %v, admitted: %v, of %d groups", c.role(3), c.nodes[3].Admitted(), fresh.LastGroup())
	}
	for k := range 3 {
		if k == 1 {
			c.crash(3)
		}
		c.want1(c.reconfigure(0, func(m *wire.Members) { m.E = 0 }))
		c.settle(10 * time.Second)
		if got := c.epochs()[3]; got != 2 {
			t.Fatalf("violation of promise: it is in epoch %d", got)
		}
		if last := c.stores[3].LastGroup(); last != 1 {
			t.Fatalf("violation of promise: on probation the log grows to group %d", last)
		}
	}
	c.meet()
	c.settle(20 * time.Second)
	c.meet()
	c.settle(5 * time.Second)
	if got := c.epochs(); got[3] != got[0] || !c.nodes[3].Admitted() {
		t.Fatalf("violation of progress: epochs %v; %+v", got, c.nodes[3].Status().Transfer)
	}
}

// turns is one turn of everybody.
func (c *company) turns() {
	for i, n := range c.nodes {
		n.Tick(c.now)
		c.turn(i)
	}
}

// A learner that reads its first state back for longer than a silent one is waited for can still follow its source.
func TestLongCheckLosesNoSource(t *testing.T) {
	c := newCompany(t, 3)
	c.rate = node.Transfer{ChunkBytes: 1}
	for i := range c.nodes {
		c.crash(i)
	}
	c.meet()
	for k := range 400 {
		c.put(k%3, fmt.Sprintf("key%03d", k), "value")
		if k%50 == 0 {
			c.settle(0)
		}
	}
	c.settle(time.Second)
	one := c.hire()
	c.apart(4)
	c.want1(c.reconfigure(0, func(m *wire.Members) { learn(m, one) }))
	c.lost = nil
	c.meet()
	for range 1000 {
		if c.nodes[3].Status().Transfer.Keys >= 400 {
			break
		}
		c.turns()
	}
	for k := range 80 { // few turns in much time
		if k < 3 {
			c.put(k, "key000", "meanwhile")
		}
		c.now += time.Second / 2
		c.turns()
	}
	if c.role(3) != node.Joining {
		t.Fatal("the test shows nothing: the check is over")
	}
	c.settle(60 * time.Second)
	c.meet()
	c.fill(3, "later")
	c.settle(10 * time.Second)
	served := uint64(0)
	for _, n := range c.nodes {
		served += n.Status().Transfer.Served
	}
	if s := c.nodes[3].Status().Transfer; s.Rounds < 2 || served > 12_000 {
		t.Errorf("it began anew: %d bytes were handed over; %+v", served, s)
	}
	c.same(0, 3)
}

// Nobody gives a voter a state in the middle of an epoch, or one that is not kept any more.
func TestGone(t *testing.T) {
	c := newCompany(t, 3)
	c.fill(9, "before")
	one := c.hire()
	c.want1(c.reconfigure(0, func(m *wire.Members) { learn(m, one) }))
	c.meet()
	c.settle(5 * time.Second)
	if c.stores[0].Held() != 0 {
		t.Fatal("the beginning is still kept")
	}
	last := c.stores[0].LastGroup()
	for name, test := range map[string]struct {
		from epaxos.ReplicaID
		ask  epaxos.StateRequest
		gone bool
	}{
		"a voter the beginning":        {2, epaxos.StateRequest{}, true},
		"a voter what has changed":     {2, epaxos.StateRequest{Epoch: 1, Since: 2}, true},
		"a voter the newest":           {2, epaxos.StateRequest{At: last}, true},
		"one that is ahead":            {2, epaxos.StateRequest{Epoch: 9}, true},
		"a learner the newest":         {4, epaxos.StateRequest{Epoch: 2}, false},
		"a learner a group long past":  {4, epaxos.StateRequest{Epoch: 2, Since: 1}, true},
		"a learner a group to come":    {4, epaxos.StateRequest{Epoch: 2, Since: last + 100}, true},
		"a learner as of another time": {4, epaxos.StateRequest{Epoch: 2, At: last - 1}, true},
	} {
		c.nodes[0].Deliver(c.now, test.from, wire.FrameHeader{}, []epaxos.Message{test.ask})
		messages, err := c.nodes[0].Save(c.now)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, e := range messages {
			if chunk, is := e.Message.(epaxos.StateChunk); is && e.To == test.from {
				found++
				if chunk.Gone != test.gone {
					t.Errorf("%s: gone is %v, want %v", name, chunk.Gone, test.gone)
				}
			}
		}
		if found != 1 {
			t.Errorf("%s: %d answers", name, found)
		}
	}
}

// The state leaves no faster than it may, however often it is asked for, and one part for each peer in a turn.
func TestRateOfTransfers(t *testing.T) {
	c := newCompany(t, 3)
	c.rate = node.Transfer{ChunkBytes: 1000, BytesPerSecond: 10_000}
	for i := range c.nodes {
		c.crash(i)
	}
	c.meet()
	c.fill(60, string(make([]byte, 1000)))
	one := c.hire()
	c.apart(4)
	c.want1(c.reconfigure(0, func(m *wire.Members) { learn(m, one) }))
	from, bytes := c.now, 0
	for range 2000 {
		c.now += 2 * time.Millisecond
		c.nodes[0].Deliver(c.now, 4, wire.FrameHeader{}, slices.Repeat([]epaxos.Message{epaxos.StateRequest{}}, 3))
		messages, err := c.nodes[0].Save(c.now)
		if err != nil {
			t.Fatal(err)
		}
		parts := 0
		for _, e := range messages {
			if chunk, is := e.Message.(epaxos.StateChunk); is && e.To == 4 {
				parts++
				for _, w := range chunk.Writes {
					bytes += len(w.Key) + len(w.Value)
				}
			}
		}
		if parts > 1 {
			t.Fatalf("violation of boundedness: %d parts in one turn", parts)
		}
	}
	if most := int((c.now-from).Seconds()*10_000) + 3000; bytes > most || bytes < most/2 {
		t.Errorf("violation of boundedness: %d bytes in %v", bytes, c.now-from)
	}
}
