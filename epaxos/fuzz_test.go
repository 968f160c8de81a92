package epaxos_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/deps"
	"github.com/264bc8cf/epaxos/epaxos"
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

// hose makes inputs of bytes; where they end everything is zero.
type hose struct{ bytes []byte }

func (h *hose) byte() byte {
	if len(h.bytes) == 0 {
		return 0
	}
	b := h.bytes[0]
	h.bytes = h.bytes[1:]
	return b
}

func (h *hose) below(n int) int { return int(h.byte()) % n }

func (h *hose) take(n int) []byte {
	n = min(n, len(h.bytes))
	b := h.bytes[:n]
	h.bytes = h.bytes[n:]
	return b
}

// slot is small most of the time, so that messages meet, and now and then at the end of the range.
func (h *hose) slot() uint64 {
	switch b := h.byte(); {
	case b >= 250:
		return math.MaxUint64 - uint64(b-250)
	case b >= 240:
		return binary.LittleEndian.Uint64(append(h.take(8), make([]byte, 8)...))
	default:
		return uint64(b % 5)
	}
}

func (h *hose) id(m epaxos.Membership) epaxos.InstanceID {
	id := epaxos.InstanceID{Epoch: 1, Replica: epaxos.ReplicaID(1 + h.below(m.N()+1)), Slot: epaxos.Slot(h.slot())}
	if h.byte() > 250 {
		id.Epoch = 2
	}
	return id
}

func (h *hose) ballot(m epaxos.Membership) epaxos.Ballot {
	b := h.byte()
	switch {
	case b < 80:
		return epaxos.Ballot{}
	case b > 245:
		return epaxos.Ballot{Number: math.MaxUint64 - uint64(b&1), Replica: epaxos.ReplicaID(1 + h.below(m.N()))}
	default:
		return epaxos.Ballot{Number: uint64(b % 4), Replica: epaxos.ReplicaID(1 + h.below(m.N()))}
	}
}

func (h *hose) vector(m epaxos.Membership) epaxos.Dependencies {
	switch h.below(12) {
	case 0:
		return nil
	case 1:
		return make(epaxos.Dependencies, h.below(m.N()+2))
	}
	d := make(epaxos.Dependencies, m.N())
	for i := range d {
		d[i] = epaxos.Slot(h.slot())
	}
	return d
}

func (h *hose) command() *epaxos.Command {
	c := &epaxos.Command{Requests: []epaxos.Request{{Number: uint64(h.byte())}}}
	for range h.below(3) {
		c.Footprint = append(c.Footprint, epaxos.Access{
			Mode: epaxos.Mode(1 + h.below(4)), Key: string(rune('a' + h.below(2))), Range: h.below(5) == 0,
		})
	}
	return c
}

func (h *hose) value() epaxos.Value {
	switch h.below(3) {
	case 0:
		return epaxos.Value{Kind: epaxos.NoOp}
	case 1:
		return epaxos.Value{Kind: epaxos.Known}
	default:
		return epaxos.Value{Kind: epaxos.Full, Command: h.command()}
	}
}

func (h *hose) ids(m epaxos.Membership) []epaxos.InstanceID {
	ids := make([]epaxos.InstanceID, h.below(6))
	for i := range ids {
		ids[i] = h.id(m)
	}
	return ids
}

func (h *hose) message(m epaxos.Membership) epaxos.Message {
	switch h.below(15) {
	case 0:
		return epaxos.PreAccept{ID: h.id(m), Command: h.command(), Initial: h.vector(m)}
	case 1:
		return epaxos.PreAcceptReply{ID: h.id(m), Deps: h.vector(m)}
	case 2:
		return epaxos.Accept{ID: h.id(m), Ballot: h.ballot(m), Value: h.value(), Deps: h.vector(m)}
	case 3:
		return epaxos.AcceptReply{ID: h.id(m), Ballot: h.ballot(m)}
	case 4:
		return epaxos.Commit{ID: h.id(m), Ballot: h.ballot(m), Value: h.value(), Deps: h.vector(m)}
	case 5:
		return epaxos.Recover{ID: h.id(m), Ballot: h.ballot(m)}
	case 6:
		return epaxos.RecoverReply{
			ID: h.id(m), Ballot: h.ballot(m), Phase: epaxos.Phase(h.below(4)), Accepted: h.ballot(m),
			Value: h.value(), Deps: h.vector(m), Initial: h.vector(m),
		}
	case 7:
		return epaxos.Validate{ID: h.id(m), Ballot: h.ballot(m), Command: h.command(), Initial: h.vector(m)}
	case 8:
		reply := epaxos.ValidateReply{ID: h.id(m), Ballot: h.ballot(m)}
		for _, id := range h.ids(m) {
			reply.Conflicts = append(reply.Conflicts, epaxos.Conflict{ID: id, Committed: h.below(2) == 0})
		}
		return reply
	case 9:
		return epaxos.Waiting{ID: h.id(m), Count: h.below(8)}
	case 10:
		return epaxos.Refusal{ID: h.id(m), Promised: h.ballot(m)}
	case 11:
		return epaxos.TryRecover{IDs: h.ids(m)}
	case 12:
		return epaxos.Fetch{IDs: h.ids(m)}
	case 13:
		return epaxos.Truncated{ID: h.id(m)}
	default:
		g := epaxos.Gossip{Epoch: 1, Executed: h.vector(m), Tops: h.vector(m), Stable: h.vector(m)}
		if h.below(3) > 0 && len(g.Stable) == m.N() && len(g.Executed) == m.N() && len(g.Tops) == m.N() {
			g.Executed.Raise(g.Stable) // else hardly any would be taken
			g.Tops.Raise(g.Executed)
		}
		return g
	}
}

// input does one thing to the replica.
func (g *target) input(h *hose) {
	switch h.below(10) {
	case 0:
		g.next++
		_ = g.replica.Propose(g.now, g.next, epaxos.Request{Number: uint64(g.next)}, h.command().Footprint)
	case 1:
		g.now += time.Duration(h.byte()) * 40 * time.Millisecond
		g.replica.Tick(g.now)
	case 2:
		g.replica.Suspect(g.now, epaxos.ReplicaID(1+h.below(g.members.N())), h.below(3) > 0)
	case 3:
		g.replica.Blocked(g.now, h.ids(g.members))
	case 4:
		if h.below(4) == 0 {
			g.crash()
		} else {
			g.replica.Cancel(epaxos.ProposalID(h.byte()))
		}
	case 5: // bytes as they come
		g.deliver(epaxos.ReplicaID(2+h.below(g.members.N()-1)), h.take(h.below(64)))
	default:
		m := h.message(g.members)
		g.replica.Step(g.now, epaxos.Envelope{From: epaxos.ReplicaID(1 + h.below(g.members.N()+1)), To: 1, Message: m})
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
			for h := (&hose{bytes: script}); len(h.bytes) > 0; {
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
			return epaxos.Gossip{Epoch: 1, Executed: vector, Stable: vector, Tops: epaxos.Dependencies{0, 0, epaxos.Slot(i * 1000)}}
		},
	}
	for name, message := range kinds {
		t.Run(name, func(t *testing.T) {
			const count = 2000
			g := newTarget(t, m)
			before, sent := heapInUse(), 0
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
			stays := heapInUse() - before
			runtime.KeepAlive(g)
			t.Logf("%d bytes for %d sent: %.0f for each", stays, sent, float64(stays)/float64(sent))
			if limit := 64*sent + 64<<10; stays > limit {
				t.Errorf("%d bytes stay of %d sent, at most %d may", stays, sent, limit)
			}
		})
	}
}

func heapInUse() int {
	var s runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&s)
	return int(s.HeapAlloc)
}
