package epaxos_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/deps"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/hostile"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// target is one replica that anything may happen to. It checks after each input what must hold
// whatever peers send: no panic, promises and phases never go back, decisions and initial dependencies
// never change, and what leaves is on disk.
type target struct {
	t       *testing.T
	members epaxos.Membership
	replica *epaxos.Replica
	disk    *disk
	now     time.Duration
	next    epaxos.ProposalID
	decided map[epaxos.InstanceID]epaxos.Decision
}

func newTarget(t *testing.T, m epaxos.Membership) *target {
	g := &target{t: t, members: m, disk: newDisk(), decided: map[epaxos.InstanceID]epaxos.Decision{}}
	g.boot()
	return g
}

func (g *target) boot() {
	limits := epaxos.DefaultLimits()
	limits.InFlightPerKey, limits.InFlight = 2, 8
	r, err := epaxos.New(epaxos.Config{
		ID: 1, Membership: g.members, Index: deps.New(g.members.N()), Limits: limits,
		Rand: rand.New(rand.NewPCG(1, 1)), Timing: epaxos.DefaultTiming(), //nolint:gosec // reproducible
	})
	if err != nil {
		g.t.Fatal(err)
	}
	for _, record := range g.disk.synced {
		if err := r.Restore(record); err != nil {
			g.t.Fatalf("restore %+v: %v", record, err)
		}
	}
	r.Restored(g.now)
	g.replica = r
	g.settle()
}

func (g *target) settle() {
	g.t.Helper()
	if _, forgot := g.replica.Forgotten(); forgot {
		return
	}
	ready := g.replica.Ready()
	g.must(g.disk.save(ready.Records, ready.MustSync))
	for _, e := range ready.Messages {
		if e.From != 1 || e.To == 1 {
			g.t.Fatalf("sends %+v", e)
		}
		g.must(g.disk.forbids(e.Message))
	}
	var executed []epaxos.InstanceID
	for _, d := range ready.Committed {
		before, seen := g.decided[d.ID]
		if seen && (!before.Deps.Equal(d.Deps) || (before.Command == nil) != (d.Command == nil)) {
			g.t.Fatalf("%v was decided as %+v and is now %+v", d.ID, before, d)
		}
		g.decided[d.ID] = d
		if d.ID.Slot%2 == 0 {
			executed = append(executed, d.ID)
		}
	}
	g.replica.Executed(g.now, executed)
}

func (g *target) must(broken string) {
	g.t.Helper()
	if broken != "" {
		g.t.Fatal(broken)
	}
}

// crash loses what is not synced. Decisions that were not durable may be learnt again otherwise only
// from peers that lie, so they are forgotten here too.
func (g *target) crash() {
	g.must(g.disk.crash(0))
	for id := range g.decided {
		if g.disk.state[id].Phase != epaxos.Committed {
			delete(g.decided, id)
		}
	}
	g.boot()
}

// deliver sends messages through the decoder, as the transport does. What it refuses is no input.
func (g *target) deliver(from epaxos.ReplicaID, body []byte) {
	_, messages, err := wire.DecodeFrame(body)
	if err != nil {
		return
	}
	for _, m := range messages {
		g.replica.Step(g.now, epaxos.Envelope{From: from, To: 1, Message: m})
		g.settle()
	}
}

// input does one thing to the replica.
func (g *target) input(h *hostile.Hose) {
	switch h.Below(10) {
	case 0:
		g.next++
		_ = g.replica.Propose(g.now, g.next, epaxos.Request{Number: uint64(g.next)}, h.Command().Footprint)
	case 1:
		g.now += time.Duration(h.Byte()) * 40 * time.Millisecond
		g.replica.Tick(g.now)
	case 2:
		g.replica.Suspect(g.now, epaxos.ReplicaID(1+h.Below(g.members.N())), h.Below(3) > 0)
	case 3:
		g.replica.Blocked(g.now, h.IDs())
	case 4:
		if h.Below(4) == 0 {
			g.crash()
		} else {
			g.replica.Cancel(epaxos.ProposalID(h.Byte()))
		}
	case 5: // bytes as they come
		g.deliver(epaxos.ReplicaID(2+h.Below(g.members.N()-1)), h.Take(h.Below(64)))
	default:
		m := h.Message()
		g.replica.Step(g.now, epaxos.Envelope{From: epaxos.ReplicaID(1 + h.Below(g.members.N()+1)), To: 1, Message: m})
	}
	g.settle()
}

// FuzzStep: whatever comes, no panic and no broken invariant.
func FuzzStep(f *testing.F) {
	for seed := range uint64(40) {
		draw := rand.New(rand.NewPCG(seed, 3)) //nolint:gosec // reproducible
		script := make([]byte, 600)
		for i := range script {
			script[i] = byte(draw.UintN(256))
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		for _, s := range []shape{{3, 1, 1}, {4, 1, 1}} {
			g := newTarget(t, s.membership())
			for h := (&hostile.Hose{Bytes: script, Members: s.membership()}); !h.Empty(); {
				g.input(h)
				if _, forgot := g.replica.Forgotten(); forgot {
					break // a replica that peers remember better than itself stops (rule S8)
				}
			}
		}
	})
}

// What a peer makes a replica keep is in proportion to what it has sent.
func TestHostileMemory(t *testing.T) {
	m := shape{3, 1, 1}.membership()
	vector := make(epaxos.Dependencies, 3)
	id := func(i int) epaxos.InstanceID {
		return epaxos.InstanceID{Epoch: 1, Replica: 2, Slot: epaxos.Slot(1 + i*7)}
	}
	noOp := epaxos.Value{Kind: epaxos.NoOp}
	ballot := epaxos.Ballot{Number: 1, Replica: 2}
	kinds := map[string]func(i int) epaxos.Message{
		"PreAccept": func(i int) epaxos.Message {
			return epaxos.PreAccept{ID: id(i), Command: &epaxos.Command{Footprint: write(fmt.Sprint(i))}, Initial: vector}
		},
		"Accept":  func(i int) epaxos.Message { return epaxos.Accept{ID: id(i), Ballot: ballot, Value: noOp, Deps: vector} },
		"Commit":  func(i int) epaxos.Message { return epaxos.Commit{ID: id(i), Ballot: ballot, Value: noOp, Deps: vector} },
		"Recover": func(i int) epaxos.Message { return epaxos.Recover{ID: id(i), Ballot: ballot} },
		"Waiting": func(i int) epaxos.Message { return epaxos.Waiting{ID: id(i), Count: 1} },
		"Refusal": func(i int) epaxos.Message { return epaxos.Refusal{ID: id(i), Promised: ballot} },
		"TryRecover": func(i int) epaxos.Message {
			ids := make([]epaxos.InstanceID, 100)
			for j := range ids {
				ids[j] = id(i*100 + j)
			}
			return epaxos.TryRecover{IDs: ids}
		},
		"Gossip": func(i int) epaxos.Message {
			return epaxos.Gossip{Epoch: 1, Executed: vector, Tops: epaxos.Dependencies{0, 0, epaxos.Slot(i * 1000)}}
		},
	}
	for name, message := range kinds {
		t.Run(name, func(t *testing.T) {
			const count = 2000
			g := newTarget(t, m)
			before, sent := hostile.Retained(), 0
			for i := range count {
				body := wire.AppendMessage(wire.AppendFrameHeader(nil, wire.FrameHeader{}), message(i))
				sent += len(body)
				_, messages, err := wire.DecodeFrame(body)
				if err != nil {
					t.Fatal(err)
				}
				g.replica.Step(g.now, epaxos.Envelope{From: 2, To: 1, Message: messages[0]})
				g.replica.Ready()
			}
			stays := hostile.Retained() - before
			runtime.KeepAlive(g)
			t.Logf("%d bytes for %d sent: %.0f for each", stays, sent, float64(stays)/float64(sent))
			if limit := 64*sent + 64<<10; stays > limit {
				t.Errorf("%d bytes stay of %d sent, at most %d may", stays, sent, limit)
			}
		})
	}
}
