package epaxos_test

import (
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Rules R, V and W of docs/protocol.md, branch by branch. "Line n" is a line of the paper's figure 3.

func TestR1PromiseIsSavedAndKept(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	a := s.propose(1, "x")
	s.deliver("PreAccept", 1, 2, 3)
	s.silence()
	high := s.recovers(3, a)
	s.deliver("Recover", 3, 4)
	s.kill(4)
	s.start(4)
	s.recovers(2, a) // 1.2 is below 1.3
	s.deliver("Recover", 2, 4)
	if r := last[epaxos.Refusal](s, 4, 2); r.Promised != high {
		s.fail("refused with %v", r.Promised)
	}
	s.deliver("Refusal", 4, 2)
	if next := s.recovers(2, a); !high.Less(next) {
		s.fail("the next attempt is at %v, below %v", next, high)
	}
}

// A report carries the ballot of the accept across two promises.
func TestR2TwoBallots(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	a := s.propose(1, "x")
	low := s.recovers(2, a)
	s.ask("Recover", 2, 3, 4)
	s.deliver("Accept", 2, 3)
	s.silence()
	s.recovers(4, a)
	s.deliver("Recover", 4, 3, 5)
	first := s.take("RecoverReply", 3, 4)[0].Message.(epaxos.RecoverReply)
	s.silence()
	s.recovers(5, a)
	s.deliver("Recover", 5, 3)
	second := last[epaxos.RecoverReply](s, 3, 5)
	if first.Accepted != low || second.Accepted != low || !first.Ballot.Less(second.Ballot) {
		s.fail("reports at %v and %v say accepted at %v and %v, not %v", first.Ballot, second.Ballot,
			first.Accepted, second.Accepted, low)
	}
}

func TestR3Quorum(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	a := s.propose(1, "x")
	s.kill(1)
	s.recovers(2, a)
	s.deliver("Recover", 2, 3)
	reply := s.take("RecoverReply", 3, 2)[0]
	s.step(reply)
	s.step(reply)
	s.wantNone("Accept", 2, 3)
	s.ask("Recover", 2, 4)
	s.wantsProposal(2, 3, "no-op")
}

// Line 54: a reported commit ends the recovery.
func TestR4Line54Committed(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	a := s.propose(1, "x")
	s.ask("PreAccept", 1, 2, 3)
	s.deliver("Commit", 1, 2)
	s.silence()
	s.kill(1)
	s.recovers(4, a)
	s.deliver("Recover", 4, 2)
	s.deliver("Commit", 2, 4)
	s.wants(4, a, "w:x []")
}

// Line 55: the value with the highest accepted ballot is proposed, here a no-op over an older union.
func TestR4Line55HighestAccepted(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	s.propose(2, "x")
	s.deliver("PreAccept", 2, 3)
	a := s.propose(1, "x")
	s.suspects(1, 4, 5)
	s.ask("PreAccept", 1, 2, 3)
	s.wantsProposal(1, 2, "w:x [2.1]")
	s.deliver("Accept", 1, 2)
	s.silence()
	s.kill(1)
	s.recovers(3, a)
	s.ask("Recover", 3, 4, 5)
	s.wantsProposal(3, 4, "no-op")
	s.deliver("Accept", 3, 4)
	s.silence()
	s.kill(3)
	s.recovers(5, a)
	s.ask("Recover", 5, 2, 4)
	s.wantsProposal(5, 2, "no-op")
	s.ask("Accept", 5, 2, 4)
	s.wants(5, a, "no-op")
}

// Line 56: with the leader in the quorum, and no commit or accept reported, nothing was decided fast.
func TestR4Line56LeaderInQuorum(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	a := s.propose(1, "x")
	s.deliver("PreAccept", 1, 2, 3)
	s.silence()
	s.recovers(2, a)
	s.ask("Recover", 2, 1, 3)
	s.wantsProposal(2, 3, "no-op")
}

// R6: under the baseline rules the same recovery keeps the command.
func TestR6BaselineHasNoLine56(t *testing.T) {
	s := newScript(t, 5, 2, 1)
	a := s.propose(1, "x")
	s.deliver("PreAccept", 1, 2, 3)
	s.silence()
	s.recovers(2, a)
	s.ask("Recover", 2, 1, 3)
	s.ask("Validate", 2, 1, 3)
	s.wantsProposal(2, 3, "w:x []")
}

// Lines 57 and 63: enough equal votes, and nothing stands against them.
func TestR4Line57And63(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	a := s.propose(1, "x")
	s.ask("PreAccept", 1, 2, 3)
	s.wants(1, a, "w:x []")
	s.silence()
	s.kill(1)
	s.recovers(2, a)
	s.ask("Recover", 2, 4, 5)
	s.ask("Validate", 2, 4, 5)
	s.ask("Accept", 2, 4, 5)
	s.wants(2, a, "w:x []")
}

// Line 80: too few equal votes for a fast decision.
func TestR4Line80(t *testing.T) {
	s := newScript(t, 5, 2, 1) // |Q|-e is 2
	a := s.propose(1, "x")
	s.deliver("PreAccept", 1, 2)
	s.kill(1)
	s.recovers(2, a)
	s.ask("Recover", 2, 3, 4)
	s.wantsProposal(2, 3, "no-op")
}

// R5: who knows an instance by Validate alone is not counted as having voted for it.
func TestR5ValidatedIsNotPreAccepted(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	a := s.propose(1, "x")
	s.deliver("PreAccept", 1, 2)
	s.kill(1)
	s.recovers(2, a)
	s.ask("Recover", 2, 3, 4)
	s.deliver("Validate", 2, 3, 4)
	s.silence()
	s.recovers(5, a)
	s.deliver("Recover", 5, 3, 4)
	for _, from := range []epaxos.ReplicaID{3, 4} {
		if r := last[epaxos.RecoverReply](s, from, 5); r.Phase != epaxos.Initial || r.Initial == nil {
			s.fail("r%d reports %+v", from, r)
		}
		s.deliver("RecoverReply", from, 5)
	}
	s.wantsProposal(5, 3, "no-op")
}

// R7: reports of an older attempt count in no later one.
func TestR7AttemptsAreSeparate(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	a := s.propose(1, "x")
	s.kill(1)
	s.recovers(2, a)
	s.deliver("Recover", 2, 3, 4)
	old := append(s.take("RecoverReply", 3, 2), s.take("RecoverReply", 4, 2)...)
	s.recovers(5, a)
	s.deliver("Recover", 5, 2)
	s.silence()
	s.recovers(2, a)
	for _, e := range old {
		s.step(e)
	}
	s.wantNone("Accept", 2, 3)
}

// R8: an instance that nobody in the quorum knows becomes a no-op.
func TestR8TheUnknownIsRecovered(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	a := s.propose(1, "x")
	s.silence()
	s.kill(1)
	s.recovers(2, a)
	s.ask("Recover", 2, 3)
	s.ask("Accept", 2, 3)
	s.wants(2, a, "no-op")
}

// V1: all of the quorum must answer; if one dies, a new attempt takes another quorum.
func TestV1Everyone(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	a := s.propose(1, "x")
	s.deliver("PreAccept", 1, 2)
	s.kill(1)
	first := s.recovers(2, a)
	s.ask("Recover", 2, 3, 4)
	s.ask("Validate", 2, 3)
	s.wantNone("Accept", 2, 3)
	s.kill(4)
	s.silence()
	if next := s.recovers(2, a); !first.Less(next) {
		s.fail("the attempt goes on at %v", next)
	}
	s.ask("Recover", 2, 3, 5)
	s.ask("Validate", 2, 3, 5)
	s.wantsProposal(2, 3, "w:x []")
}

// V2: Validate makes later commands notice the instance, and is no vote.
func TestV2InstallDoNotVote(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	a := s.propose(1, "x")
	s.deliver("PreAccept", 1, 2)
	s.kill(1)
	s.recovers(2, a)
	s.ask("Recover", 2, 3, 4)
	s.deliver("Validate", 2, 3)
	if r := s.at(3).disk.state[a]; r.Phase != epaxos.Initial || r.Deps != nil || r.Initial == nil {
		s.fail("the validator keeps %+v", r)
	}
	s.propose(3, "x")
	if deps := s.members.FormatDeps(last[epaxos.PreAccept](s, 3, 4).Initial); deps != "[1.1]" {
		s.fail("a command after it starts with %s", deps)
	}
}

// V3: what stands against a proposal, and what does not.
func TestV3WhatStandsAgainst(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	a := s.propose(1, "x")
	s.deliver("PreAccept", 1, 2, 3)
	s.silence()
	s.kill(1)
	b := s.propose(4, "x") // missed a, undecided
	c := s.propose(5, "x") // missed a and b, committed
	s.ask("PreAccept", 5, 4)
	s.silence()
	s.propose(4, "y") // does not interfere
	s.propose(3, "x") // depends on a
	s.deliver("PreAccept", 3, 4)
	s.silence()
	s.recovers(2, a)
	s.ask("Recover", 2, 4, 5)
	s.deliver("Validate", 2, 4)
	got := last[epaxos.ValidateReply](s, 4, 2).Conflicts
	if len(got) != 2 || got[0] != (epaxos.Conflict{ID: b}) || got[1] != (epaxos.Conflict{ID: c}) {
		s.fail("against: %v", got)
	}
}

// V4: a copy of Validate that comes after the Accept of its ballot changes and answers nothing.
func TestV4NeverAfterAnAccept(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	a := s.propose(1, "x")
	s.deliver("PreAccept", 1, 2)
	s.propose(3, "x")
	s.deliver("PreAccept", 3, 4)
	s.silence()
	s.kill(1, 3)
	s.recovers(2, a)
	s.ask("Recover", 2, 4, 5)
	validate := s.take("Validate", 2, 4)[0]
	s.step(validate)
	s.deliver("ValidateReply", 4, 2)
	s.ask("Validate", 2, 5)
	s.wantsProposal(2, 4, "no-op") // r3 is not in the quorum: line 66
	s.deliver("Accept", 2, 4)
	before := s.at(4).disk.state[a]
	s.step(validate)
	s.wantNone("ValidateReply", 4, 2)
	if after := s.at(4).disk.state[a]; !after.NoOp || after.Accepted != before.Accepted {
		s.fail("the accepted no-op became %+v", after)
	}
}

// V5, line 65, first half: something committed stands against it.
func TestV5Line65Committed(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	a := s.propose(1, "x")
	s.deliver("PreAccept", 1, 2)
	s.silence()
	b := s.propose(5, "x")
	s.ask("PreAccept", 5, 3, 4)
	s.wants(5, b, "w:x []")
	s.deliver("Commit", 5, 3)
	s.silence()
	s.kill(1)
	s.recovers(2, a)
	s.ask("Recover", 2, 3, 5)
	s.ask("Validate", 2, 3, 5)
	s.wantsProposal(2, 3, "no-op")
}

// V5, line 66: with the fewest equal votes, the leader of what stands against it outside the quorum
// decides. These are the crossed recoveries on which the original protocol waits for ever.
func TestV5Line66BreaksTheCrossedWait(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	a, b := s.propose(1, "x"), s.propose(5, "x")
	s.deliver("PreAccept", 1, 2)
	s.deliver("PreAccept", 5, 4)
	s.silence()
	s.kill(1, 5)
	s.recovers(2, a)
	s.ask("Recover", 2, 3, 4)
	s.recovers(4, b)
	s.ask("Recover", 4, 3, 2)
	s.sees(2, 3, 4)
	s.wants(2, a, "no-op")
	s.wants(4, b, "no-op")
}

// waiting is r2 waiting with the command of r1 (count votes equal) for that of r5, which only r4 knows.
// r5 is in its quorum, so line 66 does not apply.
func waiting(t *testing.T, n, f, e int, voters ...epaxos.ReplicaID) (s *script, a, b epaxos.InstanceID) {
	t.Helper()
	s = newScript(t, n, f, e)
	a, b = s.propose(1, "x"), s.propose(5, "x")
	s.deliver("PreAccept", 1, voters...)
	s.deliver("PreAccept", 5, 4)
	s.silence()
	s.kill(1)
	s.recovers(2, a)
	return s, a, b
}

// W1: who waits says so, again and again.
func TestW1Announce(t *testing.T) {
	s, _, _ := waiting(t, 5, 2, 2, 2)
	s.ask("Recover", 2, 3, 5)
	s.ask("Validate", 2, 3, 5)
	s.wantNone("Accept", 2, 3)
	for range 2 {
		if w := last[epaxos.Waiting](s, 2, 4); w.Count != 1 {
			s.fail("announced %d", w.Count)
		}
		s.silence()
		s.wait(2, 2*time.Second)
	}
}

// W2, line 70: what it waits for commits without it.
func TestW2RuledOut(t *testing.T) {
	s, _, b := waiting(t, 5, 2, 2, 2)
	s.ask("Recover", 2, 3, 5)
	s.ask("Validate", 2, 3, 5)
	s.step(commitOf(b, write("x"), make(epaxos.Dependencies, 5)))
	s.wantsProposal(2, 3, "no-op")
}

// W3, line 72: everything it waits for commits with it, or as a no-op.
func TestW3Harmless(t *testing.T) {
	for name, commit := range map[string]func(epaxos.InstanceID) epaxos.Envelope{
		"depends": func(b epaxos.InstanceID) epaxos.Envelope {
			return commitOf(b, write("x"), epaxos.Dependencies{1, 0, 0, 0, 0})
		},
		"no-op": func(b epaxos.InstanceID) epaxos.Envelope {
			return commitOf(b, nil, make(epaxos.Dependencies, 5))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, a, b := waiting(t, 5, 2, 2, 2)
			s.ask("Recover", 2, 3, 5)
			s.ask("Validate", 2, 3, 5)
			s.step(commit(b))
			s.wantsProposal(2, 3, "w:x []")
			s.ask("Accept", 2, 3, 5)
			s.wants(2, a, "w:x []")
		})
	}
}

// commitOf tells r2 a decision in the name of r5.
func commitOf(id epaxos.InstanceID, f epaxos.Footprint, d epaxos.Dependencies) epaxos.Envelope {
	value := epaxos.Value{Kind: epaxos.NoOp}
	if f != nil {
		value = epaxos.Value{Kind: epaxos.Full, Command: &epaxos.Command{Footprint: f}}
	}
	return epaxos.Envelope{From: 5, To: 2, Message: epaxos.Commit{ID: id, Value: value, Deps: d}}
}

// W4, line 74: more than n-f-e waiting votes for the other leave no fast quorum for this one.
func TestW4Outnumbered(t *testing.T) {
	s, _, b := waiting(t, 5, 2, 2, 2)
	s.ask("Recover", 2, 3, 5)
	s.ask("Validate", 2, 3, 5)
	tell := func(count int) {
		s.step(epaxos.Envelope{From: 4, To: 2, Message: epaxos.Waiting{ID: b, Count: count}})
	}
	tell(1)
	s.wantNone("Accept", 2, 3)
	tell(2)
	s.wantsProposal(2, 3, "no-op")
}

// W4 under the baseline rules: any count does.
func TestW4BaselineTakesAnyCount(t *testing.T) {
	s, _, b := waiting(t, 5, 2, 1, 2, 3)
	s.ask("Recover", 2, 3, 5)
	s.ask("Validate", 2, 3, 5)
	s.wantNone("Accept", 2, 3)
	s.step(epaxos.Envelope{From: 4, To: 2, Message: epaxos.Waiting{ID: b, Count: 1}})
	s.wantsProposal(2, 3, "no-op")
}

// W4 and W1: a replica that recovers both sides hears its own announcement too.
func TestW4OwnAnnouncementCounts(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	a, b := s.propose(1, "x"), s.propose(5, "x")
	s.deliver("PreAccept", 5, 4, 2)
	s.deliver("PreAccept", 1, 3)
	s.silence()
	s.kill(1)
	s.recovers(2, a)
	s.ask("Recover", 2, 3, 5)
	s.ask("Validate", 2, 3, 5)
	s.wantNone("Accept", 2, 3) // waits for b, whose leader is in the quorum
	s.silence()
	s.kill(5)
	s.recovers(2, b)
	s.ask("Recover", 2, 3, 4)
	s.ask("Validate", 2, 3, 4) // two equal votes: waits for a
	s.wantsProposal(2, 3, "no-op")
	s.ask("Accept", 2, 3, 4)
	s.wants(2, a, "no-op")
}

// W5, lines 76 to 79: a late report of the same ballot from outside the quorum.
func TestW5LateReports(t *testing.T) {
	t.Run("leader", func(t *testing.T) {
		s, a, _ := waiting(t, 5, 2, 2, 2)
		s.ask("Recover", 2, 3, 5)
		s.ask("Validate", 2, 3, 5)
		s.start(1)
		s.wait(2, time.Second) // asks those that have not reported again
		s.silence()
		s.wait(2, time.Second)
		s.deliver("Recover", 2, 1)
		s.deliver("RecoverReply", 1, 2)
		s.wantsProposal(2, 3, "no-op")
		_ = a
	})
	t.Run("accepted", func(t *testing.T) {
		s, a, _ := waiting(t, 5, 2, 2, 2)
		s.ask("Recover", 2, 3, 5)
		s.ask("Validate", 2, 3, 5)
		s.step(epaxos.Envelope{From: 1, To: 4, Message: epaxos.Accept{
			ID: a, Value: epaxos.Value{Kind: epaxos.Full, Command: &epaxos.Command{Footprint: write("x")}},
			Deps: epaxos.Dependencies{0, 0, 0, 0, 1},
		}})
		s.ask("Recover", 2, 4)
		s.wantsProposal(2, 3, "w:x [5.1]")
	})
	t.Run("committed", func(t *testing.T) {
		s, a, _ := waiting(t, 5, 2, 2, 2)
		s.ask("Recover", 2, 3, 5)
		s.ask("Validate", 2, 3, 5)
		s.step(epaxos.Envelope{From: 4, To: 2, Message: epaxos.RecoverReply{
			ID: a, Ballot: epaxos.Ballot{Number: 1, Replica: 2}, Phase: epaxos.Committed,
			Value: epaxos.Value{Kind: epaxos.NoOp}, Deps: make(epaxos.Dependencies, 5),
		}})
		s.wants(2, a, "no-op")
	})
	t.Run("not the leader under the baseline rules", func(t *testing.T) {
		s, _, _ := waiting(t, 5, 2, 1, 2, 3)
		s.ask("Recover", 2, 3, 5)
		s.ask("Validate", 2, 3, 5)
		s.start(1)
		s.silence()
		s.wait(2, time.Second)
		s.deliver("Recover", 2, 1)
		s.deliver("RecoverReply", 1, 2)
		s.wantNone("Accept", 2, 3)
	})
}

// W6: the largest count stays, whatever comes later, and serves a recovery that begins later.
func TestW6FactsOutliveBallots(t *testing.T) {
	s, _, b := waiting(t, 5, 2, 2, 2)
	for _, count := range []int{2, 1} {
		s.step(epaxos.Envelope{From: 4, To: 2, Message: epaxos.Waiting{ID: b, Count: count}})
	}
	s.ask("Recover", 2, 3, 5)
	s.ask("Validate", 2, 3, 5)
	s.wantsProposal(2, 3, "no-op")
}
