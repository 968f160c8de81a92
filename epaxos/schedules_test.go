package epaxos_test

import (
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Schedules that broke the original protocol, or break this one where a rule is left out. Commands A
// and B interfere.

// The flaw of the original protocol (Sutra, "On the correctness of Egalitarian Paxos"): with one ballot
// for promise and vote the last recoverer mistakes the value of ballot 2 for that of ballot 3.
func TestScheduleOneBallotVariable(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	s.propose(3, "x")
	a := s.propose(1, "x")
	s.deliver("PreAccept", 1, 3)
	s.suspects(1, 4, 5)
	s.deliver("PreAccept", 1, 2)
	s.deliver("PreAcceptReply", 2, 1)
	s.deliver("PreAcceptReply", 3, 1)
	s.deliver("Accept", 1, 3) // r3 accepts the command at ballot 0
	s.silence()
	s.kill(1)
	s.recovers(2, a)
	s.ask("Recover", 2, 4, 5)
	s.ask("Validate", 2, 4, 5)
	s.wantsProposal(2, 4, "w:x []")
	s.ask("Accept", 2, 4, 5) // the fast value is decided at 1.2, unknown to r3
	s.wants(2, a, "w:x []")
	s.silence()
	s.kill(2)
	s.recovers(3, a) // promised at r3 and r4 beyond the ballots of both values
	s.deliver("Recover", 3, 4)
	s.silence()
	s.recovers(5, a)
	s.ask("Recover", 5, 3, 4)
	s.wantsProposal(5, 3, "w:x []")
}

// Without line 56 the last recovery waits for B with a count that proves too much.
func TestScheduleLine56(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	a, b := s.propose(1, "x"), s.propose(4, "x")
	s.deliver("PreAccept", 1, 2, 3)
	s.deliver("PreAccept", 4, 5)
	s.recovers(5, b)
	s.ask("Recover", 5, 4, 3)
	s.wantsProposal(5, 3, "no-op") // r4 led it
	s.deliver("PreAcceptReply", 2, 1)
	s.deliver("PreAcceptReply", 3, 1)
	s.wants(1, a, "w:x []")
	s.silence()
	s.kill(1)
	s.recovers(2, a)
	s.ask("Recover", 2, 3, 4)
	s.ask("Validate", 2, 3, 4)
	s.wantNone("Accept", 2, 3)
	s.wait(5, time.Second) // asks again for votes on its no-op
	s.sees(2, 3, 4, 5)
	s.wants(2, b, "no-op")
	s.wants(2, a, "w:x []")
}

// Without the threshold of line 74 one waiting vote for B undoes the fast commit of A.
func TestScheduleLine74Threshold(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	a, b := s.propose(1, "x"), s.propose(5, "x")
	s.deliver("PreAccept", 5, 4)
	s.kill(5)
	s.deliver("PreAccept", 1, 2)
	s.recovers(4, b)
	s.ask("Recover", 4, 1, 2)
	s.ask("Validate", 4, 1, 2)
	if w := last[epaxos.Waiting](s, 4, 2); w.Count != 1 {
		s.fail("waits with %d", w.Count)
	}
	s.deliver("Waiting", 4, 2, 3)
	s.deliver("PreAccept", 1, 3)
	s.deliver("PreAcceptReply", 2, 1)
	s.deliver("PreAcceptReply", 3, 1)
	s.wants(1, a, "w:x []")
	s.silence()
	s.kill(1)
	s.recovers(2, a)
	s.ask("Recover", 2, 3, 4)
	s.ask("Validate", 2, 3, 4)
	s.wantNone("Accept", 2, 3)
	s.wait(2, 4*time.Second)
	s.sees(2, 3, 4)
	s.wait(4, 4*time.Second)
	s.sees(2, 3, 4)
	s.wants(2, b, "no-op")
	s.wants(2, a, "w:x []")
}

// If Validate counted as a vote, a second recovery of B would wait with three.
func TestScheduleValidateIsNoVote(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	a, b := s.propose(1, "x"), s.propose(5, "x")
	s.deliver("PreAccept", 5, 4)
	s.kill(5)
	s.deliver("PreAccept", 1, 2, 3)
	s.deliver("PreAcceptReply", 2, 1)
	s.deliver("PreAcceptReply", 3, 1)
	s.silence()
	s.wants(1, a, "w:x []")
	s.kill(1)
	s.recovers(4, b)
	s.ask("Recover", 4, 2, 3)
	s.deliver("Validate", 4, 2, 3)
	s.silence()
	s.recovers(2, b)
	s.ask("Recover", 2, 3, 4)
	s.ask("Validate", 2, 3, 4)
	s.wantNone("Waiting", 2, 3)
	s.wantsProposal(2, 3, "no-op") // one vote, and the leader of A is outside the quorum
	s.ask("Accept", 2, 3, 4)
	s.recovers(3, a)
	s.ask("Recover", 3, 2, 4)
	s.sees(2, 3, 4)
	s.wants(3, a, "w:x []")
}

// B was decided as a no-op, which some replicas know. If those no longer reported it, A would commit
// fast without it, and the recovery of A, which hears of B from one that does not know, would undo A.
func TestScheduleNoOpsStay(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	b := s.propose(2, "x")
	s.deliver("PreAccept", 2, 3, 4)
	s.silence()
	s.recovers(3, b)
	s.ask("Recover", 3, 2, 4)
	s.ask("Accept", 3, 4, 2)
	s.wants(3, b, "no-op")
	s.deliver("Commit", 3, 4)
	s.silence()
	s.kill(2)
	s.propose(1, "x")
	s.suspects(1, 2, 5)
	s.ask("PreAccept", 1, 3, 4)
	s.wantsProposal(1, 3, "w:x [2.1]")
}

// X is accepted with dependencies at r1 and as a no-op at r2. If the no-op hid X from Y, the recovery
// that brings X back would leave the two unordered.
func TestScheduleNoOpIsNotForgotten(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	s.propose(2, "x")
	x := s.propose(1, "x")
	s.ask("PreAccept", 1, 2)
	s.suspects(1, 3)
	s.wait(1, 100*time.Millisecond)
	s.silence() // Accept at ballot 0 stays at r1
	s.recovers(2, x)
	s.ask("Recover", 2, 3)
	s.silence() // the no-op, or the command, stays at r2
	y := s.propose(3, "x")
	s.suspects(3, 1)
	s.ask("PreAccept", 3, 2)
	s.ask("Accept", 3, 2)
	if d := s.decided[y]; !d.Deps.Covers(0, x.Slot) {
		s.fail("Y is decided as %s", s.format(d))
	}
}

// A coordinator that answered its client and restarts still knows.
func TestScheduleCoordinatorAmnesia(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	a := s.propose(1, "x")
	s.ask("PreAccept", 1, 2, 3)
	s.silence()
	s.kill(1)
	s.start(1)
	s.recovers(4, a)
	s.ask("Recover", 4, 5)
	s.deliver("Recover", 4, 1)
	s.deliver("Commit", 1, 4)
	s.wants(4, a, "w:x []")
}

// A coordinator that sent Accept at ballot 0 and restarts does not count votes at ballot 0 again.
func TestScheduleBallot0Resumed(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	s.propose(2, "x")
	a := s.propose(1, "x")
	s.suspects(1, 4, 5)
	s.ask("PreAccept", 1, 2, 3)
	s.deliver("Accept", 1, 2)
	again := s.take("PreAccept", 1, 4, 5)
	s.silence()
	s.kill(1)
	s.start(1)
	for _, e := range again {
		s.step(e)
	}
	s.deliver("PreAcceptReply", 4, 1)
	s.deliver("PreAcceptReply", 5, 1)
	s.wantsOpen(1, a)
	s.recovers(1, a)
	s.ask("Recover", 1, 2, 4)
	s.wantsProposal(1, 2, "w:x [2.1]")
}
