package epaxos_test

import (
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// One test for each rule of docs/protocol.md that the core implements, named by it. Rules of recovery
// are in recovery_paper_test.go, schedules that broke other protocols in schedules_test.go.

// A slot is used once, and the next one follows it, across crashes too.
func TestP1OneProposal(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	s.propose(1, "x")
	s.silence()
	s.kill(1)
	s.start(1)
	if id := s.propose(1, "x"); id.Slot != 2 {
		s.fail("the slot after a crash is %d", id.Slot)
	}
}

// Two commands of one replica cannot miss each other, whichever key they share.
func TestP2LookAndEnter(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	a := s.proposeFootprint(1, epaxos.Footprint{{Mode: epaxos.Write, Key: "x"}, {Mode: epaxos.Write, Key: "y"}})
	b := s.proposeFootprint(1, epaxos.Footprint{{Mode: epaxos.Write, Key: "z"}, {Mode: epaxos.Write, Key: "y"}})
	s.ask("PreAccept", 1, 2)
	s.wants(1, a, "w:x,w:y []")
	s.wants(1, b, "w:z,w:y [1.1]")
}

// A vote keeps what the leader proposed and answers it raised by what the voter knows.
func TestP3Vote(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	s.propose(2, "x")
	a := s.propose(1, "x")
	s.deliver("PreAccept", 1, 2)
	if deps := last[epaxos.PreAcceptReply](s, 2, 1).Deps; s.members.FormatDeps(deps) != "[2.1]" {
		s.fail("the vote answers %v", deps)
	}
	if r := s.at(2).disk.state[a]; s.members.FormatDeps(r.Initial) != "[]" || s.members.FormatDeps(r.Deps) != "[2.1]" {
		s.fail("the vote keeps %v", r)
	}
}

func TestP4FastPath(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	a := s.propose(1, "x")
	s.ask("PreAccept", 1, 2)
	s.wantsOpen(1, a)
	s.ask("PreAccept", 1, 3)
	s.wants(1, a, "w:x []")
	if !s.at(1).led[0].Fast {
		s.fail("not by the fast path")
	}
}

// Answers that are equal to each other but not to the initial dependencies do not make a fast path.
func TestP4EqualAnswersAreNotEnough(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	s.propose(5, "x")
	s.deliver("PreAccept", 5, 2, 3, 4)
	a := s.propose(1, "x")
	s.ask("PreAccept", 1, 2, 3)
	s.wantsOpen(1, a)
	s.ask("PreAccept", 1, 4)
	s.wantsProposal(1, 2, "w:x [5.1]")
}

// A slow quorum waits a little for a fast one, and not at all once that has become impossible.
func TestP4Patience(t *testing.T) {
	s := newScript(t, 5, 2, 1)
	a := s.propose(1, "x")
	s.now += 100 * time.Millisecond
	s.ask("PreAccept", 1, 2, 3)
	s.wantNone("Accept", 1, 2)
	s.wait(1, 200*time.Millisecond)
	s.wantsProposal(1, 2, "w:x []")
	s.ask("Accept", 1, 2, 3)
	s.wants(1, a, "w:x []")
}

func TestP4NoPatienceForTheDead(t *testing.T) {
	s := newScript(t, 5, 2, 1)
	s.suspects(1, 4, 5)
	s.propose(1, "x")
	s.ask("PreAccept", 1, 2, 3)
	s.wantsProposal(1, 2, "w:x []")
}

func TestP5Union(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	s.propose(2, "x")
	s.propose(3, "x")
	a := s.propose(1, "x")
	s.ask("PreAccept", 1, 2, 3)
	s.wantsOpen(1, a)
	s.suspects(1, 4, 5)
	s.wait(1, 100*time.Millisecond)
	s.wantsProposal(1, 2, "w:x [2.1 3.1]")
	s.ask("Accept", 1, 2, 3)
	s.wants(1, a, "w:x [2.1 3.1]")
}

// A repeated PreAccept gets the first answer again, whatever the voter has learnt since.
func TestP6VoteIsFinal(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	a := s.propose(1, "x")
	again := s.take("PreAccept", 1, 2)[0]
	s.step(again)
	s.propose(2, "x")
	s.silence()
	s.step(again)
	if deps := last[epaxos.PreAcceptReply](s, 2, 1).Deps; s.members.FormatDeps(deps) != "[]" {
		s.fail("the second answer is %v", deps)
	}
	s.deliver("PreAcceptReply", 2, 1)
	s.wants(1, a, "w:x []")
}

func TestP6NoVoteAfterAPromise(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	a := s.propose(1, "x")
	s.deliver("PreAccept", 1, 2)
	s.recovers(2, a)
	s.deliver("Recover", 2, 3)
	s.deliver("PreAccept", 1, 3)
	s.wantNone("PreAcceptReply", 3, 1)
	if r := last[epaxos.Refusal](s, 3, 1); r.Promised.Replica != 2 {
		s.fail("refused with %v", r.Promised)
	}
}

// An Accept counts from the promise on, not only above it, and below it is refused.
func TestA1Vote(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	a := s.propose(1, "x")
	s.propose(2, "x")
	s.ask("PreAccept", 1, 2)
	s.suspects(1, 3)
	s.wait(1, 100*time.Millisecond)
	late := s.take("Accept", 1, 3)[0]
	b := s.recovers(3, a)
	s.step(late)
	if r := last[epaxos.Refusal](s, 3, 1); r.Promised != b {
		s.fail("refused with %v", r.Promised)
	}
	s.ask("Recover", 3, 2)
	s.ask("Accept", 3, 2)
	s.wants(3, a, "no-op")
}

func TestA2Decision(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	s.propose(2, "x")
	a := s.propose(1, "x")
	s.suspects(1, 4, 5)
	s.ask("PreAccept", 1, 2, 3)
	s.ask("Accept", 1, 2)
	s.wantsOpen(1, a)
	s.ask("Accept", 1, 3)
	s.wants(1, a, "w:x [2.1]")
}

// A recoverer that crashes goes on with a ballot above the one it used.
func TestA3BallotsAreNotUsedAgain(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	a := s.propose(1, "x")
	s.deliver("PreAccept", 1, 2)
	first := s.recovers(2, a)
	s.kill(2)
	s.start(2)
	if second := s.recovers(2, a); !first.Less(second) {
		s.fail("ballot %v after %v", second, first)
	}
}

// A voter that never saw the PreAccept can still spread the command.
func TestA4BytesTravelWithVotes(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	s.propose(2, "x")
	a := s.propose(1, "x")
	s.ask("PreAccept", 1, 2)
	s.suspects(1, 3)
	s.wait(1, 100*time.Millisecond)
	s.deliver("Accept", 1, 3)
	s.silence()
	s.kill(1)
	s.recovers(3, a)
	s.ask("Recover", 3, 2)
	s.ask("Accept", 3, 2)
	s.wants(3, a, "w:x [2.1]")
}

// An accepted union is not taken for initial dependencies.
func TestA5AcceptingIsNotPreAccepting(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	s.propose(2, "x")
	a := s.propose(1, "x")
	s.ask("PreAccept", 1, 2)
	s.suspects(1, 3)
	s.wait(1, 100*time.Millisecond)
	s.deliver("Accept", 1, 3)
	s.deliver("PreAccept", 1, 3)
	s.wantNone("PreAcceptReply", 3, 1)
	if r := s.at(3).disk.state[a]; r.Phase != epaxos.Accepted || r.Initial != nil {
		s.fail("the late voter keeps %+v", r)
	}
}

// A Commit is taken at any promise.
func TestC1Final(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	a := s.propose(1, "x")
	s.ask("PreAccept", 1, 2)
	b := s.recovers(3, a)
	s.deliver("PreAccept", 1, 3)
	s.deliver("Commit", 1, 3)
	s.sees(3, 1)
	s.wants(3, a, "w:x []")
	s.wait(3, time.Second)
	if r := s.at(3).disk.state[a]; r.Promised != b {
		s.fail("the promise became %v", r.Promised)
	}
}

func TestC2WhoKnowsTells(t *testing.T) {
	ask := map[string]func(a epaxos.InstanceID) epaxos.Message{
		"Recover": func(a epaxos.InstanceID) epaxos.Message {
			return epaxos.Recover{ID: a, Ballot: epaxos.Ballot{Number: 9, Replica: 3}}
		},
		"Accept": func(a epaxos.InstanceID) epaxos.Message {
			return epaxos.Accept{
				ID: a, Ballot: epaxos.Ballot{Number: 9, Replica: 3},
				Value: epaxos.Value{Kind: epaxos.NoOp}, Deps: make(epaxos.Dependencies, 3),
			}
		},
		"Validate": func(a epaxos.InstanceID) epaxos.Message {
			return epaxos.Validate{
				ID: a, Ballot: epaxos.Ballot{Number: 9, Replica: 3},
				Command: &epaxos.Command{Footprint: write("x")}, Initial: make(epaxos.Dependencies, 3),
			}
		},
		"TryRecover": func(a epaxos.InstanceID) epaxos.Message {
			return epaxos.TryRecover{IDs: []epaxos.InstanceID{a}}
		},
		"Fetch": func(a epaxos.InstanceID) epaxos.Message { return epaxos.Fetch{IDs: []epaxos.InstanceID{a}} },
	}
	for name, message := range ask {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, 3, 1, 1)
			a := s.propose(1, "x")
			s.ask("PreAccept", 1, 2)
			s.silence()
			s.step(epaxos.Envelope{From: 3, To: 1, Message: message(a)})
			s.deliver("Commit", 1, 3)
			s.wants(3, a, "w:x []")
		})
	}
}

// A Commit without the command is not taken by who lacks it; it fetches.
func TestC3Known(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	a := s.propose(1, "x")
	s.ask("PreAccept", 1, 2)
	s.drop("PreAccept", 1, 3)
	s.deliver("Commit", 1, 3)
	s.wantsOpen(3, a)
	s.deliver("Fetch", 3, 1)
	s.deliver("Commit", 1, 3)
	s.wants(3, a, "w:x []")
}

func TestC4Once(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	s.propose(1, "x")
	s.deliver("PreAccept", 1, 2)
	s.deliver("PreAcceptReply", 2, 1)
	commit := s.take("Commit", 1, 2)[0]
	s.step(commit)
	s.at(2).Step(s.now, commit)
	if s.at(2).HasReady() {
		s.fail("a second Commit causes %+v", s.at(2).Ready())
	}
}

// The requests of an instance that became a no-op are proposed again by their leader.
func TestC5AgainAfterANoOp(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	a := s.propose(1, "x")
	s.recovers(3, a)
	s.ask("Recover", 3, 2)
	s.ask("Accept", 3, 2)
	s.wants(3, a, "no-op")
	s.deliver("Commit", 3, 1)
	s.deliver("PreAccept", 1, 2)
	s.sees(1, 2)
	again := epaxos.InstanceID{Epoch: 1, Replica: 1, Slot: 2}
	s.wants(1, again, "w:x [1.1]")
	if led := s.at(1).led; len(led) != 1 || led[0].ID != again || led[0].Proposals[0] != 1 {
		s.fail("led %+v", led)
	}
}

// A slot in a column names all interfering instances up to it, those that this replica has never
// heard of too.
func TestD1Prefixes(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	s.propose(1, "x")
	s.propose(1, "x")
	s.drop("PreAccept", 1, 2)
	third := s.propose(1, "x")
	s.deliver("PreAccept", 1, 2)
	b := s.propose(2, "x")
	s.ask("PreAccept", 2, 3)
	s.wants(2, b, "w:x [1.3]")
	if !s.decided[b].Deps.Covers(0, 1) || !s.decided[b].Deps.Covers(0, third.Slot) || s.decided[b].Deps.Covers(0, 4) {
		s.fail("membership is not by prefix")
	}
}

// PreAccepts of one column that overtake each other do not make an instance depend on a later one.
func TestD2NothingAboveInTheOwnColumn(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	a := s.propose(1, "x")
	first := s.take("PreAccept", 1, 2)[0]
	b := s.propose(1, "x")
	s.ask("PreAccept", 1, 2)
	s.step(first)
	s.deliver("PreAcceptReply", 2, 1)
	s.wants(1, a, "w:x []")
	s.wants(1, b, "w:x [1.1]")
}

// A command that was learnt by Accept or Commit alone is reported too.
func TestD3KnownIsReported(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	s.propose(2, "x")
	s.propose(1, "x")
	s.ask("PreAccept", 1, 2)
	s.suspects(1, 3)
	s.wait(1, 100*time.Millisecond)
	s.deliver("Accept", 1, 3)
	s.silence()
	b := s.propose(3, "x")
	if deps := last[epaxos.PreAccept](s, 3, 2).Initial; s.members.FormatDeps(deps) != "[1.1]" {
		s.fail("%v starts with %v", b, deps)
	}
}

// An instance stays a dependency when it becomes a no-op.
func TestD4NoOpsStay(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	s.propose(3, "x")
	s.deliver("PreAccept", 3, 2)
	a := s.propose(1, "x")
	s.deliver("PreAccept", 1, 2, 3)
	s.kill(1)
	s.silence()
	s.recovers(2, a)
	s.ask("Recover", 2, 3)
	s.ask("Accept", 2, 3)
	s.wants(2, a, "no-op")
	s.deliver("Commit", 2, 3)
	s.propose(3, "x")
	if deps := last[epaxos.PreAccept](s, 3, 2).Initial; s.members.FormatDeps(deps) != "[1.1 3.1]" {
		s.fail("the next command starts with %v", deps)
	}
}

func TestD5ModesCommute(t *testing.T) {
	for _, c := range []struct {
		first, second epaxos.Mode
		deps          string
	}{
		{epaxos.Read, epaxos.Read, "[]"},
		{epaxos.Add, epaxos.Add, "[]"},
		{epaxos.Read, epaxos.Add, "[1.1]"},
		{epaxos.Write, epaxos.Write, "[1.1]"},
		{epaxos.Read, epaxos.Everything, "[1.1]"},
		{epaxos.Everything, epaxos.Read, "[1.1]"},
	} {
		s := newScript(t, 3, 1, 1)
		s.proposeFootprint(1, epaxos.Footprint{{Mode: c.first, Key: "x"}})
		s.deliver("PreAccept", 1, 2)
		s.proposeFootprint(2, epaxos.Footprint{{Mode: c.second, Key: "x"}})
		if deps := s.members.FormatDeps(last[epaxos.PreAccept](s, 2, 3).Initial); deps != c.deps {
			t.Errorf("mode %d after mode %d depends on %s, not %s", c.second, c.first, deps, c.deps)
		}
	}
}

// S1 to S3 are checked for every message of every script and random schedule by disk.forbids. Here is
// what they are for: votes, promises and fast commits survive the crash of the next instant.
func TestS1VotesSurvive(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	s.propose(1, "x")
	s.deliver("PreAccept", 1, 2)
	s.kill(2)
	s.start(2)
	s.propose(2, "x")
	if deps := s.members.FormatDeps(last[epaxos.PreAccept](s, 2, 3).Initial); deps != "[1.1]" {
		s.fail("a voter that restarted starts with %s", deps)
	}
}

// The leader remembers what it answered, so recovery with it finds the commit, not line 56.
func TestS2FastCommitIsDurable(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	a := s.propose(1, "x")
	s.ask("PreAccept", 1, 2)
	s.wants(1, a, "w:x []")
	s.silence()
	s.kill(1)
	s.start(1)
	s.recovers(3, a)
	s.deliver("Recover", 3, 1)
	s.deliver("Commit", 1, 3)
	s.wants(3, a, "w:x []")
}

// After a restart the leader recovers what it led, at a ballot above 0.
func TestS4NoOldAttemptIsResumed(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	a := s.propose(1, "x")
	s.deliver("PreAccept", 1, 2)
	vote := s.take("PreAcceptReply", 2, 1)[0]
	s.silence()
	s.kill(1)
	s.start(1)
	s.step(vote)
	s.wantsOpen(1, a)
	s.wait(1, 2*time.Second)
	s.wantNone("PreAccept", 1, 2)
	if r := last[epaxos.Recover](s, 1, 2); r.Ballot.IsZero() {
		s.fail("recovered at %v", r.Ballot)
	}
}

// A commit led elsewhere may be forgotten, and is learnt again.
func TestS5CommitsOfOthersMayLag(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	a := s.propose(1, "x")
	s.ask("PreAccept", 1, 2)
	s.deliver("Commit", 1, 2)
	s.wants(2, a, "w:x []")
	s.silence()
	s.kill(2)
	s.start(2)
	s.wantsOpen(2, a)
	s.wait(2, 2*time.Second)
	s.sees(1, 2)
	s.wants(2, a, "w:x []")
}

// A replica that hears of a slot of its own which it does not know has lost it. Proposing in the same
// turn, perhaps in just that slot, does not hide it: the turn must not be sent.
func TestS8ForgottenSlot(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	if id, forgot := s.at(1).Forgotten(); forgot {
		s.fail("a fresh replica has forgotten %v", id)
	}
	s.at(1).Step(s.now, epaxos.Envelope{From: 2, To: 1, Message: epaxos.Gossip{
		Epoch: 1, Executed: make(epaxos.Dependencies, 3), Tops: epaxos.Dependencies{1, 0, 0},
		Stable: make(epaxos.Dependencies, 3),
	}})
	if err := s.at(1).Propose(s.now, 1, epaxos.Request{}, write("x")); err != nil {
		t.Fatal(err)
	}
	if id, forgot := s.at(1).Forgotten(); !forgot || id.Slot != 1 {
		s.fail("slot %d is used twice", id.Slot)
	}
}
