package hostile

import (
	"encoding/binary"
	"math"
	"math/rand/v2"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Hose turns the bytes of a fuzzer into values that a replica may be given: most are near what is legal,
// so that messages meet, and some at the ends of their ranges. Where the bytes end everything is zero.
type Hose struct {
	Bytes   []byte
	Members epaxos.Membership
}

// Scripts are random bytes of growing length, a beginning for a fuzzer: short ones are quick to change, long
// ones go deep.
func Scripts(count int) [][]byte {
	scripts := make([][]byte, count)
	for i := range scripts {
		scripts[i] = make([]byte, 100*(i+1))
		rand.NewChaCha8([32]byte{byte(i)}).Read(scripts[i]) // never fails
	}
	return scripts
}

// Empty reports whether all bytes are used.
func (h *Hose) Empty() bool { return len(h.Bytes) == 0 }

// Byte takes one byte.
func (h *Hose) Byte() byte {
	if len(h.Bytes) == 0 {
		return 0
	}
	b := h.Bytes[0]
	h.Bytes = h.Bytes[1:]
	return b
}

// Below takes a number below n, which is at most 256.
func (h *Hose) Below(n int) int { return int(h.Byte()) % n }

// Take takes up to n bytes as they are.
func (h *Hose) Take(n int) []byte {
	n = min(n, len(h.Bytes))
	b := h.Bytes[:n:n]
	h.Bytes = h.Bytes[n:]
	return b
}

// Replica is a voter or the id after the last.
func (h *Hose) Replica() epaxos.ReplicaID { return epaxos.ReplicaID(1 + h.Below(h.Members.N()+1)) }

// Slot is small most of the time, so that messages meet, and now and then at the end of the range.
func (h *Hose) Slot() uint64 {
	switch b := h.Byte(); {
	case b >= 253:
		return math.MaxUint64 - uint64(b-253)
	case b >= 250:
		return binary.LittleEndian.Uint64(append(h.Take(8), make([]byte, 8)...))
	default:
		return uint64(b % 5)
	}
}

// ID is an instance, seldom of another epoch.
func (h *Hose) ID() epaxos.InstanceID {
	id := epaxos.InstanceID{Epoch: 1, Replica: h.Replica(), Slot: epaxos.Slot(h.Slot())}
	if h.Byte() > 250 {
		id.Epoch = 2
	}
	return id
}

// IDs are up to five instances.
func (h *Hose) IDs() []epaxos.InstanceID {
	ids := make([]epaxos.InstanceID, h.Below(6))
	for i := range ids {
		ids[i] = h.ID()
	}
	return ids
}

// Ballot is the first, a low one, or one of the last two.
func (h *Hose) Ballot() epaxos.Ballot {
	b := h.Byte()
	switch {
	case b < 80:
		return epaxos.Ballot{}
	case b > 245:
		return epaxos.Ballot{Number: math.MaxUint64 - uint64(b&1), Replica: epaxos.ReplicaID(1 + h.Below(h.Members.N()))}
	default:
		return epaxos.Ballot{Number: uint64(b % 4), Replica: epaxos.ReplicaID(1 + h.Below(h.Members.N()))}
	}
}

// Vector is a dependency vector, seldom of the wrong length or none.
func (h *Hose) Vector() epaxos.Dependencies {
	switch h.Below(12) {
	case 0:
		return nil
	case 1:
		return make(epaxos.Dependencies, h.Below(h.Members.N()+2))
	}
	d := make(epaxos.Dependencies, h.Members.N())
	for i := range d {
		d[i] = epaxos.Slot(h.Slot())
	}
	return d
}

// Command has up to two accesses of every mode, to two keys, so that most commands interfere.
func (h *Hose) Command() *epaxos.Command {
	c := &epaxos.Command{Requests: []epaxos.Request{{Number: uint64(h.Byte())}}}
	for range h.Below(3) {
		c.Footprint = append(c.Footprint, epaxos.Access{
			Mode: epaxos.Mode(1 + h.Below(4)), Key: string(rune('a' + h.Below(2))), Range: h.Below(5) == 0,
		})
	}
	return c
}

// Value is of every kind.
func (h *Hose) Value() epaxos.Value {
	switch h.Below(3) {
	case 0:
		return epaxos.Value{Kind: epaxos.NoOp}
	case 1:
		return epaxos.Value{Kind: epaxos.Known}
	default:
		return epaxos.Value{Kind: epaxos.Full, Command: h.Command()}
	}
}

// Message is of every type.
func (h *Hose) Message() epaxos.Message {
	switch h.Below(14) {
	case 0:
		return epaxos.PreAccept{ID: h.ID(), Command: h.Command(), Initial: h.Vector()}
	case 1:
		return epaxos.PreAcceptReply{ID: h.ID(), Deps: h.Vector()}
	case 2:
		return epaxos.Accept{ID: h.ID(), Ballot: h.Ballot(), Value: h.Value(), Deps: h.Vector()}
	case 3:
		return epaxos.AcceptReply{ID: h.ID(), Ballot: h.Ballot()}
	case 4:
		return epaxos.Commit{ID: h.ID(), Ballot: h.Ballot(), Value: h.Value(), Deps: h.Vector()}
	case 5:
		return epaxos.Recover{ID: h.ID(), Ballot: h.Ballot()}
	case 6:
		return epaxos.RecoverReply{
			ID: h.ID(), Ballot: h.Ballot(), Phase: epaxos.Phase(h.Below(4)), Accepted: h.Ballot(),
			Value: h.Value(), Deps: h.Vector(), Initial: h.Vector(),
		}
	case 7:
		return epaxos.Validate{ID: h.ID(), Ballot: h.Ballot(), Command: h.Command(), Initial: h.Vector()}
	case 8:
		return h.validateReply()
	case 9:
		return epaxos.Waiting{ID: h.ID(), Count: h.Below(8)}
	case 10:
		return epaxos.Refusal{ID: h.ID(), Promised: h.Ballot()}
	case 11:
		return epaxos.TryRecover{IDs: h.IDs()}
	case 12:
		return epaxos.Fetch{IDs: h.IDs()}
	default:
		return epaxos.Gossip{Epoch: 1, Executed: h.Vector(), Tops: h.Vector()}
	}
}

func (h *Hose) validateReply() epaxos.Message {
	reply := epaxos.ValidateReply{ID: h.ID(), Ballot: h.Ballot()}
	for _, id := range h.IDs() {
		reply.Conflicts = append(reply.Conflicts, epaxos.Conflict{ID: id, Committed: h.Below(2) == 0})
	}
	return reply
}

// Answer is a reply to a message that the replica has sent, at its ballot, so that what the replica leads
// gets somewhere. It need not be true.
func (h *Hose) Answer(to epaxos.Message) epaxos.Message {
	switch m := to.(type) {
	case epaxos.PreAccept:
		deps := m.Initial
		if h.Below(3) == 0 {
			deps = h.Vector()
		}
		return epaxos.PreAcceptReply{ID: m.ID, Deps: deps}
	case epaxos.Accept:
		return epaxos.AcceptReply{ID: m.ID, Ballot: m.Ballot}
	case epaxos.Recover:
		return h.report(m)
	case epaxos.Validate:
		reply := h.validateReply().(epaxos.ValidateReply)
		reply.ID, reply.Ballot = m.ID, m.Ballot
		return reply
	case epaxos.Fetch:
		if len(m.IDs) > 0 {
			id := m.IDs[h.Below(min(256, len(m.IDs)))]
			return epaxos.Commit{ID: id, Ballot: h.Ballot(), Value: h.Value(), Deps: h.Vector()}
		}
	}
	return h.Message()
}

// report answers a Recover with what fits together, most of the time.
func (h *Hose) report(m epaxos.Recover) epaxos.RecoverReply {
	reply := epaxos.RecoverReply{ID: m.ID, Ballot: m.Ballot, Phase: epaxos.Phase(h.Below(4))}
	if reply.Phase == epaxos.Initial {
		return reply
	}
	reply.Deps, reply.Initial = h.Vector(), h.Vector()
	if reply.Phase == epaxos.PreAccepted {
		reply.Value = epaxos.Value{Kind: epaxos.Full, Command: h.Command()}
		if h.Below(2) == 0 {
			reply.Deps = reply.Initial
		}
		return reply
	}
	reply.Accepted, reply.Value = h.Ballot(), h.Value()
	return reply
}

// Record is of every phase.
func (h *Hose) Record() epaxos.Record {
	r := epaxos.Record{
		ID: h.ID(), Phase: epaxos.Phase(h.Below(4)), Promised: h.Ballot(), Accepted: h.Ballot(),
		NoOp: h.Below(4) == 0, Initial: h.Vector(), Deps: h.Vector(),
	}
	if h.Below(3) > 0 {
		r.Command = h.Command()
	}
	return r
}
