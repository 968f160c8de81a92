package node_test

import (
	"errors"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/hostile"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// patient is a state machine that takes any payload, since a peer may have proposed it.
type patient struct{}

func (patient) Footprint([]byte) (epaxos.Footprint, error) { return nil, nil }

func (patient) Apply(_ execution.View, payload []byte) ([]byte, error) { return payload, nil }

// guarded is a store that reads what is saved: no promise goes back, and no decision changes.
type guarded struct {
	*storage.Memory
	t     *testing.T
	saved map[epaxos.InstanceID]epaxos.Record
}

func (s *guarded) Save(batch storage.Batch) error {
	group, err := wire.DecodeGroup(batch.Group)
	if err != nil {
		s.t.Fatalf("violation of integrity: a group that does not decode is saved: %v", err)
	}
	for _, r := range group.Records {
		old := s.saved[r.ID]
		switch {
		case r.Promised.Less(old.Promised) || r.Accepted.Less(old.Accepted) || r.Phase < old.Phase:
			s.t.Fatalf("violation of promise: %v goes from %+v back to %+v", r.ID, old, r)
		case old.Phase == epaxos.Committed && (r.NoOp != old.NoOp || !r.Deps.Equal(old.Deps)):
			s.t.Fatalf("violation of agreement: %v was committed as %+v and is now %+v", r.ID, old, r)
		}
		s.saved[r.ID] = r
	}
	return s.Memory.Save(batch)
}

// victim is replica 2 of 3, to which anything may be sent.
type victim struct {
	t     *testing.T
	store *guarded
	node  *node.Node
	m     epaxos.Membership
	now   time.Duration
	next  epaxos.ProposalID
	sent  []epaxos.Envelope // the last ones, to be answered
}

// sentMax is how many messages of the node a script can still answer.
const sentMax = 16

func newVictim(t *testing.T) *victim {
	v := &victim{t: t, m: epaxos.NewMembership(1, 1, 2, 3)}
	v.store = &guarded{
		Memory: storage.NewMemory(storage.MemoryOptions{}), t: t, saved: map[epaxos.InstanceID]epaxos.Record{},
	}
	v.boot()
	return v
}

// boot starts a node on what the store holds.
func (v *victim) boot() {
	config := configOf(2, v.store, 3)
	config.Machine, config.WriteBack = patient{}, 100*time.Millisecond
	var err error
	if v.node, err = node.New(config); err != nil {
		v.t.Fatalf("violation of integrity: the node refuses its own log: %v", err)
	}
	v.node.Tick(v.now)
}

func (v *victim) peer(h *hostile.Hose) epaxos.ReplicaID { return epaxos.ReplicaID(1 + 2*h.Below(2)) }

// deliver gives the node what a decoder makes of a frame; what it refuses ends the connection instead.
func (v *victim) deliver(from epaxos.ReplicaID, frame []byte) {
	if header, messages, err := wire.DecodeFrame(frame); err == nil {
		v.node.Deliver(v.now, from, header, messages)
	}
}

// greet gives the node a hello, most of the time one that it accepts.
func (v *victim) greet(h *hostile.Hose) {
	hello := wire.Hello{Replica: v.peer(h), Incarnation: 1, FormatMin: wire.FormatMin, FormatMax: wire.Format}
	switch h.Below(8) {
	case 0:
		hello.Incarnation = h.Slot()
	case 1:
		hello.FormatMin, hello.FormatMax = uint32(h.Slot()), uint32(h.Slot())
	case 2:
		hello.Replica = h.Replica()
	case 3:
		hello.Group = h.Slot()
	case 4:
		hello.HeardIncarnation, hello.HeardGroup = uint64(h.Below(3)), h.Slot()
	case 5:
		body := h.Take(40)
		var err error
		if hello, err = wire.DecodeHello(body); err != nil {
			return
		}
	}
	_ = v.node.Greet(v.now, hello) // a refusal ends a connection, no more
}

// lead proposes commands of the node itself, so that what peers say of its first slots can be true.
func (v *victim) lead(count int) {
	for i := range count {
		v.next++
		footprint := epaxos.Footprint{{Mode: epaxos.Write, Key: string(rune('a' + i))}}
		_ = v.node.Propose(v.now, v.next, epaxos.Request{Number: uint64(v.next)}, footprint)
		v.turn()
	}
}

func (v *victim) input(h *hostile.Hose) {
	switch h.Below(14) {
	case 0:
		v.greet(h)
	case 1:
		v.now += time.Duration(h.Byte()) * 20 * time.Millisecond
		v.node.Tick(v.now)
	case 2:
		v.node.Suspect(v.now, h.Replica(), h.Below(3) > 0)
	case 3:
		v.next++
		_ = v.node.Propose(v.now, v.next, epaxos.Request{Number: uint64(v.next)}, h.Command().Footprint)
	case 4:
		v.deliver(v.peer(h), h.Take(h.Below(80)))
	case 5:
		if h.Below(3) == 0 {
			v.store.Memory = v.store.Crash(h.Below(2) == 0)
			v.boot()
		}
	case 6, 7, 8, 9, 10:
		if len(v.sent) > 0 {
			e := v.sent[h.Below(len(v.sent))]
			v.deliver(e.To, wire.AppendMessage(wire.AppendFrameHeader(nil, wire.FrameHeader{}), h.Answer(e.Message)))
		}
	default:
		frame := wire.AppendFrameHeader(nil, wire.FrameHeader{Group: uint64(h.Byte())})
		for range 1 + h.Below(4) {
			if h.Below(8) == 0 {
				frame = wire.AppendMessage(frame, betweenEpochs(h))
			} else {
				frame = wire.AppendMessage(frame, h.Message())
			}
		}
		v.deliver(v.peer(h), frame)
	}
}

// betweenEpochs is a message beside the protocol of one epoch.
func betweenEpochs(h *hostile.Hose) epaxos.Message {
	switch h.Below(3) {
	case 0:
		return epaxos.Ended{Epoch: epaxos.Epoch(1 + h.Below(3)), Decided: h.Below(2) == 0} //nolint:gosec // small
	case 1:
		return epaxos.StateRequest{
			Epoch: epaxos.Epoch(h.Below(3)), Since: uint64(h.Below(4)), At: uint64(h.Below(4)), //nolint:gosec // small
			After: h.Take(h.Below(3)), Sum: h.Slot(),
		}
	default:
		return epaxos.StateChunk{
			Since: uint64(h.Below(2)), At: uint64(h.Below(3)), Epoch: epaxos.Epoch(h.Below(4)), //nolint:gosec // small
			Boundary: h.Below(2) == 0, Writes: []epaxos.StateWrite{{Key: h.Take(2), Value: h.Take(3)}},
			Sum: h.Slot(), Last: h.Below(2) == 0, Gone: h.Below(4) == 0,
		}
	}
}

// turn saves and executes. It reports whether the node goes on: that its disk has forgotten something,
// which any peer may tell it, is the only reason to stop (rule S8).
func (v *victim) turn() bool {
	v.t.Helper()
	messages, err := v.node.Save(v.now)
	v.sent = append(v.sent, messages...)
	v.sent = v.sent[max(0, len(v.sent)-sentMax):]
	if err == nil {
		_, err = v.node.Execute(v.now)
	}
	if err != nil && !errors.Is(err, node.ErrForgot) {
		v.t.Fatalf("violation of progress: what a peer sent stops the node: %v", err)
	}
	return err == nil
}

// FuzzDeliver: whatever peers send, the node neither panics nor stops, breaks no promise, changes no
// decision, and restarts from what it has saved.
func FuzzDeliver(f *testing.F) {
	for _, script := range hostile.Scripts(20) {
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		v := newVictim(t)
		if len(script) > 0 && script[0]%4 > 0 { // most scripts are about a node that is off probation
			greet(t, v.node)
		}
		h := &hostile.Hose{Bytes: script, Members: v.m}
		v.lead(6 - h.Below(3)*h.Below(3))
		for !h.Empty() {
			v.input(h)
			if !v.turn() {
				return
			}
		}
	})
}
