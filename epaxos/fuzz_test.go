package epaxos_test

import (
	"fmt"
	"maps"
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
	sent    []epaxos.Envelope // the last ones, to be answered
	wild    bool              // the disk holds what no replica writes: only a panic is a fault
}

func newTarget(t *testing.T, m epaxos.Membership) *target {
	g := blankTarget(t, m)
	if err := g.boot(); err != nil {
		t.Fatal(err)
	}
	return g
}

// blankTarget has a disk and has not read it.
func blankTarget(t *testing.T, m epaxos.Membership) *target {
	return &target{t: t, members: m, disk: newDisk(), decided: map[epaxos.InstanceID]epaxos.Decision{}}
}

// boot starts the replica from its disk. The error is that of a record which it refuses.
func (g *target) boot() error {
	limits := epaxos.DefaultLimits()
	limits.InFlightPerKey, limits.InFlight = 2, 8
	r, err := epaxos.New(epaxos.Config{
		ID: 1, Membership: g.members, Index: deps.New(g.members.N()), Limits: limits,
		Rand: rand.New(rand.NewPCG(1, 1)), Timing: epaxos.DefaultTiming(), //nolint:gosec // reproducible
	})
	if err != nil {
		return err
	}
	for _, record := range g.disk.synced {
		if err := r.Restore(record); err != nil {
			return fmt.Errorf("violation of integrity: the replica refuses its own record %+v: %w", record, err)
		}
	}
	r.Restored(g.now)
	g.replica = r
	g.settle()
	return nil
}

// sentMax is how many messages of the replica a script can still answer.
const sentMax = 16

func (g *target) settle() {
	g.t.Helper()
	if _, forgot := g.replica.Forgotten(); forgot {
		return
	}
	ready := g.replica.Ready()
	if g.wild {
		return
	}
	g.must(g.disk.save(ready.Records, ready.MustSync))
	for _, e := range ready.Messages {
		if e.From != 1 || e.To == 1 {
			g.t.Fatalf("violation of integrity: sends %+v", e)
		}
		g.must(g.disk.forbids(e.Message))
		g.sent = append(g.sent, e)
	}
	g.sent = g.sent[max(0, len(g.sent)-sentMax):]
	var executed []epaxos.InstanceID
	for _, d := range ready.Committed {
		before, seen := g.decided[d.ID]
		if seen && (!before.Deps.Equal(d.Deps) || (before.Command == nil) != (d.Command == nil)) {
			g.t.Fatalf("violation of agreement: %v was decided as %+v and is now %+v", d.ID, before, d)
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
	if err := g.boot(); err != nil {
		g.t.Fatal(err)
	}
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
	switch h.Below(14) {
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
	case 6, 7, 8, 9, 10:
		if len(g.sent) > 0 {
			e := g.sent[h.Below(len(g.sent))]
			g.replica.Step(g.now, epaxos.Envelope{From: e.To, To: 1, Message: h.Answer(e.Message)})
		}
	case 5: // bytes as they come
		g.deliver(epaxos.ReplicaID(2+h.Below(g.members.N()-1)), h.Take(h.Below(64)))
	default:
		m := h.Message()
		g.replica.Step(g.now, epaxos.Envelope{From: epaxos.ReplicaID(1 + h.Below(g.members.N()+1)), To: 1, Message: m})
	}
	g.settle()
}

// exhaust gives the replica all inputs of a script, or those before it finds that its disk has forgotten
// something: a replica that peers remember better than itself stops (rule S8). It begins with proposals,
// so that what peers say of its own first slots can be true.
func (g *target) exhaust(h *hostile.Hose) {
	for i := range 6 - h.Below(3)*h.Below(3) {
		g.next++
		_ = g.replica.Propose(g.now, g.next, epaxos.Request{Number: uint64(g.next)}, write(string(rune('a'+i))))
		g.settle()
	}
	for !h.Empty() {
		g.input(h)
		if _, forgot := g.replica.Forgotten(); forgot {
			return
		}
	}
}

// FuzzStep: whatever comes, no panic and no broken invariant.
func FuzzStep(f *testing.F) {
	for _, script := range hostile.Scripts(20) {
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		for _, s := range []shape{{3, 1, 1}, {4, 1, 1}} {
			g := newTarget(t, s.membership())
			g.exhaust(&hostile.Hose{Bytes: script, Members: g.members})
		}
	})
}

// FuzzRestore: whatever a log holds, a replica refuses it or starts without a panic. If the log is one that
// it could have written, it keeps what it promised in it, whatever comes then.
func FuzzRestore(f *testing.F) {
	for _, script := range hostile.Scripts(20) {
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		g := blankTarget(t, shape{3, 1, 1}.membership())
		h := &hostile.Hose{Bytes: script, Members: g.members}
		g.wild = h.Below(4) == 0
		for range h.Below(12) {
			record := h.Record()
			if old := g.disk.state[record.ID]; old.Command != nil {
				record.Command = old.Command
			}
			if g.wild || writable(record, g.members) && newDiskOf(g.disk).merge(record) == "" {
				g.disk.save([]epaxos.Record{record}, true)
			}
		}
		if err := g.boot(); err != nil && !g.wild {
			t.Fatal(err)
		} else if err != nil {
			return // it does not start
		}
		if _, forgot := g.replica.Forgotten(); !forgot {
			g.exhaust(h)
		}
	})
}

// writable reports whether a replica may have saved a record, what was before aside.
func writable(r epaxos.Record, m epaxos.Membership) bool {
	const numberMax = 1 << 62
	_, votes := m.Column(r.ID.Replica)
	fits := func(d epaxos.Dependencies) bool { return d == nil || len(d) == m.N() }
	if !votes || r.ID.Epoch != m.Epoch || r.ID.Slot == 0 || r.ID.Slot > numberMax || r.Promised.Number > numberMax ||
		!fits(r.Initial) || !fits(r.Deps) || r.Phase > epaxos.Initial && r.Deps == nil {
		return false
	}
	switch r.Phase {
	case epaxos.Initial: // initial dependencies without a vote come from a Validate, whose ballot is promised
		return !r.NoOp && r.Deps == nil && r.Accepted.IsZero() && (r.Initial == nil || !r.Promised.IsZero())
	case epaxos.PreAccepted:
		return !r.NoOp && r.Command != nil && r.Initial != nil && r.Accepted.IsZero()
	default:
		return r.NoOp || r.Command != nil
	}
}

// newDiskOf is a disk that knows what another holds, so that a record can be tried on it.
func newDiskOf(d *disk) *disk { return &disk{state: maps.Clone(d.state)} }

// hostileKinds makes the i-th message of each type, about an instance of which the replica has not heard.
func hostileKinds() map[string]func(i int) epaxos.Message {
	vector := make(epaxos.Dependencies, 3)
	id := func(i int) epaxos.InstanceID {
		return epaxos.InstanceID{Epoch: 1, Replica: 2, Slot: epaxos.Slot(1 + i*7)}
	}
	ids := func(i int) []epaxos.InstanceID {
		list := make([]epaxos.InstanceID, 100)
		for j := range list {
			list[j] = id(i*100 + j)
		}
		return list
	}
	command := func(i int) *epaxos.Command { return &epaxos.Command{Footprint: write(fmt.Sprint(i))} }
	noOp := epaxos.Value{Kind: epaxos.NoOp}
	ballot := epaxos.Ballot{Number: 1, Replica: 2}
	return map[string]func(i int) epaxos.Message{
		"PreAccept": func(i int) epaxos.Message {
			return epaxos.PreAccept{ID: id(i), Command: command(i), Initial: vector}
		},
		"PreAcceptReply": func(i int) epaxos.Message { return epaxos.PreAcceptReply{ID: id(i), Deps: vector} },
		"Accept":         func(i int) epaxos.Message { return epaxos.Accept{ID: id(i), Ballot: ballot, Value: noOp, Deps: vector} },
		"AcceptReply":    func(i int) epaxos.Message { return epaxos.AcceptReply{ID: id(i), Ballot: ballot} },
		"Commit":         func(i int) epaxos.Message { return epaxos.Commit{ID: id(i), Ballot: ballot, Value: noOp, Deps: vector} },
		"Recover":        func(i int) epaxos.Message { return epaxos.Recover{ID: id(i), Ballot: ballot} },
		"RecoverReply": func(i int) epaxos.Message {
			return epaxos.RecoverReply{ID: id(i), Ballot: ballot, Phase: epaxos.PreAccepted, Deps: vector, Initial: vector}
		},
		"Validate": func(i int) epaxos.Message {
			return epaxos.Validate{ID: id(i), Ballot: ballot, Command: command(i), Initial: vector}
		},
		"ValidateReply": func(i int) epaxos.Message {
			reply := epaxos.ValidateReply{ID: id(i), Ballot: ballot}
			for _, other := range ids(i) {
				reply.Conflicts = append(reply.Conflicts, epaxos.Conflict{ID: other})
			}
			return reply
		},
		"Waiting":    func(i int) epaxos.Message { return epaxos.Waiting{ID: id(i), Count: 1} },
		"Refusal":    func(i int) epaxos.Message { return epaxos.Refusal{ID: id(i), Promised: ballot} },
		"TryRecover": func(i int) epaxos.Message { return epaxos.TryRecover{IDs: ids(i)} },
		"Fetch":      func(i int) epaxos.Message { return epaxos.Fetch{IDs: ids(i)} },
		"Gossip": func(i int) epaxos.Message {
			return epaxos.Gossip{Epoch: 1, Executed: vector, Stable: vector, Tops: epaxos.Dependencies{0, 0, epaxos.Slot(i * 1000)}}
		},
		"Truncated": func(i int) epaxos.Message { return epaxos.Truncated{ID: id(i)} },
	}
}

// What a peer makes a replica keep, and what it makes it send, is in proportion to what it has sent.
func TestHostileMemory(t *testing.T) {
	kinds := hostileKinds()
	if all := int(wire.TypeTruncated - wire.TypePreAccept); len(kinds) != all { // Hello is not the core's
		t.Errorf("%d types are tried, the protocol has %d", len(kinds), all)
	}
	for name, message := range kinds {
		t.Run(name, func(t *testing.T) {
			const count = 2000
			g := newTarget(t, shape{3, 1, 1}.membership())
			before, sent, answered := hostile.Retained(), 0, 0
			for i := range count {
				body := wire.AppendMessage(wire.AppendFrameHeader(nil, wire.FrameHeader{}), message(i))
				sent += len(body)
				_, messages, err := wire.DecodeFrame(body)
				if err != nil {
					t.Fatal(err)
				}
				g.replica.Step(g.now, epaxos.Envelope{From: 2, To: 1, Message: messages[0]})
				for _, e := range g.replica.Ready().Messages {
					answered += len(wire.AppendMessage(nil, e.Message))
				}
			}
			stays := hostile.Retained() - before
			runtime.KeepAlive(g)
			t.Logf("for each byte %.1f stay and %.1f are answered", float64(stays)/float64(sent), float64(answered)/float64(sent))
			if limit := hostile.Factor*sent + hostile.Slack; stays > limit {
				t.Errorf("violation of boundedness: %d bytes stay of %d sent, at most %d may", stays, sent, limit)
			}
			if limit := 4 * sent; answered > limit {
				t.Errorf("violation of boundedness: %d bytes sent are answered by %d", sent, answered)
			}
		})
	}
}
