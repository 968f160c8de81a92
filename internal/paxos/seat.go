package paxos

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Seat lets a core of this package take the place of EPaxos* in a node: it is a node.Core, and Order the node.Orderer
// beside it. So the baselines have the same store, transport, executor and clients, restarts included.
//
// Nothing of the node knows of logs. A record or a message is opaque bytes in the one request of a Record or a
// PreAccept; what the log executes are the instances of one column, counted from 1 without a gap, each of which depends
// on all before it. A read is a command in the log that leaves no trace.
//
// A Seat knows one epoch. It is not safe for concurrent use.
type Seat struct {
	config Config
	core   Core
	saved  []Record // of earlier lives, until Restored
	life   uint32   // of this life, once restored
	named  bool     // the life is on the disk
	uses   bool     // commands of this life may have been named, so that it must be

	numbered epaxos.Slot // commands that the log has executed
	durable  epaxos.Dependencies
	zero     epaxos.Dependencies
	fast     map[epaxos.ProposalID]bool // chosen by a fast quorum, and not executed; by the first of a command
	chosen   []Chosen                   // of the last Ready
	again    []Record
	stats    epaxos.Stats

	postponed []epaxos.ProposalID // reads that are not proposed yet
}

// The first byte of a record of a Seat.
const (
	savedRecord byte = iota
	savedLife
)

// NewSeat makes a core for an epoch, of a Config without Membership and Life. Like any core of a node, it wants
// RestoreTruncated, Restore and Restored before anything else.
func NewSeat(config Config, m epaxos.Membership) (*Seat, error) {
	if m.Epoch != 1 {
		return nil, fmt.Errorf("paxos: epoch %d: these protocols are for experiments, and cannot change their members",
			m.Epoch)
	}
	config.Membership = m
	if _, err := New(config); err != nil {
		return nil, err
	}
	none := make(epaxos.Dependencies, m.N())
	return &Seat{config: config, durable: none.Clone(), zero: none, fast: map[epaxos.ProposalID]bool{}}, nil
}

// RestoreTruncated takes the floor of a log that was compacted. This one never says that anything was forgotten.
func (s *Seat) RestoreTruncated(floor epaxos.Dependencies) error {
	if !s.zero.CoversAll(floor) {
		return fmt.Errorf("paxos: the log was truncated at %v by another protocol", floor)
	}
	return nil
}

// Restore replays one saved record.
func (s *Seat) Restore(r epaxos.Record) error {
	body, err := payloadOf(r.Command)
	if err != nil {
		return fmt.Errorf("record of another protocol: %w", err)
	}
	d := decoder{rest: body}
	switch tag := d.byte(); tag {
	case savedLife:
		s.life = max(s.life, uint32(d.number(math.MaxUint32)))
	case savedRecord:
		s.saved = append(s.saved, d.record())
	default:
		d.fail("a record of kind %d", tag)
	}
	if err := d.end(); err != nil {
		return fmt.Errorf("paxos record: %w", err)
	}
	return nil
}

// Restored ends the replay. What was decided is executed anew; Order leaves out what the state already shows.
func (s *Seat) Restored(now time.Duration) error {
	s.life++
	s.config.Life = s.life
	core, err := New(s.config)
	if err != nil {
		return err
	}
	for _, r := range s.saved {
		core.Restore(r)
	}
	core.Restored(now)
	s.core, s.saved = core, nil
	return nil
}

// Propose asks for a request to be executed.
func (s *Seat) Propose(now time.Duration, id epaxos.ProposalID, r epaxos.Request, f epaxos.Footprint) error {
	s.uses = true
	if err := s.core.Propose(now, id, r, f); err != nil {
		return epaxos.ErrOverloaded
	}
	return nil
}

// Read asks how far to execute before a read may be served: up to a command in the log that has no effect. A node
// cannot be refused that, so what the queue has no room for waits.
func (s *Seat) Read(now time.Duration, id epaxos.ProposalID, _ epaxos.Footprint) {
	if s.Propose(now, id, epaxos.Request{}, nil) != nil {
		s.postponed = append(s.postponed, id)
	}
}

// reads reports whether a request is a Read. A state machine has no request without a payload.
func reads(r *epaxos.Request) bool { return len(r.Payload) == 0 && r.Session.IsZero() }

// Cancel takes back a proposal that no command holds.
func (s *Seat) Cancel(id epaxos.ProposalID) bool { return s.core.Cancel(id) }

// Step takes a message. What cannot be read is dropped.
func (s *Seat) Step(now time.Duration, e epaxos.Envelope) {
	carrier, fits := e.Message.(epaxos.PreAccept)
	if !fits {
		s.stats.Malformed++
		return
	}
	body, err := payloadOf(carrier.Command)
	if err != nil {
		s.stats.Malformed++
		return
	}
	message, err := decodeMessage(body)
	if err != nil {
		s.stats.Malformed++
		return
	}
	s.core.Step(now, Envelope{From: e.From, To: e.To, Message: message})
}

// Tick lets time pass.
func (s *Seat) Tick(now time.Duration) {
	for len(s.postponed) > 0 && s.Propose(now, s.postponed[0], epaxos.Request{}, nil) == nil {
		s.postponed = s.postponed[1:]
	}
	s.core.Tick(now)
}

// Suspect tells that a member seems to be dead, or alive again.
func (s *Seat) Suspect(now time.Duration, id epaxos.ReplicaID, suspected bool) {
	s.core.Suspect(now, id, suspected)
}

// HasReady reports whether Ready would return anything.
func (s *Seat) HasReady() bool { return s.core.HasReady() || len(s.again) > 0 || s.uses && !s.named }

// Ready returns what is to be done because of the inputs since the last call.
func (s *Seat) Ready() epaxos.Ready {
	r := s.core.Ready()
	out := epaxos.Ready{MustSync: r.MustSync}
	if s.uses && !s.named {
		// A name that was given must not be given again after a restart, and other replicas are about to hear it.
		s.named, out.MustSync = true, true
		out.Records = append(out.Records, s.lifeRecord())
	}
	for i := range s.again {
		out.Records = append(out.Records, s.record(&s.again[i]))
	}
	s.again = nil
	for i := range r.Records {
		out.Records = append(out.Records, s.record(&r.Records[i]))
	}
	out.Messages = s.messages(r.Messages)
	s.chosen = r.Chosen
	for _, c := range r.Chosen {
		if c.Fast {
			s.fast[c.Proposals[0]] = true
		}
	}
	for i := range r.Execute {
		s.execute(&r.Execute[i], &out)
	}
	return out
}

// execute makes an instance of a command that the log has executed, and points of the reads in it.
func (s *Seat) execute(x *Execution, out *epaxos.Ready) {
	command, proposals := x.Value.Command, x.Proposals
	var waiting []epaxos.ProposalID
	for i := range command.Requests {
		if reads(&command.Requests[i]) {
			command, proposals, waiting = split(x)
			break
		}
	}
	fast := s.byPath(x.Proposals)
	if len(command.Requests) > 0 {
		id := s.instance(s.numbered + 1)
		if command.Requests[0].Opens() { // what it writes is named by its place
			command = &epaxos.Command{Requests: command.Requests, Footprint: epaxos.Footprint{
				{Mode: epaxos.Write, Space: epaxos.SpaceSession, Key: id.Key()},
			}}
		}
		out.Committed = append(out.Committed, epaxos.Decision{ID: id, Command: command, Deps: s.vector(s.numbered)})
		s.numbered++
		if len(proposals) > 0 {
			out.Led = append(out.Led, epaxos.Led{ID: id, Proposals: proposals, Fast: fast})
		}
	}
	for _, id := range waiting {
		out.Reads = append(out.Reads, epaxos.ReadPoint{Proposal: id, Deps: s.vector(s.numbered)})
	}
}

// byPath counts a command led here, and tells whether a fast quorum chose it.
func (s *Seat) byPath(proposals []epaxos.ProposalID) (fast bool) {
	if len(proposals) == 0 {
		return false
	}
	fast = s.fast[proposals[0]]
	delete(s.fast, proposals[0])
	s.stats.Led++
	if fast {
		s.stats.Fast++
	} else {
		s.stats.Slow++
	}
	return fast
}

// split takes the reads out of a command.
func split(x *Execution) (rest *epaxos.Command, proposals, waiting []epaxos.ProposalID) {
	rest = &epaxos.Command{Footprint: x.Value.Command.Footprint}
	for i, r := range x.Value.Command.Requests {
		mine := len(x.Proposals) > 0
		switch {
		case !reads(&r):
			rest.Requests = append(rest.Requests, r)
			if mine {
				proposals = append(proposals, x.Proposals[i])
			}
		case mine:
			waiting = append(waiting, x.Proposals[i])
		}
	}
	return rest, proposals, waiting
}

func (s *Seat) messages(all []Envelope) []epaxos.Envelope {
	out := make([]epaxos.Envelope, 0, len(all))
	var carrier epaxos.PreAccept
	for i := range all {
		if e := &all[i]; !e.Same {
			carrier = epaxos.PreAccept{ID: s.instance(1), Command: carry(appendMessage(nil, e.Message))}
		}
		out = append(out, epaxos.Envelope{From: all[i].From, To: all[i].To, Message: carrier})
	}
	return out
}

func (s *Seat) record(r *Record) epaxos.Record {
	return epaxos.Record{ID: s.instance(epaxos.Slot(max(r.Slot, 1))), Command: carry(appendRecord([]byte{savedRecord}, r))}
}

func (s *Seat) lifeRecord() epaxos.Record {
	return epaxos.Record{ID: s.instance(1), Command: carry(binary.AppendUvarint([]byte{savedLife}, uint64(s.life)))}
}

// instance is one of the column that stands for the log.
func (s *Seat) instance(slot epaxos.Slot) epaxos.InstanceID { return s.config.Membership.ID(0, slot) }

// vector covers so many commands of the log.
func (s *Seat) vector(slot epaxos.Slot) epaxos.Dependencies {
	v := s.zero.Clone()
	v[0] = slot
	return v
}

// carry puts bytes where the node expects a command.
func carry(body []byte) *epaxos.Command {
	return &epaxos.Command{Requests: []epaxos.Request{{Payload: body}}}
}

func payloadOf(c *epaxos.Command) ([]byte, error) {
	if c == nil || len(c.Requests) != 1 || len(c.Footprint) != 0 {
		return nil, fmt.Errorf("%w: nothing is carried", errMalformed)
	}
	return c.Requests[0].Payload, nil
}

// Background reports whether a message of a Seat is sent whether or not there is work.
func Background(m epaxos.Message) bool {
	carrier, fits := m.(epaxos.PreAccept)
	if !fits {
		return false
	}
	body, err := payloadOf(carrier.Command)
	return err == nil && len(body) > 0 && kind(body[0]) == kindHeartbeat
}

// Chosen tells which proposals of this replica the last Ready has made known as decided. They are to be executed once
// all that the log holds before them is.
func (s *Seat) Chosen() []Chosen { return s.chosen }

// Leads reports whether this replica leads now.
func (s *Seat) Leads() bool { return s.core.Leads() }

// Rewrite saves a slot whole once more, and with the first all that is of no slot.
func (s *Seat) Rewrite(id epaxos.InstanceID) bool {
	whole := s.core.Whole(Slot(id.Slot))
	s.again = append(s.again, whole...)
	if id.Slot == 1 {
		s.uses, s.named = true, false // so that the life is saved again
	}
	return len(whole) > 0
}

// Blocked does nothing: a log asks for what it lacks by itself.
func (s *Seat) Blocked(time.Duration, []epaxos.InstanceID) {}

// Executed does nothing: what a log has decided without a gap is as good as executed.
func (s *Seat) Executed(time.Duration, []epaxos.InstanceID) {}

// ExecutedDurably takes in how far the state on the disk is.
func (s *Seat) ExecutedDurably(prefix epaxos.Dependencies) { s.durable = prefix.Clone() }

// Quiet is false: heartbeats are always due.
func (s *Seat) Quiet() bool { return false }

// Forgotten reports nothing: a log knows no instances of its own that others could know better.
func (s *Seat) Forgotten() (epaxos.InstanceID, bool) { return epaxos.InstanceID{}, false }

// Stats counts what happened since the start.
func (s *Seat) Stats() epaxos.Stats {
	stats, of := s.stats, s.core.Stats()
	stats.Refusals, stats.Recoveries, stats.Queued = of.Refusals, of.Elections+of.Attempts+of.Collisions, of.Queued
	return stats
}

// Tops is how far the log is known to go.
func (s *Seat) Tops() epaxos.Dependencies { return s.vector(s.numbered + epaxos.Slot(s.core.Lacks())) }

// Truncated is nothing: the log is kept.
func (s *Seat) Truncated() epaxos.Dependencies { return s.zero }

// Watermarks tells how far the state on the disk is.
func (s *Seat) Watermarks() epaxos.Watermarks {
	return epaxos.Watermarks{Executed: s.durable.Clone(), Stable: s.zero.Clone(), Truncated: s.zero.Clone()}
}

// End is never followed by another epoch, see NewSeat.
func (s *Seat) End(time.Duration, []epaxos.InstanceID) []epaxos.Unfinished { return nil }

// Adopt is never called, see NewSeat.
func (s *Seat) Adopt(time.Duration, epaxos.Unfinished) {}
