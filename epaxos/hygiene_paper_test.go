package epaxos_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/deps"
	"github.com/264bc8cf/epaxos/epaxos"
)

// Rules L and G of docs/protocol.md.

// L1: an attempt repeats its requests to those that have not answered, and to nobody else.
func TestL1Repeat(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	s.propose(1, "x")
	s.ask("PreAccept", 1, 2)
	s.silence()
	s.wait(1, 2*time.Second)
	s.wantNone("PreAccept", 1, 2)
	last[epaxos.PreAccept](s, 1, 3)
}

// L2 and L3: what stays undecided is fetched, and recovered if nobody knows it.
func TestL2FetchFirstL3Recover(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	s.propose(1, "x")
	s.deliver("PreAccept", 1, 2)
	s.silence()
	s.kill(1)
	s.wait(2, 1500*time.Millisecond)
	last[epaxos.Fetch](s, 2, 1)
	s.wantNone("Recover", 2, 3)
	s.wait(2, 6*time.Second) // though the leader is not suspected
	last[epaxos.Recover](s, 2, 3)
}

// L3 and L7: a replica that never heard of an instance learns of it by gossip.
func TestL7Gossip(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	a := s.propose(1, "x")
	s.ask("PreAccept", 1, 2)
	s.silence()
	s.wait(2, 2*time.Second)
	s.deliver("Gossip", 2, 3)
	s.silence()
	s.wait(3, 2*time.Second)
	s.deliver("Fetch", 3, 1)
	s.deliver("Commit", 1, 3)
	s.wants(3, a, "w:x []")
}

// L3: a whole column that only gossip knows of is recovered once its leader is dead.
func TestL3UnknownColumn(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	ids := []epaxos.InstanceID{s.propose(1, "x"), s.propose(1, "x")}
	s.kill(1)
	s.silence()
	for _, r := range []epaxos.ReplicaID{2, 3} {
		s.suspects(r, 1)
		s.step(epaxos.Envelope{From: 5 - r, To: r, Message: epaxos.Gossip{
			Epoch: 1, Executed: make(epaxos.Dependencies, 3), Tops: epaxos.Dependencies{2, 0, 0},
		}})
	}
	for range 40 {
		s.wait(2, 100*time.Millisecond)
		s.wait(3, 100*time.Millisecond)
		s.sees(2, 3)
	}
	for _, id := range ids {
		s.wants(2, id, "no-op")
		s.wants(3, id, "no-op")
	}
}

// L4: the first in line recovers at once, the others tell it and wait longer.
func TestL4OneRecovererAtATime(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	s.propose(1, "x")
	s.deliver("PreAccept", 1, 2, 3)
	s.silence()
	s.kill(1)
	s.suspects(3, 1)
	s.wantNone("Recover", 3, 2)
	last[epaxos.TryRecover](s, 3, 2)
	s.suspects(2, 1)
	last[epaxos.Recover](s, 2, 3)
	s.silence()
	s.kill(2)
	s.wait(3, 4*time.Second)
	last[epaxos.Recover](s, 3, 4)
}

// L5: at most so many own instances are in flight, and one more follows each that was executed.
func TestL5Windows(t *testing.T) {
	limits := epaxos.DefaultLimits()
	limits.InFlight, limits.Queue, limits.Pack = 2, 1, 1
	r := alone(t, limits)
	for i, key := range []string{"a", "b", "c"} {
		if err := r.Propose(0, epaxos.ProposalID(i+1), epaxos.Request{}, write(key)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Propose(0, 4, epaxos.Request{}, write("d")); !errors.Is(err, epaxos.ErrOverloaded) {
		t.Errorf("beyond the queue: %v", err)
	}
	r.Ready()
	if s := r.Stats(); s.InFlight != 2 || s.Queued != 1 || s.Led != 2 {
		t.Errorf("in flight %d, queued %d, led %d", s.InFlight, s.Queued, s.Led)
	}
	r.Executed(0, []epaxos.InstanceID{{Epoch: 1, Replica: 1, Slot: 1}})
	r.Ready()
	if s := r.Stats(); s.InFlight != 2 || s.Queued != 0 || s.Led != 3 {
		t.Errorf("after an execution: in flight %d, queued %d, led %d", s.InFlight, s.Queued, s.Led)
	}
}

// L6: what waited for one key goes together, and nothing else with it.
func TestL6GatherByKey(t *testing.T) {
	limits := epaxos.DefaultLimits()
	limits.InFlightPerKey = 1
	r := alone(t, limits)
	propose := func(id epaxos.ProposalID, f epaxos.Footprint) {
		if err := r.Propose(0, id, epaxos.Request{Number: uint64(id)}, f); err != nil {
			t.Fatal(err)
		}
	}
	propose(1, write("x"))
	propose(2, write("x"))
	propose(3, write("x"))
	propose(4, write("y"))
	propose(5, append(write("x"), write("z")...))
	propose(6, write("x"))
	r.Ready()
	if !r.Cancel(3) || r.Cancel(3) || r.Cancel(1) {
		t.Error("only what waits can be cancelled, once")
	}
	r.Executed(0, []epaxos.InstanceID{{Epoch: 1, Replica: 1, Slot: 1}})
	ready := r.Ready()
	next := ready.Records[0].Command
	if len(ready.Records) != 1 || len(next.Requests) != 1 || next.Requests[0].Number != 2 {
		t.Fatalf("next on x: %+v", ready.Records)
	}
	r.Executed(0, []epaxos.InstanceID{ready.Records[0].ID})
	ready = r.Ready()
	if len(ready.Records) != 1 || len(ready.Records[0].Command.Footprint) != 2 {
		t.Fatalf("then the one on two keys, alone: %+v", ready.Records)
	}
	r.Executed(0, []epaxos.InstanceID{ready.Records[0].ID, {Epoch: 1, Replica: 1, Slot: 2}})
	ready = r.Ready()
	if len(ready.Records) != 1 || ready.Records[0].Command.Requests[0].Number != 6 {
		t.Fatalf("then the last: %+v", ready.Records)
	}
	r.Executed(0, []epaxos.InstanceID{ready.Records[0].ID})
	if s := r.Stats(); s.InFlight != 0 || s.InFlightBytes != 0 || s.Queued != 0 {
		t.Errorf("at the end: in flight %d of %d bytes, queued %d", s.InFlight, s.InFlightBytes, s.Queued)
	}
}

// L9: requests of one turn on cold keys share an instance, and so do those on one hot key, on which
// something is under way; these two, and a command on several keys, stay apart.
func TestL9PackColdKeys(t *testing.T) {
	limits := epaxos.DefaultLimits()
	limits.Pack = 2
	r := alone(t, limits)
	other := &epaxos.Command{Footprint: write("hot")}
	r.Step(0, epaxos.Envelope{From: 2, To: 1, Message: epaxos.PreAccept{
		ID: epaxos.InstanceID{Epoch: 1, Replica: 2, Slot: 1}, Command: other, Initial: epaxos.Dependencies{0, 0, 0},
	}})
	r.Ready()
	keys := []epaxos.Footprint{write("a"), write("hot"), append(write("p"), write("q")...), write("b"), write("c"), write("hot")}
	for i, f := range keys {
		if err := r.Propose(0, epaxos.ProposalID(i+1), epaxos.Request{Number: uint64(i + 1)}, f); err != nil {
			t.Fatal(err)
		}
	}
	var led [][]uint64
	var all []epaxos.InstanceID
	for _, record := range r.Ready().Records {
		var numbers []uint64
		for _, request := range record.Command.Requests {
			numbers = append(numbers, request.Number)
		}
		led = append(led, numbers)
		all = append(all, record.ID)
	}
	if got, want := fmt.Sprint(led), "[[1 4] [2 6] [3] [5]]"; got != want {
		t.Errorf("instances hold the requests %s, want %s", got, want)
	}
	r.Executed(0, all)
	if s := r.Stats(); s.InFlight != 0 || s.InFlightBytes != 0 || s.Queued != 0 {
		t.Errorf("at the end: in flight %d of %d bytes, queued %d", s.InFlight, s.InFlightBytes, s.Queued)
	}
}

// alone is replica 1 of 3, whose messages go nowhere.
func alone(t *testing.T, limits epaxos.Limits) *epaxos.Replica {
	t.Helper()
	r, err := epaxos.New(epaxos.Config{
		ID: 1, Membership: shape{3, 1, 1}.membership(), Index: deps.New(3), Limits: limits,
		Rand: seeded(1), Timing: epaxos.DefaultTiming(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// G1: one voter counts once, in one stage of one attempt.
func TestG1RepeatedVotes(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	s.propose(3, "x")
	a := s.propose(1, "x")
	s.deliver("PreAccept", 1, 2)
	vote := s.take("PreAcceptReply", 2, 1)[0]
	for range 4 {
		s.step(vote)
	}
	s.wantsOpen(1, a)
	s.suspects(1, 4, 5)
	s.ask("PreAccept", 1, 3)
	s.deliver("Accept", 1, 2)
	accept := s.take("AcceptReply", 2, 1)[0]
	for range 4 {
		s.step(accept)
	}
	s.wantsOpen(1, a)
}

func TestG1RepliesToAnOlderAttempt(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	a := s.propose(1, "x")
	s.deliver("PreAccept", 1, 2)
	s.kill(1)
	s.recovers(2, a)
	s.ask("Recover", 2, 3, 4)
	s.deliver("Validate", 2, 3, 4)
	old := append(s.take("ValidateReply", 3, 2), s.take("ValidateReply", 4, 2)...)
	s.silence()
	s.recovers(2, a)
	s.ask("Recover", 2, 3, 4)
	for _, e := range old {
		s.step(e)
	}
	s.wantNone("Accept", 2, 3)
	s.ask("Validate", 2, 3, 4)
	s.wantsProposal(2, 3, "w:x []")

	s.deliver("Accept", 2, 3, 4)
	old = append(s.take("AcceptReply", 3, 2), s.take("AcceptReply", 4, 2)...)
	s.recovers(5, a)
	s.deliver("Recover", 5, 2)
	s.deliver("Refusal", 2, 5)
	s.recovers(5, a)
	s.deliver("Recover", 5, 2) // ends the attempt of r2
	s.silence()
	s.recovers(2, a)
	s.ask("Recover", 2, 3, 4) // line 55: the same value at a higher ballot
	for _, e := range old {
		s.step(e)
	}
	s.wantsOpen(2, a)
}

// A leader that has promised a higher ballot counts no vote at ballot 0 any more.
func TestG1LeaderThatPromised(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	a := s.propose(1, "x")
	s.deliver("PreAccept", 1, 2, 3)
	s.recovers(4, a)
	s.deliver("Recover", 4, 1)
	s.deliver("PreAcceptReply", 2, 1)
	s.deliver("PreAcceptReply", 3, 1)
	s.wantsOpen(1, a)
	s.wantNone("Accept", 1, 2)
}

// G2 and G3: what a peer must not say is dropped and counted.
func TestG2EntitlementG3Malformed(t *testing.T) {
	command := &epaxos.Command{Footprint: write("x")}
	ballot := epaxos.Ballot{Number: 5, Replica: 3}
	a := epaxos.InstanceID{Epoch: 1, Replica: 1, Slot: 1}
	zero := make(epaxos.Dependencies, 3)
	full := epaxos.Value{Kind: epaxos.Full, Command: command}
	known := epaxos.Value{Kind: epaxos.Known}
	at := func(epoch epaxos.Epoch, replica epaxos.ReplicaID, slot epaxos.Slot) epaxos.InstanceID {
		return epaxos.InstanceID{Epoch: epoch, Replica: replica, Slot: slot}
	}
	for name, m := range map[string]epaxos.Message{
		"PreAccept by another":          epaxos.PreAccept{ID: a, Command: command, Initial: zero},
		"Accept at ballot 0 by another": epaxos.Accept{ID: a, Value: full, Deps: zero},
		"Accept at a foreign ballot":    epaxos.Accept{ID: a, Ballot: ballot, Value: full, Deps: zero},
		"Accept without bytes":          epaxos.Accept{ID: a, Ballot: own(5), Value: epaxos.Value{Kind: epaxos.Full}, Deps: zero},
		"Accept of what is known":       epaxos.Accept{ID: a, Ballot: own(5), Value: known, Deps: zero},
		"Recover at a foreign ballot":   epaxos.Recover{ID: a, Ballot: ballot},
		"Recover at ballot 0":           epaxos.Recover{ID: a},
		"Recover at the last ballot":    epaxos.Recover{ID: a, Ballot: own(1<<64 - 1)},
		"Validate at a foreign ballot":  epaxos.Validate{ID: a, Ballot: ballot, Command: command, Initial: zero},
		"Validate without bytes":        epaxos.Validate{ID: a, Ballot: own(5), Initial: zero},
		"vector of the wrong length":    epaxos.Commit{ID: a, Value: full, Deps: make(epaxos.Dependencies, 4)},
		"no vector":                     epaxos.Commit{ID: a, Value: full},
		"another epoch":                 epaxos.Recover{ID: at(2, 1, 1), Ballot: own(5)},
		"slot 0":                        epaxos.Recover{ID: at(1, 1, 0), Ballot: own(5)},
		"the last slot":                 epaxos.Waiting{ID: at(1, 1, 1<<64-1), Count: 1},
		"a leader that does not vote":   epaxos.Recover{ID: at(1, 9, 1), Ballot: own(5)},
		"more votes than replicas":      epaxos.Waiting{ID: a, Count: 4},
		"gossip of the wrong length":    epaxos.Gossip{Epoch: 1, Executed: zero, Tops: make(epaxos.Dependencies, 2)},
		"nothing":                       nil,
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, 3, 1, 1)
			s.step(epaxos.Envelope{From: 2, To: 3, Message: m})
			s.wantsMalformed(3, 1)
			if len(s.at(3).disk.state) > 0 || len(s.wire) > 0 {
				s.fail("something came of it")
			}
		})
	}
}

func own(number uint64) epaxos.Ballot { return epaxos.Ballot{Number: number, Replica: 2} }

// G3: an answer that lacks the initial dependencies is no vote.
func TestG3VoteWithoutInitialDependencies(t *testing.T) {
	s := newScript(t, 3, 1, 1)
	s.propose(1, "x")
	b := s.propose(1, "x")
	s.step(epaxos.Envelope{From: 2, To: 1, Message: epaxos.PreAcceptReply{ID: b, Deps: make(epaxos.Dependencies, 3)}})
	s.wantsMalformed(1, 1)
	s.wantsOpen(1, b)
}

// G3: from the ballot of a decision on, only its value is accepted, so a decision at or below the ballot of
// another value is none; above it, it is one.
func TestG3DecisionAgainstTheVote(t *testing.T) {
	command := &epaxos.Command{Footprint: write("x")}
	a := epaxos.InstanceID{Epoch: 1, Replica: 1, Slot: 1}
	full, noOp := epaxos.Value{Kind: epaxos.Full, Command: command}, epaxos.Value{Kind: epaxos.NoOp}
	zero, more := make(epaxos.Dependencies, 3), epaxos.Dependencies{0, 0, 1}
	for name, commit := range map[string]epaxos.Commit{
		"another vector at the ballot": {ID: a, Ballot: own(5), Value: full, Deps: more},
		"a no-op at the ballot":        {ID: a, Ballot: own(5), Value: noOp, Deps: zero},
		"another vector below it":      {ID: a, Ballot: own(4), Value: full, Deps: more},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, 3, 1, 1)
			s.step(epaxos.Envelope{From: 2, To: 3, Message: epaxos.Accept{ID: a, Ballot: own(5), Value: full, Deps: zero}})
			s.step(epaxos.Envelope{From: 1, To: 3, Message: commit})
			s.wantsMalformed(3, 1)
			s.wantsOpen(3, a)
			commit.Ballot = own(6)
			s.step(epaxos.Envelope{From: 1, To: 3, Message: commit})
			s.wantsMalformed(3, 1)
			if _, committed := s.at(3).committed[a]; !committed {
				s.fail("the decision at a higher ballot was not taken")
			}
		})
	}
}

// G4: everything may come twice and in any order; here newest first and twice.
func TestG4AnyOrder(t *testing.T) {
	s := newScript(t, 5, 2, 2)
	a, b := s.propose(1, "x"), s.propose(5, "x")
	for range 400 {
		if len(s.wire) == 0 {
			break
		}
		newest := s.wire[len(s.wire)-1]
		s.wire = s.wire[:len(s.wire)-1]
		s.step(newest)
		s.step(newest)
	}
	for at := range s.members.Voters {
		r := epaxos.ReplicaID(at + 1)
		s.wants(r, a, s.format(s.decided[a]))
		s.wants(r, b, s.format(s.decided[b]))
	}
	if s.decided[a].Deps.Covers(4, 1) == s.decided[b].Deps.Covers(0, 1) {
		s.fail("decided %s and %s", s.format(s.decided[a]), s.format(s.decided[b]))
	}
}
