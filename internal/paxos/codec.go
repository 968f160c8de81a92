package paxos

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Encodings of messages and records, for a core that runs on a node (see Seat). A message is its kind and its fields, a
// record its fields; numbers are unsigned varints, bytes and lists have their length in front. Nothing evolves: all
// replicas of an experiment are one program.

// kind is the first byte of a message.
type kind byte

const (
	kindForward kind = iota + 1
	kindPrepare
	kindPromise
	kindAccept
	kindAccepted
	kindDecide
	kindRefusal
	kindHeartbeat
	kindFetch
	kindPropose
	kindVote
	kindFill
	kindWant
)

var errMalformed = errors.New("malformed")

// appendMessage appends the encoding of a message.
func appendMessage(b []byte, message Message) []byte {
	switch m := message.(type) {
	case Forward:
		return appendEntry(append(b, byte(kindForward)), m.Values)
	case Prepare:
		return appendBool(appendSlot(appendBallot(append(b, byte(kindPrepare)), m.Ballot), m.From), m.One)
	case Promise:
		b = appendSlot(appendBallot(append(b, byte(kindPromise)), m.Ballot), m.From)
		b = binary.AppendUvarint(b, uint64(len(m.Reports)))
		for _, r := range m.Reports {
			b = appendBool(appendEntry(appendRound(appendSlot(b, r.Slot), r.Round), r.Entry), r.Decided)
		}
		return b
	case Accept:
		return appendEntry(appendSlot(appendRound(append(b, byte(kindAccept)), m.Round), m.Slot), m.Entry)
	case Accepted:
		return appendSlot(appendRound(append(b, byte(kindAccepted)), m.Round), m.Slot)
	case Decide:
		b = appendRound(appendSlot(append(b, byte(kindDecide)), m.Slot), m.Round)
		return appendEntry(appendBool(b, m.Full), m.Entry)
	case Refusal:
		return appendBallot(appendSlot(append(b, byte(kindRefusal)), m.Slot), m.Promised)
	case Heartbeat:
		return appendSlot(appendSlot(appendBallot(append(b, byte(kindHeartbeat)), m.Ballot), m.Decided), m.Fast)
	case Fetch:
		return appendSlot(appendSlot(append(b, byte(kindFetch)), m.From), m.To)
	case Propose:
		return appendValue(append(b, byte(kindPropose)), &m.Value)
	case Vote:
		return appendName(appendSlot(appendBallot(append(b, byte(kindVote)), m.Ballot), m.Slot), m.ID)
	case Fill:
		return appendSlot(appendBallot(append(b, byte(kindFill)), m.Ballot), m.Slot)
	case Want:
		return appendName(append(b, byte(kindWant)), m.ID)
	default:
		panic(fmt.Sprintf("paxos: message %T has no encoding", message))
	}
}

// decodeMessage reads what appendMessage wrote. What it returns shares no memory with body.
func decodeMessage(body []byte) (Message, error) {
	d := decoder{rest: body}
	var message Message
	switch k := kind(d.byte()); k {
	case kindForward:
		message = Forward{Values: d.entry()}
	case kindPrepare:
		message = Prepare{Ballot: d.ballot(), From: d.slot(), One: d.bool()}
	case kindPromise:
		message = d.promise()
	case kindAccept:
		message = Accept{Round: d.round(), Slot: d.slot(), Entry: d.entry()}
	case kindAccepted:
		message = Accepted{Round: d.round(), Slot: d.slot()}
	case kindDecide:
		message = Decide{Slot: d.slot(), Round: d.round(), Full: d.bool(), Entry: d.entry()}
	case kindRefusal:
		message = Refusal{Slot: d.slot(), Promised: d.ballot()}
	case kindHeartbeat:
		message = Heartbeat{Ballot: d.ballot(), Decided: d.slot(), Fast: d.slot()}
	case kindFetch:
		message = Fetch{From: d.slot(), To: d.slot()}
	case kindPropose:
		message = Propose{Value: d.value()}
	case kindVote:
		message = Vote{Ballot: d.ballot(), Slot: d.slot(), ID: d.name()}
	case kindFill:
		message = Fill{Ballot: d.ballot(), Slot: d.slot()}
	case kindWant:
		message = Want{ID: d.name()}
	default:
		d.fail("a message of kind %d", k)
	}
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("paxos message: %w", err)
	}
	return message, nil
}

// appendRecord appends the encoding of a record. An entry that an earlier record holds is left out.
func appendRecord(b []byte, r *Record) []byte {
	b = appendRound(appendBallot(appendSlot(b, r.Slot), r.Promised), r.Round)
	b = appendBool(appendBool(appendBool(b, r.Voted), r.Known), r.Decided)
	if r.Known {
		return b
	}
	return appendEntry(b, r.Entry)
}

func (d *decoder) record() Record {
	r := Record{
		Slot: d.slot(), Promised: d.ballot(), Round: d.round(), Voted: d.bool(), Known: d.bool(), Decided: d.bool(),
	}
	if !r.Known {
		r.Entry = d.entry()
	}
	return r
}

func (d *decoder) promise() Promise {
	p := Promise{Ballot: d.ballot(), From: d.slot()}
	n := d.count(reportMin)
	for i := 0; i < n && d.err == nil; i++ {
		p.Reports = append(p.Reports, Report{Slot: d.slot(), Round: d.round(), Entry: d.entry(), Decided: d.bool()})
	}
	return p
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendSlot(b []byte, s Slot) []byte { return binary.AppendUvarint(b, uint64(s)) }

func appendBallot(b []byte, v Ballot) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, v.Number), uint64(v.Replica))
}

func appendRound(b []byte, r Round) []byte { return appendBool(appendBallot(b, r.Ballot), r.Classic) }

func appendName(b []byte, id CommandID) []byte {
	b = binary.AppendUvarint(b, uint64(id.Replica))
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(id.Life)), id.Number)
}

func appendBytes[T string | []byte](b []byte, v T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

func appendEntry(b []byte, e []Value) []byte {
	b = binary.AppendUvarint(b, uint64(len(e)))
	for i := range e {
		b = appendValue(b, &e[i])
	}
	return b
}

// appendValue writes the footprint too: replicas that execute a command must know what it may touch.
func appendValue(b []byte, v *Value) []byte {
	b = appendName(b, v.ID)
	if v.Command == nil {
		return appendBool(b, false)
	}
	b = binary.AppendUvarint(appendBool(b, true), uint64(len(v.Command.Requests)))
	for i := range v.Command.Requests {
		r := &v.Command.Requests[i]
		b = binary.AppendUvarint(b, uint64(r.Session.Epoch))
		b = binary.AppendUvarint(b, uint64(r.Session.Replica))
		b = binary.AppendUvarint(b, uint64(r.Session.Slot))
		b = appendBytes(binary.AppendUvarint(b, r.Number), r.Payload)
	}
	b = binary.AppendUvarint(b, uint64(len(v.Command.Footprint)))
	for i := range v.Command.Footprint {
		a := &v.Command.Footprint[i]
		b = appendBytes(append(b, byte(a.Mode), byte(a.Space)), a.Key)
		if b = appendBool(b, a.Range); a.Range {
			b = appendBytes(b, a.End)
		}
	}
	return b
}

// The least bytes of what lists hold.
const (
	valueMin   = 4
	requestMin = 5
	accessMin  = 4
	reportMin  = 6
)

// decoder reads a body to its end, or to the first thing that cannot be.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{errMalformed}, args...)...)
	}
	d.rest = nil
}

func (d *decoder) end() error {
	if d.err == nil && len(d.rest) > 0 {
		d.fail("%d bytes too many", len(d.rest))
	}
	return d.err
}

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.fail("it ends too early")
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) bool() bool {
	b := d.byte()
	if b > 1 {
		d.fail("%d is neither true nor false", b)
	}
	return b == 1
}

func (d *decoder) number(most uint64) uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 || v > most {
		d.fail("a number is cut off, or above %d", most)
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// count is the length of a list whose elements take at least so many bytes.
func (d *decoder) count(least int) int {
	return int(d.number(uint64(len(d.rest) / least))) //nolint:gosec // bounded by what is left
}

func (d *decoder) bytes() []byte {
	n := int(d.number(uint64(len(d.rest)))) //nolint:gosec // bounded by what is left
	if n == 0 || n > len(d.rest) {
		if n > 0 {
			d.fail("%d bytes of %d", n, len(d.rest))
		}
		return nil
	}
	v := append([]byte(nil), d.rest[:n]...)
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) slot() Slot { return Slot(d.number(math.MaxUint64)) }

func (d *decoder) replica() epaxos.ReplicaID { return epaxos.ReplicaID(d.number(math.MaxUint32)) }

func (d *decoder) ballot() Ballot {
	return Ballot{Number: d.number(math.MaxUint64), Replica: d.replica()}
}

func (d *decoder) round() Round { return Round{Ballot: d.ballot(), Classic: d.bool()} }

func (d *decoder) name() CommandID {
	return CommandID{Replica: d.replica(), Life: uint32(d.number(math.MaxUint32)), Number: d.number(math.MaxUint64)}
}

func (d *decoder) entry() Entry {
	n := d.count(valueMin)
	if n == 0 {
		return nil
	}
	e := make(Entry, 0, n)
	for i := 0; i < n && d.err == nil; i++ {
		e = append(e, d.value())
	}
	return e
}

func (d *decoder) value() Value {
	v := Value{ID: d.name()}
	if !d.bool() {
		return v
	}
	v.Command = &epaxos.Command{}
	if n := d.count(requestMin); n > 0 {
		v.Command.Requests = make([]epaxos.Request, 0, n)
		for i := 0; i < n && d.err == nil; i++ {
			v.Command.Requests = append(v.Command.Requests, epaxos.Request{
				Session: epaxos.InstanceID{
					Epoch: epaxos.Epoch(d.number(math.MaxUint32)), Replica: d.replica(), Slot: epaxos.Slot(d.slot()),
				},
				Number: d.number(math.MaxUint64), Payload: d.bytes(),
			})
		}
	}
	if n := d.count(accessMin); n > 0 {
		v.Command.Footprint = make(epaxos.Footprint, 0, n)
		for i := 0; i < n && d.err == nil; i++ {
			v.Command.Footprint = append(v.Command.Footprint, d.access())
		}
	}
	return v
}

func (d *decoder) access() epaxos.Access {
	a := epaxos.Access{Mode: epaxos.Mode(d.byte()), Space: epaxos.Space(d.byte()), Key: string(d.bytes())}
	if a.Mode < epaxos.Read || a.Mode > epaxos.Everything || a.Space > epaxos.SpaceEpoch {
		d.fail("mode %d, space %d", a.Mode, a.Space)
	}
	if a.Range = d.bool(); a.Range {
		a.End = string(d.bytes())
	}
	return a
}
