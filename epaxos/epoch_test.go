package epaxos_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/264bc8cf/epaxos/deps"
	"github.com/264bc8cf/epaxos/epaxos"
)

// The end of an epoch as one core sees it (docs/protocol.md, M5 to M7). What becomes of it among replicas is
// tested where they execute, in internal/node.

// lone is replica 1 of 3, to which a test says what the others do.
type lone struct {
	*epaxos.Replica
	t    *testing.T
	sent []epaxos.Envelope
	led  []epaxos.Led
}

func newLone(t *testing.T, epoch epaxos.Epoch, limits epaxos.Limits) *lone {
	t.Helper()
	r, err := epaxos.New(epaxos.Config{
		ID: 1, Membership: epaxos.NewMembership(epoch, 1, 2, 3), Index: deps.New(3),
		Rand: rand.New(rand.NewPCG(1, 2)), Limits: limits, Timing: epaxos.DefaultTiming(), //nolint:gosec // reproducible
	})
	if err != nil {
		t.Fatal(err)
	}
	return &lone{Replica: r, t: t}
}

// turn takes what the core wants done.
func (l *lone) turn() {
	for l.HasReady() {
		ready := l.Ready()
		l.sent = append(l.sent, ready.Messages...)
		l.led = append(l.led, ready.Led...)
	}
}

func (l *lone) propose(id epaxos.ProposalID, footprint epaxos.Footprint) {
	l.t.Helper()
	if err := l.Propose(0, id, epaxos.Request{Payload: []byte{byte(id)}}, footprint); err != nil {
		l.t.Fatal(err)
	}
	l.turn()
}

func (l *lone) hear(from epaxos.ReplicaID, m epaxos.Message) {
	l.Step(0, epaxos.Envelope{From: from, To: 1, Message: m})
	l.turn()
}

// led are the slots for which it has asked for votes.
func (l *lone) slots() (slots []epaxos.Slot) {
	for _, e := range l.sent {
		if m, is := e.Message.(epaxos.PreAccept); is && m.ID.Replica == 1 {
			slots = append(slots, m.ID.Slot)
		}
	}
	slices.Sort(slots)
	return slices.Compact(slots)
}

func (l *lone) wantSlots(when string, want ...epaxos.Slot) {
	l.t.Helper()
	if got := l.slots(); !slices.Equal(got, want) {
		l.t.Fatalf("%s it has asked for votes in slots %v, want %v", when, got, want)
	}
}

// commits decides an own instance by the answer of one other, which is a quorum with it.
func (l *lone) commits(id epaxos.InstanceID) {
	for _, e := range l.sent {
		if m, is := e.Message.(epaxos.PreAccept); is && m.ID == id && e.To == 2 {
			l.hear(2, epaxos.PreAcceptReply{ID: id, Deps: m.Initial})
		}
	}
}

var (
	reconfigure = epaxos.Footprint{{Mode: epaxos.Everything, Space: epaxos.SpaceEpoch}}
	ending      = epaxos.InstanceID{Epoch: 1, Replica: 2, Slot: 1}
)

func slot(s epaxos.Slot) epaxos.InstanceID { return epaxos.InstanceID{Epoch: 1, Replica: 1, Slot: s} }

// knowing is a replica that has led one command, and then voted for a Reconfigure of replica 2.
func knowing(t *testing.T) *lone {
	t.Helper()
	l := newLone(t, 1, epaxos.DefaultLimits())
	l.propose(1, write("x"))
	l.hear(2, epaxos.PreAccept{
		ID: ending, Command: &epaxos.Command{Footprint: reconfigure}, Initial: make(epaxos.Dependencies, 3),
	})
	return l
}

// Rule M5: who knows of a Reconfigure proposes nothing until its fate is known.
func TestM5HoldBack(t *testing.T) {
	noOp := epaxos.Commit{
		ID: ending, Ballot: epaxos.Ballot{Number: 1, Replica: 3}, Value: epaxos.Value{Kind: epaxos.NoOp},
		Deps: make(epaxos.Dependencies, 3),
	}
	decided := epaxos.Commit{ID: ending, Value: epaxos.Value{Kind: epaxos.Known}, Deps: epaxos.Dependencies{1, 0, 0}}
	for name, test := range map[string]struct {
		fate func(l *lone)
		want []epaxos.Slot // it has asked for votes in
	}{
		"nothing more is heard": {func(*lone) {}, []epaxos.Slot{1}},
		"it is decided":         {func(l *lone) { l.hear(2, decided) }, []epaxos.Slot{1}},
		"it becomes a no-op":    {func(l *lone) { l.hear(3, noOp) }, []epaxos.Slot{1, 2, 3}},
		"it is executed and was refused": {func(l *lone) {
			l.hear(2, decided)
			l.commits(slot(1))
			l.Executed(0, []epaxos.InstanceID{slot(1), ending})
			l.turn()
		}, []epaxos.Slot{1, 2}}, // both in one, since nothing that they meet is under way
	} {
		t.Run(name, func(t *testing.T) {
			l := knowing(t)
			l.propose(2, write("y"))
			l.propose(3, write("z"))
			l.wantSlots("knowing of a Reconfigure", 1)
			test.fate(l)
			l.wantSlots("then", test.want...)
		})
	}
}

// Rule M5: the replica that proposes a Reconfigure holds back what comes after it as others do, and what went
// before it goes on.
func TestM5OwnReconfigure(t *testing.T) {
	l := newLone(t, 1, epaxos.DefaultLimits())
	l.propose(1, write("x"))
	l.propose(2, reconfigure)
	l.propose(3, write("y"))
	l.wantSlots("behind its own Reconfigure", 1, 2)
	l.commits(slot(1))
	if len(l.led) != 1 || l.led[0].ID != slot(1) {
		t.Fatalf("what went before it was not decided: %v", l.led)
	}
	l.commits(slot(2))
	l.Executed(0, []epaxos.InstanceID{slot(1), slot(2)})
	l.turn()
	l.wantSlots("after a Reconfigure without effect", 1, 2, 3)
}

func proposals(left []epaxos.Unfinished) (all []epaxos.ProposalID) {
	for _, u := range left {
		all = append(all, u.Proposals...)
	}
	return all
}

// Rule M6: what was led or waits here and was not executed is given back at the end of the epoch, each proposal once,
// in its order; what was executed or cancelled is not.
func TestM6Unfinished(t *testing.T) {
	l := newLone(t, 1, epaxos.DefaultLimits())
	for id := range epaxos.ProposalID(4) {
		l.propose(id+1, write(string(rune('a'+id))))
	}
	l.commits(slot(1))
	l.commits(slot(2)) // decided, and void
	l.hear(2, epaxos.PreAccept{
		ID: ending, Command: &epaxos.Command{Footprint: reconfigure}, Initial: make(epaxos.Dependencies, 3),
	})
	for id := range epaxos.ProposalID(3) {
		l.propose(id+5, write("a"))
	}
	if !l.Cancel(6) {
		t.Fatal("what waits cannot be cancelled")
	}
	left := l.End(0, []epaxos.InstanceID{slot(1), ending})
	if got, want := proposals(left), []epaxos.ProposalID{2, 3, 4, 5, 7}; !slices.Equal(got, want) {
		t.Fatalf("left are %v, want %v", got, want)
	}
	if again := l.End(0, nil); len(again) > 0 {
		t.Errorf("violation of once: given back twice: %v", proposals(again))
	}
}

// Rule M6: the next epoch proposes it once, however full its queue is, and tells its end by the same proposals.
func TestM6Adopted(t *testing.T) {
	limits := epaxos.DefaultLimits()
	limits.InFlight, limits.Queue = 2, 3
	l := newLone(t, 1, limits)
	for id := range epaxos.ProposalID(5) {
		l.propose(id+1, write(string(rune('a'+id))))
	}
	left := l.End(0, nil)
	if len(left) != 5 {
		t.Fatalf("left are %v", proposals(left))
	}
	next := newLone(t, 2, limits)
	for _, u := range left {
		next.Adopt(0, u)
	}
	next.turn()
	if err := next.Propose(0, 9, epaxos.Request{}, write("z")); err == nil {
		t.Error("the queue takes more than it may, besides what it must")
	}
	for s := epaxos.Slot(1); s <= 5; s++ {
		id := epaxos.InstanceID{Epoch: 2, Replica: 1, Slot: s}
		next.commits(id)
		next.Executed(0, []epaxos.InstanceID{id})
		next.turn()
	}
	var told []epaxos.ProposalID
	for _, led := range next.led {
		told = append(told, led.Proposals...)
	}
	if want := proposals(left); !slices.Equal(told, want) {
		t.Errorf("violation of once: decided in the next epoch are %v, want %v", told, want)
	}
}

// Rule M7: after the end of its epoch a core still tells what was decided in it, and nothing about what it does not
// know.
func TestM7FormerTellsDecisions(t *testing.T) {
	l := knowing(t)
	l.commits(slot(1))
	l.hear(2, epaxos.Commit{
		ID: ending, Value: epaxos.Value{Kind: epaxos.Known}, Deps: epaxos.Dependencies{1, 0, 0},
	})
	l.End(0, []epaxos.InstanceID{slot(1), ending})
	l.sent = nil
	unknown := epaxos.InstanceID{Epoch: 1, Replica: 3, Slot: 7}
	l.hear(3, epaxos.Fetch{IDs: []epaxos.InstanceID{slot(1), ending, unknown}})
	var told []epaxos.InstanceID
	for _, e := range l.sent {
		commit, is := e.Message.(epaxos.Commit)
		if !is || e.To != 3 {
			t.Fatalf("violation of promise: it says %v", e)
		}
		told = append(told, commit.ID)
	}
	if !slices.Equal(told, []epaxos.InstanceID{slot(1), ending}) {
		t.Errorf("it tells of %v", told)
	}
}

// What replicas say to each other between epochs is no concern of a core, whoever hands it over.
func TestTheCoreTakesNoTransfer(t *testing.T) {
	l := knowing(t)
	l.sent = nil
	for _, m := range []epaxos.Message{
		epaxos.Ended{Epoch: 2, Decided: true}, epaxos.StateRequest{Epoch: 1, Since: 3}, epaxos.StateChunk{At: 3, Epoch: 2},
	} {
		l.hear(2, m)
		if epaxos.EpochOf(m) != 0 || len(l.sent) > 0 {
			t.Errorf("%T: epoch %d; it says %v", m, epaxos.EpochOf(m), l.sent)
		}
	}
}
