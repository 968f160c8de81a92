package sim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Schedules that chance seldom finds, on whole nodes: two commands on one key, each known to some of five
// replicas only, and recoverers that wait for each other. Command a is led in column 0 and recovered in
// column 1, b is led in column 3 and recovered in column 4; everything is decided and compared in the end.

// stage is a schedule under way.
type stage struct {
	*world
	a, b    epaxos.InstanceID
	lost    func(from, to int, m epaxos.Message) bool
	waiting bool // the recovery of a has said so
}

// at names messages of one type about one instance between some replicas.
type at struct {
	id       epaxos.InstanceID
	kind     messageType
	from, to []int // nil is any
}

func (p at) matches(from, to int, m epaxos.Message) bool {
	in := func(columns []int, column int) bool { return columns == nil || slices.Contains(columns, column) }
	return typeOf(m) == p.kind && epaxos.InstanceOf(m) == p.id && in(p.from, from) && in(p.to, to)
}

func anyOf(patterns ...at) func(from, to int, m epaxos.Message) bool {
	return func(from, to int, m epaxos.Message) bool {
		return slices.ContainsFunc(patterns, func(p at) bool { return p.matches(from, to, m) })
	}
}

// newStage starts five nodes near to each other, with usual time-outs and these quorums. Each number is a
// cluster with other delays.
func newStage(t *testing.T, e, number int) *stage {
	t.Helper()
	s := &stage{lost: func(int, int, epaxos.Message) bool { return false }}
	for seed := uint64(1); ; seed++ {
		o := Options{Seed: seed, Replicas: 5, Epochs: EpochsOne, Log: true}
		if drawn := o.draw(); drawn.members.F != 2 || drawn.members.E != e || drawn.far > 20*time.Millisecond ||
			drawn.timing != epaxos.DefaultTiming() {
			continue
		}
		if number--; number >= 0 {
			continue
		}
		o.script = func(from, to int, m epaxos.Message) bool {
			if w, ok := m.(epaxos.Waiting); ok {
				s.waiting = s.waiting || w.ID == s.a
			}
			return s.lost(from, to, m)
		}
		s.world = newWorld(o)
		break
	}
	s.left, s.setup.suspectAfter = 0, time.Hour // only who is doubted is suspected
	s.setup.timing.DisputedWait = s.setup.timing.FastPathWait
	s.a, s.b = s.members.ID(0, 1), s.members.ID(3, 1)
	for i := range s.members.Voters {
		s.start(i)
	}
	s.runUntil(time.Second)
	return s
}

// spread proposes b and then a, known as the schedule says, and lets them come as far as they can.
func (s *stage) spread(knowA, knowB []int, lost ...at) {
	unknown := func(known []int) []int {
		return slices.DeleteFunc([]int{0, 1, 2, 3, 4}, func(i int) bool { return slices.Contains(known, i) })
	}
	s.lost = anyOf(append(lost,
		at{id: s.a, kind: typePreAccept, to: unknown(knowA)}, at{id: s.b, kind: typePreAccept, to: unknown(knowB)},
	)...)
	for _, i := range []int{3, 0} {
		c := s.newClient(stream(s.options.Seed, streamWork, i))
		c.rush = &trouble{} // it asks only once
		c.ask(i, wire.Op{Kind: wire.OpPut, Key: []byte("k"), Value: c.value()})
		s.turn(i)
		s.runUntil(s.now + 200*time.Millisecond)
	}
}

// doubt makes a replica take another for dead.
func (s *stage) doubt(host, other int) {
	s.doubts = append(s.doubts, &trouble{Fault: Fault{Kind: WrongSuspicion, A: host, B: other}})
}

// finish heals everything, and fails the test unless all is well and each branch was taken.
func (s *stage) finish(t *testing.T, branches ...epaxos.Branch) Report {
	t.Helper()
	s.lost = func(int, int, epaxos.Message) bool { return false }
	s.settle()
	if s.err != nil {
		s.err.Trace = s.lines
		t.Fatal(s.err)
	}
	for _, b := range branches {
		if s.report.Stats.Branches[b] == 0 {
			t.Errorf("never taken: %v\n%s", b, strings.Join(s.lines[max(0, len(s.lines)-200):], "\n"))
		}
	}
	return s.report
}

// schedule is a story and the branches that it takes.
type schedule struct {
	name     string
	play     func(t *testing.T, number int) *stage
	branches []epaxos.Branch
}

var schedules = []schedule{
	{"outnumbered", outnumbered, []epaxos.Branch{
		epaxos.BranchLine74, epaxos.BranchLine74Few, epaxos.BranchLine72, epaxos.BranchStandsPending,
		epaxos.BranchValidateAccepted,
	}},
	{"outnumbered under the baseline rules", outnumberedBaseline, []epaxos.Branch{epaxos.BranchLine74Baseline}},
	{"committed against it", committedAgainst, []epaxos.Branch{epaxos.BranchLine65, epaxos.BranchStandsCommitted}},
	{"committed against it while it waits", committedMeanwhile, []epaxos.Branch{epaxos.BranchLine70}},
	{"late commit", lateCommit, []epaxos.Branch{epaxos.BranchLine76}},
	{"late accept", lateAccept, []epaxos.Branch{epaxos.BranchLine77}},
	{"executed by all while a voter is silent", stableStruck, []epaxos.Branch{epaxos.BranchStableStruck}},
	{"executed by all while another stands", stableMeanwhile, []epaxos.Branch{epaxos.BranchStableMeanwhile}},
	{"late leader", func(t *testing.T, number int) *stage { return lateLeader(t, 2, number) }, []epaxos.Branch{epaxos.BranchLine78}},
	{"late leader under the baseline rules", func(t *testing.T, number int) *stage { return lateLeader(t, 1, number) },
		[]epaxos.Branch{epaxos.BranchLine78Baseline}},
}

func TestSchedules(t *testing.T) {
	for _, schedule := range schedules {
		t.Run(schedule.name, func(t *testing.T) {
			for number := range 5 {
				schedule.play(t, number).finish(t, schedule.branches...)
			}
		})
	}
}

// votes are the answers to the PreAccepts of an instance.
func votes(id epaxos.InstanceID) at { return at{id: id, kind: typePreAcceptReply} }

// reports are the answers to a recovery of an instance.
func reports(id epaxos.InstanceID, from ...int) at {
	return at{id: id, kind: typeRecoverReply, from: from}
}

// outnumbered: two replicas have a without b, so no fast quorum for b is left. A copy of a Validate comes
// after the Accept of its ballot.
func outnumbered(t *testing.T, number int) *stage {
	s := newStage(t, 2, number)
	quiet := []at{votes(s.a), votes(s.b), reports(s.a, 0, 4), reports(s.b, 3, 1)}
	s.spread([]int{1, 2}, []int{4}, quiet...)
	base := s.lost
	var validate epaxos.Message
	commits := at{id: s.b, kind: typeCommit, to: []int{0}}
	s.lost = func(from, to int, m epaxos.Message) bool {
		switch {
		case (at{id: s.b, kind: typeValidate, to: []int{0}}).matches(from, to, m):
			validate = m
		case (at{id: s.b, kind: typeAccept, from: []int{4}, to: []int{0}}).matches(from, to, m):
			s.after(200*time.Millisecond, func() {
				s.hosts[0].node.Deliver(s.local(0), s.members.Voters[4], wire.FrameHeader{}, []epaxos.Message{validate})
				s.turn(0)
			})
		}
		return base(from, to, m) || commits.matches(from, to, m)
	}
	s.doubt(1, 0)
	s.doubt(4, 3)
	s.runUntil(s.now + time.Second)
	return s
}

func outnumberedBaseline(t *testing.T, number int) *stage {
	s := newStage(t, 1, number)
	s.spread([]int{1, 2}, []int{4}, votes(s.a), votes(s.b), reports(s.a, 0, 4), reports(s.b, 0, 1))
	s.doubt(1, 0)
	s.doubt(4, 3)
	s.runUntil(s.now + time.Second)
	return s
}

// committedAgainst: b is decided without a before a is recovered.
func committedAgainst(t *testing.T, number int) *stage {
	s := newStage(t, 2, number)
	s.spread([]int{1}, []int{2, 4}, votes(s.a), reports(s.a, 0, 4), at{id: s.b, kind: typeCommit, to: []int{0, 1}})
	s.doubt(1, 0)
	s.runUntil(s.now + time.Second)
	return s
}

// committedMeanwhile: b is decided without a while the recovery of a waits for b.
func committedMeanwhile(t *testing.T, number int) *stage {
	s := newStage(t, 2, number)
	s.spread([]int{1}, []int{2, 4}, votes(s.a), votes(s.b), reports(s.a, 0, 4))
	s.doubt(1, 0)
	s.untilWaiting(t)
	s.lost = anyOf(votes(s.a), reports(s.a, 0, 4), at{id: s.a, kind: typePreAccept})
	s.runUntil(s.now + time.Second)
	return s
}

// untilWaiting lets the recovery of a come to its wait.
func (s *stage) untilWaiting(t *testing.T) {
	t.Helper()
	for end := s.now + time.Second; !s.waiting; s.runUntil(s.now + 5*time.Millisecond) {
		if s.now > end || s.err != nil {
			t.Fatalf("the recovery of %v does not wait: %v", s.a, s.err)
		}
	}
}

// lateCommit: a was decided, and its leader says so when its recovery waits.
func lateCommit(t *testing.T, number int) *stage {
	s := newStage(t, 2, number)
	commits := at{id: s.a, kind: typeCommit}
	s.spread([]int{1, 2}, []int{4}, votes(s.b), commits, reports(s.a, 4))
	s.doubt(1, 0)
	s.untilWaiting(t)
	s.lost = anyOf(votes(s.b), at{id: s.b, kind: typePreAccept})
	s.runUntil(s.now + time.Second)
	return s
}

// lateAccept: the leader of a was on the slow path, and nobody has got its Accept.
func lateAccept(t *testing.T, number int) *stage {
	s := newStage(t, 2, number)
	accepts := at{id: s.a, kind: typeAccept, from: []int{0}}
	s.spread([]int{1, 2}, []int{2, 4}, votes(s.b), accepts, reports(s.a, 0, 2))
	s.doubt(1, 0)
	s.untilWaiting(t)
	s.lost = anyOf(votes(s.b), accepts)
	s.runUntil(s.now + time.Second)
	return s
}

// lateLeader: the leader of a reports when its recovery waits. Under the optimised rules that rules out
// that a was decided.
func lateLeader(t *testing.T, e, number int) *stage {
	s := newStage(t, e, number)
	s.spread([]int{1, 2}, []int{4}, votes(s.a), votes(s.b), reports(s.a, 0, 4))
	s.doubt(1, 0)
	s.untilWaiting(t)
	s.lost = anyOf(votes(s.a), votes(s.b))
	s.runUntil(s.now + time.Second)
	return s
}

// stableStruck: b, which a voter has listed against a, is executed by all before the last voter answers.
func stableStruck(t *testing.T, number int) *stage {
	s := newStage(t, 2, number)
	late := at{id: s.a, kind: typeValidateReply, from: []int{2}}
	s.spread([]int{1}, []int{2, 4}, votes(s.a), votes(s.b), reports(s.a, 0, 4), late)
	s.doubt(1, 0)
	s.runUntil(s.now + 200*time.Millisecond)
	s.lost = anyOf(votes(s.a), at{id: s.a, kind: typePreAccept}, reports(s.a, 0, 4), late)
	for end := s.now + 2*time.Second; s.now < end && s.hosts[1].core.Watermarks().Stable[3] == 0; {
		s.runUntil(s.now + 10*time.Millisecond)
	}
	s.lost = anyOf(votes(s.a), reports(s.a, 0, 4))
	s.runUntil(s.now + time.Second)
	return s
}

// stableMeanwhile: of two that stand against a, b becomes a no-op that all have passed before the other, c,
// is decided.
func stableMeanwhile(t *testing.T, number int) *stage {
	s := newStage(t, 2, number)
	c := s.members.ID(4, 1)
	unknown := at{id: c, kind: typePreAccept, to: []int{0, 1, 2}}
	s.spread([]int{1, 2}, []int{4}, votes(s.a), votes(s.b), votes(c), unknown, reports(s.a, 0, 4))
	third := s.newClient(stream(s.options.Seed, streamWork, 4))
	third.rush = &trouble{}
	third.ask(4, wire.Op{Kind: wire.OpPut, Key: []byte("k"), Value: third.value()})
	s.turn(4)
	s.runUntil(s.now + 100*time.Millisecond)
	s.doubt(1, 0)
	s.untilWaiting(t)
	s.doubt(4, 3)
	for end := s.now + 2*time.Second; s.now < end && s.hosts[1].core.Watermarks().Stable[3] == 0; {
		s.runUntil(s.now + 10*time.Millisecond)
	}
	s.lost = anyOf(votes(s.a), reports(s.a, 0, 4))
	s.runUntil(s.now + time.Second)
	return s
}
