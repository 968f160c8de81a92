package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Schedules of epochs, on whole nodes: those under which a wrong variant of the rules M is known to break. Hosts
// are numbered from 0.

// newEpochs starts a cluster with machines to spare.
func newEpochs(t *testing.T, replicas int) *stage {
	t.Helper()
	s := &stage{lost: func(int, int, epaxos.Message) bool { return false }}
	for seed := uint64(1); ; seed++ {
		o := Options{Seed: seed, Replicas: replicas, Epochs: EpochsMany, Log: true}
		if drawn := o.draw(); drawn.far > 20*time.Millisecond || drawn.machines < replicas+3 || drawn.members.F != (replicas-1)/2 {
			continue
		}
		o.script = func(from, to int, m epaxos.Message) bool { return s.lost(from, to, m) }
		s.world = newWorld(o)
		break
	}
	s.left, s.setup.suspectAfter = 0, time.Hour
	for i := range s.members.Voters {
		s.start(i)
	}
	s.runUntil(time.Second)
	return s
}

// put proposes a write of one key at a host.
func (s *stage) put(host int, key string) *operation {
	c := s.newClient(stream(s.options.Seed, streamWork, host+8))
	c.rush = &trouble{} // it asks only once
	c.ask(host, wire.Op{Kind: wire.OpPut, Key: []byte(key), Value: c.value()})
	s.turn(host)
	return c.history[0]
}

// get reads a key at a host, without an instance.
func (s *stage) get(host int, key string) *operation {
	s.setup.reads, s.setup.old = 1, false
	c := s.newClient(stream(s.options.Seed, streamWork, host+8))
	c.rush = &trouble{}
	c.ask(host, getOf([]byte(key)))
	s.turn(host)
	return c.history[0]
}

// reconfigure proposes other members at a host.
func (s *stage) reconfigure(t *testing.T, host int, edit func(*wire.Members)) {
	t.Helper()
	base, _ := s.hosts[host].node.Members()
	next := base.Clone()
	next.Epoch++
	edit(&next)
	next.F = (len(next.Voters) - 1) / 2
	next.E = epaxos.LargestE(len(next.Voters), next.F)
	if !s.ask(host, &next) {
		t.Fatalf("r%d does not take %+v", replicaOf(host), next)
	}
	s.turn(host)
}

func without(host int) func(*wire.Members) {
	return func(m *wire.Members) {
		m.Voters = slices.DeleteFunc(m.Voters, func(v wire.Member) bool { return v.Replica == replicaOf(host) })
	}
}

func (s *stage) with(int) func(*wire.Members) {
	return func(m *wire.Members) { s.admit(m, &m.Voters) }
}

// until lets time pass until something holds.
func (s *stage) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := s.now + 30*time.Second; !holds(); s.runUntil(s.now + 5*time.Millisecond) {
		if s.now > end || s.err != nil {
			t.Fatalf("not in time: %s (%v)\n%s", what, s.err, s.tail())
		}
	}
}

func (s *stage) tail() string {
	text := ""
	for _, line := range s.lines[max(0, len(s.lines)-40):] {
		text += line + "\n"
	}
	return text
}

func (s *stage) inEpoch(e epaxos.Epoch, hosts ...int) func() bool {
	return func() bool {
		return !slices.ContainsFunc(hosts, func(i int) bool { return s.check.epochs[i] != e })
	}
}

// mustStand fails the test unless an instance was executed in the first epoch, wherever that has ended.
func (s *stage) mustStand(t *testing.T, id epaxos.InstanceID) {
	t.Helper()
	if end := s.check.books[0].end; end == nil || !end.marked[id] {
		t.Errorf("%v does not stand", id)
	}
}

// TestExecutedBeyondItsDependencies (M2): x is executed by all and answered; then the Reconfigure is decided by a
// recovery that passes over x, since all have executed it. Neither names the other, and x stands.
func TestExecutedBeyondItsDependencies(t *testing.T) {
	s := newStage(t, 2, 0)
	r, x := s.a, s.b
	spread := []at{
		{id: r, kind: typePreAccept, to: []int{1, 3, 4}}, votes(r), {id: x, kind: typePreAccept, to: []int{0, 2}},
		reports(r, 0, 4), {id: r, kind: typeRecover, to: []int{0, 4}},
	}
	s.lost = anyOf(spread...)
	s.reconfigure(t, 0, without(4))
	s.runUntil(s.now + 50*time.Millisecond)
	o := s.put(3, "k")
	s.until(t, "all know that all have executed x", func() bool {
		return o.known && !slices.ContainsFunc([]int{1, 2, 3}, func(i int) bool {
			return s.hosts[i].core.Watermarks().Stable[3] == 0
		})
	})
	s.doubt(3, 0)
	s.until(t, "the epoch ends", func() bool { return s.check.books[0].end != nil })
	if d := s.check.decisions[r]; d.Command == nil || d.Deps[3] > 0 || s.check.decisions[x].Deps[0] > 0 {
		t.Errorf("%v deps=%v, %v deps=%v: one names the other", r, d.Deps, x, s.check.decisions[x].Deps)
	}
	s.mustStand(t, x)
	s.finish(t)
}

// TestNotAtCommit (M4): of two that race some replicas know the second in order only. It is committed there, and
// nobody begins an epoch with it.
func TestNotAtCommit(t *testing.T) {
	s := newStage(t, 2, 0)
	s.lost = anyOf(at{id: s.a, kind: typePreAccept, to: []int{3, 4}}, at{id: s.a, kind: typeCommit}, at{kind: typeEnded},
		at{kind: typeGossip, from: []int{0}})
	s.reconfigure(t, 0, without(4))
	s.until(t, "the first is decided", func() bool { return s.check.decisions[s.a] != nil })
	s.reconfigure(t, 3, without(1))
	s.until(t, "the second is committed where the first is not", func() bool {
		return !slices.ContainsFunc([]int{1, 2, 3, 4}, func(i int) bool { return s.hosts[i].core.Decided()[3] == 0 })
	})
	if s.check.decisions[s.b].Deps[0] == 0 || !s.inEpoch(1, 1, 2, 3, 4)() {
		t.Errorf("the second deps=%v, epochs %v", s.check.decisions[s.b].Deps, s.check.epochs)
	}
	s.finish(t)
	if len(s.check.books) != 2 || s.report.Epochs != 1 {
		t.Errorf("%d epochs ended", s.report.Epochs)
	}
	record := s.check.newest().record
	if _, votes, _ := record.Find(5); votes || s.check.books[0].endedBy != s.a {
		t.Errorf("%v has ended epoch 1, and %+v follow", s.check.books[0].endedBy, record)
	}
}

// TestNotProposedAtCommit (M6): x is outside what the Reconfigure depends on, and in its component with a smaller
// id, so it stands: x -> R -> b -> x. Its leader must not take it for void when the Reconfigure is committed.
func TestNotProposedAtCommit(t *testing.T) {
	s := newStage(t, 2, 0)
	x, b, r := s.members.ID(0, 1), s.members.ID(1, 1), s.members.ID(3, 1)
	hidden := []at{{id: x, kind: typePreAccept}}
	first := []at{{id: b, kind: typePreAccept, to: []int{2, 4}}, {id: b, kind: typeCommit}, {id: b, kind: typeAccept, to: []int{2, 4}}}
	last := []at{{id: r, kind: typePreAccept, to: []int{0, 1}}, {id: r, kind: typeCommit, to: []int{0, 1, 2, 4}}}
	s.lost = anyOf(slices.Concat(hidden, first, last)...)
	one := s.put(0, "k")
	s.runUntil(s.now + 10*time.Millisecond)
	other := s.put(1, "k")
	s.until(t, "b is known where the Reconfigure begins", func() bool { return s.hosts[3].core.Tops()[1] > 0 })
	s.runUntil(s.now + 10*time.Millisecond)
	s.reconfigure(t, 3, without(4))
	s.until(t, "the Reconfigure is known to two more", func() bool {
		return s.hosts[2].core.Tops()[3] > 0 && s.hosts[4].core.Tops()[3] > 0
	})
	s.runUntil(s.now + 20*time.Millisecond)
	s.lost = anyOf(slices.Concat(first, last, []at{{id: x, kind: typePreAccept, to: []int{1, 3}}})...)
	s.until(t, "x is decided", func() bool { return s.check.decisions[x] != nil })
	s.lost = func(int, int, epaxos.Message) bool { return false }
	s.until(t, "the epoch ends", func() bool { return s.check.books[0].end != nil })
	if d := s.check.decisions; d[r].Deps[0] > 0 || d[x].Deps[3] == 0 || d[b].Deps[0] == 0 {
		t.Errorf("r deps=%v, x deps=%v, b deps=%v: no circle", d[r].Deps, d[x].Deps, d[b].Deps)
	}
	s.mustStand(t, x)
	s.finish(t)
	if !one.known || !other.known {
		t.Error("not answered")
	}
}

// TestEndedEpochStaysEnded (M7): a replica that was away proposes a Reconfigure of its own in an epoch that all
// others have ended, and forgotten but for its end.
func TestEndedEpochStaysEnded(t *testing.T) {
	s := newStage(t, 2, 0)
	away := func(from, to int, _ epaxos.Message) bool { return from == 4 || to == 4 }
	s.lost = away
	s.reconfigure(t, 4, without(0))
	s.reconfigure(t, 0, without(1))
	s.until(t, "four are in epoch 2", s.inEpoch(2, 0, 1, 2, 3))
	for i := range 4 {
		s.crash(i, death{back: 50 * time.Millisecond})
	}
	s.runUntil(s.now + time.Second)
	s.lost = func(int, int, epaxos.Message) bool { return false }
	s.doubt(4, 0)
	s.until(t, "the fifth is in epoch 2", s.inEpoch(2, 4))
	if by := s.check.books[0].endedBy; by != s.a {
		t.Errorf("epoch 1 is ended by %v", by)
	}
	if s.report.Installed != 1 {
		t.Errorf("%d states were taken over", s.report.Installed)
	}
	s.finish(t)
}

// TestLearnerHoldsWhatVotersHold (M11): a learner joins, follows while others write, and votes from the beginning of
// an epoch on.
func TestLearnerHoldsWhatVotersHold(t *testing.T) {
	s := newEpochs(t, 3)
	s.put(0, "before")
	s.reconfigure(t, 0, func(m *wire.Members) { s.admit(m, &m.Learners) })
	s.until(t, "the learner has begun", s.inEpoch(2, 0, 1, 2, 3))
	for i := range 20 {
		s.put(i%3, "during")
		s.runUntil(s.now + 30*time.Millisecond)
	}
	s.until(t, "it holds what others hold", func() bool { return s.check.inStep(3) })
	s.reconfigure(t, 1, func(m *wire.Members) { promote(m, s.hosts[1].rand) })
	s.until(t, "it votes", s.inEpoch(3, 0, 1, 2, 3))
	if !s.hosts[3].votes() {
		t.Error("the learner does not vote")
	}
	o := s.put(3, "after")
	s.until(t, "it is answered", func() bool { return o.known })
	s.finish(t)
}

// TestOneTwoThreeAndBack: a cluster of one grows to three, and shrinks to the one that joined last.
func TestOneTwoThreeAndBack(t *testing.T) {
	s := newEpochs(t, 1)
	step := func(at int, epoch epaxos.Epoch, edit func(*wire.Members), members ...int) {
		o := s.put(at, "k")
		s.reconfigure(t, at, edit)
		s.until(t, "all have begun", s.inEpoch(epoch, members...))
		s.until(t, "the request is answered", func() bool { return o.known })
	}
	step(0, 2, s.with(1), 0, 1)
	step(1, 3, s.with(2), 0, 1, 2)
	step(2, 4, without(0), 1, 2)
	step(2, 5, without(1), 2)
	o := s.put(2, "k")
	s.until(t, "the last one answers", func() bool { return o.known })
	s.finish(t)
	if n := s.check.newest().members.N(); n != 1 || s.report.Epochs != 4 {
		t.Errorf("%d members after %d epochs", n, s.report.Epochs)
	}
}

// TestRemovedTellsTheEnd (M7, M9): a voter that missed the end of its epoch knows one other replica, which was removed
// by it. After a restart of all nobody of the next epoch knows that one, so nobody greets it.
func TestRemovedTellsTheEnd(t *testing.T) {
	s := newEpochs(t, 3)
	s.reconfigure(t, 0, without(2))
	s.until(t, "two are in epoch 2", s.inEpoch(2, 0, 1))
	s.reconfigure(t, 1, func(m *wire.Members) { without(1)(m); s.admit(m, &m.Voters) })
	s.lost = func(from, to int, m epaxos.Message) bool {
		return from == 1 && to == 0 && typeOf(m) == typeCommit || typeOf(m) == typeEnded
	}
	s.until(t, "the new one has begun", s.inEpoch(3, 1, 3))
	if s.check.epochs[0] != 2 {
		t.Fatalf("epochs %v", s.check.epochs)
	}
	for _, i := range []int{0, 1, 3} {
		s.crash(i, death{back: 50 * time.Millisecond})
	}
	s.runUntil(s.now + time.Second)
	s.lost = func(int, int, epaxos.Message) bool { return false }
	s.until(t, "all are in epoch 3", s.inEpoch(3, 0, 3))
	s.finish(t)
}

// TestReadMeetsTheEnd (Q3): a replica knows of a Reconfigure that it has not executed, and others have answered a write
// in the next epoch. The point of a read names the Reconfigure, and nothing behind it.
func TestReadMeetsTheEnd(t *testing.T) {
	s := newEpochs(t, 3)
	end := s.members.ID(0, 1)
	s.lost = anyOf(at{id: end, kind: typeCommit}, at{kind: typeEnded})
	s.reconfigure(t, 0, func(m *wire.Members) {
		without(2)(m)
		s.admit(m, &m.Voters)
		s.admit(m, &m.Voters)
	})
	s.until(t, "it is decided", func() bool { return s.check.decisions[end] != nil })
	for _, other := range []int{1, 2} {
		s.weather = append(s.weather, &trouble{Fault: Fault{Kind: CutBothWays, A: 0, B: other}})
	}
	s.until(t, "three of four have begun", s.inEpoch(2, 0, 3, 4))
	s.until(t, "one of them is admitted", func() bool { return s.hosts[3].node.Admitted() })
	w := s.put(3, "k")
	s.until(t, "the write is answered", func() bool { return w.known })
	if s.check.epochs[1] != 1 {
		t.Fatalf("epochs %v", s.check.epochs)
	}
	r := s.get(1, "k")
	s.runUntil(s.now + 100*time.Millisecond)
	if r.known {
		t.Error("the read is answered before the end of the epoch")
	}
	s.lost, s.weather = func(int, int, epaxos.Message) bool { return false }, nil
	s.until(t, "the read is answered", func() bool { return r.known })
	s.finish(t)
}

// TestLearnerLeavesWhoStaysBehind (M11): whom a learner follows was removed and never hears of it. Others do tell the
// learner that they are beyond it.
func TestLearnerLeavesWhoStaysBehind(t *testing.T) {
	s := newEpochs(t, 3)
	s.reconfigure(t, 1, func(m *wire.Members) { s.admit(m, &m.Learners) })
	s.until(t, "the learner has begun", s.inEpoch(2, 0, 1, 2, 3))
	for _, other := range []int{1, 2} {
		s.weather = append(s.weather, &trouble{Fault: Fault{Kind: CutBothWays, A: 0, B: other}})
	}
	s.lost = func(from, _ int, m epaxos.Message) bool { return from != 0 && typeOf(m) == typeStateChunk }
	s.reconfigure(t, 1, without(0))
	s.until(t, "two have gone on", s.inEpoch(3, 1, 2))
	s.reconfigure(t, 2, func(*wire.Members) {})
	s.until(t, "and once more", s.inEpoch(4, 1, 2))
	s.until(t, "the learner follows who is behind", func() bool { return s.hosts[3].node.Status().Transfer.Rounds > 2 })
	s.lost = func(int, int, epaxos.Message) bool { return false }
	s.until(t, "the learner has left it", s.inEpoch(4, 3))
	s.finish(t)
}
