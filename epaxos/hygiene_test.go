package epaxos_test

import (
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
)

// What needs values that no correct replica sends. All else is in testdata, as scripts.

// playing is a cluster for a test in Go; a violated invariant fails it.
func playing(t *testing.T, s shape, play func(*player)) {
	t.Helper()
	defer func() {
		if why := recover(); why != nil {
			text, expected := why.(broken)
			if !expected {
				panic(why)
			}
			t.Fatal(string(text))
		}
	}()
	play(newPlayer(s.membership(), epaxos.DefaultLimits()))
}

func (p *player) wantMalformed(t *testing.T, at epaxos.ReplicaID, count uint64) {
	t.Helper()
	if got := p.at(at).Stats().Malformed; got != count {
		t.Fatalf("r%d called %d messages malformed, not %d", at, got, count)
	}
}

// Rules G2 and G3: what a peer must not say is dropped and counted.
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
		"gossip of the wrong length": epaxos.Gossip{
			Epoch: 1, Executed: zero, Tops: make(epaxos.Dependencies, 2), Stable: zero,
		},
		"stable and not executed": epaxos.Gossip{
			Epoch: 1, Executed: zero, Tops: epaxos.Dependencies{1, 0, 0}, Stable: epaxos.Dependencies{1, 0, 0},
		},
		"executed and never heard of": epaxos.Gossip{
			Epoch: 1, Executed: epaxos.Dependencies{1, 0, 0}, Tops: zero, Stable: zero,
		},
		"forgotten in slot 0": epaxos.Truncated{ID: at(1, 1, 0)},
		"nothing":             nil,
	} {
		t.Run(name, func(t *testing.T) {
			playing(t, shape{3, 1, 1}, func(p *player) {
				p.step(epaxos.Envelope{From: 2, To: 3, Message: m})
				p.wantMalformed(t, 3, 1)
				if len(p.at(3).disk.state) > 0 || len(p.wire) > 0 {
					t.Fatal("something came of it")
				}
				if tops := p.at(3).Tops(); !tops.Equal(zero) {
					t.Fatalf("it made %v known", tops)
				}
			})
		})
	}
}

func own(number uint64) epaxos.Ballot { return epaxos.Ballot{Number: number, Replica: 2} }

// Rule G3: an answer that lacks the initial dependencies is no vote.
func TestG3VoteWithoutInitialDependencies(t *testing.T) {
	playing(t, shape{3, 1, 1}, func(p *player) {
		p.propose(1, write("x"))
		p.propose(1, write("x"))
		second := epaxos.InstanceID{Epoch: 1, Replica: 1, Slot: 2}
		p.step(epaxos.Envelope{From: 2, To: 1, Message: epaxos.PreAcceptReply{ID: second, Deps: make(epaxos.Dependencies, 3)}})
		p.wantMalformed(t, 1, 1)
		if len(p.decided) > 0 {
			t.Fatalf("decided %v", p.decided)
		}
	})
}

// Rule G4: everything may come twice and in any order; here newest first and twice.
func TestG4AnyOrder(t *testing.T) {
	playing(t, shape{5, 2, 2}, func(p *player) {
		p.propose(1, write("x"))
		p.propose(5, write("x"))
		for range 400 {
			if len(p.wire) == 0 {
				break
			}
			newest := p.wire[len(p.wire)-1]
			p.wire = p.wire[:len(p.wire)-1]
			p.step(newest)
			p.step(newest)
		}
		for _, id := range p.members.Voters {
			if got := len(p.at(id).order); got != 2 {
				t.Errorf("r%d has executed %d of 2", id, got)
			}
		}
		p.heal()
	})
}

// Rule W5, line 76: a late report of a commit ends a wait. Our replicas answer Recover with Commit then, but
// the paper's report it.
func TestW5LateReportOfACommit(t *testing.T) {
	playing(t, shape{5, 2, 2}, func(p *player) {
		s := &script{player: p}
		for _, line := range []string{
			"propose r5 w:x", "deliver PreAccept r5->r3", "propose r1 w:x", "deliver PreAccept r1->r2",
			"ask PreAccept r1->r4", "recover r2 1.1", "ask Recover r2->r3,r5", "ask Validate r2->r3,r5",
			"deliver PreAcceptReply r2->r1", "deliver Commit r1->r4",
		} {
			if err := s.carryOut(line); err != nil {
				t.Fatal(err)
			}
		}
		a := epaxos.InstanceID{Epoch: 1, Replica: 1, Slot: 1}
		p.step(epaxos.Envelope{From: 4, To: 2, Message: epaxos.RecoverReply{
			ID: a, Ballot: epaxos.Ballot{Number: 1, Replica: 2}, Phase: epaxos.Committed,
			Value: epaxos.Value{Kind: epaxos.Full, Command: p.decided[a].Command},
			Deps:  make(epaxos.Dependencies, 5), Initial: make(epaxos.Dependencies, 5),
		}})
		if got := p.at(2).Decided(); got[0] != 1 {
			t.Fatalf("r2 decided %v", got)
		}
	})
}

// Rule S8: a replica that hears of a slot of its own which it does not know has lost it. Proposing in the same
// turn, perhaps in just that slot, does not hide it: the turn must not be sent.
func TestS8ForgottenSlot(t *testing.T) {
	p := newPlayer(shape{3, 1, 1}.membership(), epaxos.DefaultLimits())
	r := p.at(1)
	if id, forgot := r.Forgotten(); forgot {
		t.Fatalf("a fresh replica has forgotten %v", id)
	}
	r.Step(p.now, epaxos.Envelope{From: 2, To: 1, Message: epaxos.Gossip{
		Epoch: 1, Executed: make(epaxos.Dependencies, 3), Tops: epaxos.Dependencies{1, 0, 0},
		Stable: make(epaxos.Dependencies, 3),
	}})
	if err := r.Propose(p.now, 1, epaxos.Request{}, write("x")); err != nil {
		t.Fatal(err)
	}
	if id, forgot := r.Forgotten(); !forgot || id.Slot != 1 {
		t.Fatalf("slot %d is used twice", id.Slot)
	}
}
