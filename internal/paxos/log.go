package paxos

import (
	"fmt"
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// base is what all cores share: the log as acceptor and learner see it, and the own requests.
type base struct {
	config Config
	column int
	n      int
	now    time.Duration
	ready  Ready
	stats  Stats

	slots     []*slot // by number, from 1
	decided   Slot    // no gap up to here; executed as far as this core is concerned
	heard     Slot    // some replica has everything decided up to here
	progress  []Slot  // by column: up to where each was heard to have everything
	fetchedAt time.Duration
	gossiped  time.Duration
	done      map[CommandID]struct{} // executed
	suspected []bool

	batch  []request
	number uint64
	own    []*command // not executed, in the order of their numbers; may hold finished ones
	byName map[CommandID]*command
	queued int // requests in batch and own
}

// slot is one place of the log.
type slot struct {
	number   Slot
	promised Ballot // Basic only: for this slot
	voted    bool
	round    Round
	entry    Entry // of the vote, then of the decision
	decided  bool

	votes columns       // for what this replica proposes at its ballot
	at    time.Duration // when that was sent last
	mine  bool          // proposed here and not decided
	fast  *ballotBox    // Fast only
}

// request is one of this turn, not yet part of a command.
type request struct {
	id        epaxos.ProposalID
	request   epaxos.Request
	footprint epaxos.Footprint
}

// command is an own one.
type command struct {
	value     Value
	proposals []epaxos.ProposalID
	sent      time.Duration
	chosen    bool
	finished  bool
}

func newBase(config Config) base {
	column, _ := config.Membership.Column(config.ID)
	n := config.Membership.N()
	return base{
		config: config, column: column, n: n, suspected: make([]bool, n), progress: make([]Slot, n),
		done: map[CommandID]struct{}{}, byName: map[CommandID]*command{},
	}
}

func (b *base) advance(now time.Duration) { b.now = max(b.now, now) }

// Stats returns the counters.
func (b *base) Stats() Stats {
	stats := b.stats
	stats.Queued = b.queued
	return stats
}

// Cancel takes back a request of this turn.
func (b *base) Cancel(id epaxos.ProposalID) bool {
	before := len(b.batch)
	b.batch = slices.DeleteFunc(b.batch, func(r request) bool { return r.id == id })
	b.queued -= before - len(b.batch)
	return len(b.batch) < before
}

// Propose takes a request into the command of this turn.
func (b *base) Propose(now time.Duration, id epaxos.ProposalID, r epaxos.Request, f epaxos.Footprint) error {
	b.advance(now)
	if b.queued >= b.config.Limits.Queue {
		return ErrOverloaded
	}
	b.queued++
	b.batch = append(b.batch, request{id: id, request: r, footprint: f})
	return nil
}

// HasReady reports whether Ready would return anything.
func (b *base) HasReady() bool {
	r := &b.ready
	return len(b.batch)+len(r.Records)+len(r.Messages)+len(r.Chosen)+len(r.Decided)+len(r.Execute) > 0
}

// take returns what is to be done and forgets it.
func (b *base) take() Ready {
	ready := b.ready
	b.ready = Ready{}
	return ready
}

// pack makes commands of the requests of the turn.
func (b *base) pack() []*command {
	var made []*command
	for len(b.batch) > 0 {
		count := b.together()
		b.number++
		c := &command{sent: b.now, value: Value{
			ID: CommandID{Replica: b.config.ID, Life: b.config.Life, Number: b.number}, Command: &epaxos.Command{},
		}}
		keys := map[epaxos.Access]struct{}{}
		for _, r := range b.batch[:count] {
			c.proposals = append(c.proposals, r.id)
			c.value.Command.Requests = append(c.value.Command.Requests, r.request)
			for _, access := range r.footprint {
				if _, known := keys[access]; !known {
					keys[access] = struct{}{}
					c.value.Command.Footprint = append(c.value.Command.Footprint, access)
				}
			}
		}
		b.batch = b.batch[count:]
		b.own = append(b.own, c)
		b.byName[c.value.ID] = c
		made = append(made, c)
	}
	b.batch = nil
	return made
}

// together counts the first requests of the turn that become one command.
func (b *base) together() int {
	count := 0
	for count < min(len(b.batch), b.config.Limits.Pack) && !b.batch[count].alone() {
		count++
	}
	return max(count, 1)
}

// alone reports whether a request is a command of its own: one that opens a session, which is named by its place in
// the order, or one to the service itself.
func (r *request) alone() bool { return r.request.Opens() || r.footprint.Controls() }

// unfinished drops finished commands from the front of the own ones and returns the rest.
func (b *base) unfinished() []*command {
	for len(b.own) > 0 && b.own[0].finished {
		b.own[0] = nil
		b.own = b.own[1:]
	}
	return b.own
}

// at is a slot that is known, or nil.
func (b *base) at(number Slot) *slot {
	if number == 0 || number > Slot(len(b.slots)) {
		return nil
	}
	return b.slots[number-1]
}

// slotsAhead bounds how far above the end of the own log a message may reach: memory is taken only for
// what can be true.
const slotsAhead = 1 << 16

// slot finds a slot or starts to know of it; nil if the number makes no sense.
func (b *base) slot(number Slot) *slot {
	if number == 0 || number > Slot(len(b.slots))+slotsAhead {
		return nil
	}
	for Slot(len(b.slots)) < number {
		b.slots = append(b.slots, &slot{number: Slot(len(b.slots)) + 1})
	}
	return b.slots[number-1]
}

func (b *base) save(r Record, sync bool) {
	b.ready.Records = append(b.ready.Records, r)
	b.ready.MustSync = b.ready.MustSync || sync
}

// vote accepts an entry, durably before anybody hears of it.
func (b *base) vote(s *slot, round Round, entry Entry) {
	if s.voted && s.round.Compare(round) > 0 {
		panic(fmt.Sprintf("invariant: slot %d voted in round %v, then in %v", s.number, s.round, round))
	}
	known := s.voted && s.entry.equal(entry)
	s.voted, s.round, s.entry = true, round, entry
	b.save(Record{Slot: s.number, Promised: s.promised, Voted: true, Round: round, Entry: entry, Known: known}, true)
}

// decide learns the outcome of a slot and executes what has no gap before it any more.
func (b *base) decide(s *slot, entry Entry, fast bool) {
	if s.decided {
		return
	}
	known := s.voted && s.entry.equal(entry)
	s.decided, s.entry = true, entry
	// Nobody relies on it: a quorum holds the value.
	b.save(Record{
		Slot: s.number, Promised: s.promised, Voted: s.voted, Round: s.round, Entry: entry, Known: known, Decided: true,
	}, false)
	b.ready.Decided = append(b.ready.Decided, Decision{Slot: s.number, Entry: entry})
	for _, v := range entry {
		if c := b.byName[v.ID]; c != nil && !c.chosen {
			c.chosen = true
			b.ready.Chosen = append(b.ready.Chosen, Chosen{Proposals: c.proposals, Fast: fast})
		}
	}
	b.execute()
}

// execute hands out decided commands in the order of the log, each once: the log is the same
// everywhere, so which of two copies counts is too.
func (b *base) execute() {
	for next := b.at(b.decided + 1); next != nil && next.decided; next = b.at(b.decided + 1) {
		b.decided++
		for _, v := range next.entry {
			if _, again := b.done[v.ID]; again {
				continue
			}
			b.done[v.ID] = struct{}{}
			x := Execution{Slot: next.number, Value: v}
			if c := b.byName[v.ID]; c != nil {
				x.Proposals = c.proposals
				c.finished = true
				b.queued -= len(c.proposals)
				delete(b.byName, v.ID)
			}
			b.ready.Execute = append(b.ready.Execute, x)
		}
	}
	b.heard = max(b.heard, b.decided)
}

// restore replays a record of a slot.
func (b *base) restore(r Record) {
	s := b.slot(r.Slot)
	if s == nil {
		return
	}
	s.promised, s.voted, s.round = r.Promised, r.Voted, r.Round
	if !r.Known {
		s.entry = r.Entry
	}
	s.decided = s.decided || r.Decided
}

// Whole is what has to be saved of a slot if all earlier records of it are lost.
func (b *base) Whole(number Slot) []Record {
	s := b.at(number)
	if s == nil || !s.voted && !s.decided && s.promised.IsZero() {
		return nil
	}
	return []Record{{
		Slot: number, Promised: s.promised, Voted: s.voted, Round: s.round, Entry: s.entry, Decided: s.decided,
	}}
}

// Lacks counts the slots that others are known to have decided and that cannot be executed here yet.
func (b *base) Lacks() int { return int(b.heard - min(b.heard, b.decided)) } //nolint:gosec // a log fits into memory

func (b *base) send(to int, m Message) {
	b.ready.Messages = append(b.ready.Messages, Envelope{
		From: b.config.ID, To: b.config.Membership.Voters[to], Message: m,
	})
}

func (b *base) broadcast(m Message) {
	same := false
	for to := range b.n {
		if to != b.column {
			b.send(to, m)
			b.ready.Messages[len(b.ready.Messages)-1].Same = same
			same = true
		}
	}
}

// fetchMax bounds what one Fetch asks for.
const fetchMax = 512

// onFetch tells what is known of the slots.
func (b *base) onFetch(from int, m Fetch) {
	if m.To < m.From || m.To-m.From >= fetchMax {
		return
	}
	for number := m.From; number <= m.To; number++ {
		if s := b.at(number); s != nil && s.decided {
			b.send(from, Decide{Slot: number, Round: s.round, Full: true, Entry: s.entry})
		}
	}
}

// onDecide learns a decision, or asks for it if the vote it refers to was never heard of.
func (b *base) onDecide(from int, m Decide) {
	s := b.slot(m.Slot)
	switch {
	case s == nil || s.decided:
	case m.Full:
		b.decide(s, m.Entry, false)
	case s.voted && s.round == m.Round && m.Round.Classic: // votes of one fast round may differ
		b.decide(s, s.entry, false)
	default:
		b.send(from, Fetch{From: m.Slot, To: m.Slot})
	}
}

// hear takes in how far a replica is.
func (b *base) hear(column int, decided Slot) {
	b.progress[column] = max(b.progress[column], decided)
	b.heard = max(b.heard, decided)
}

// catchUp asks one of those who are known to have it for what is missing here. A leader that dies may have told its
// last decisions to a single replica: to ask just anyone would take several times as long.
func (b *base) catchUp() {
	if b.decided >= b.heard || b.now-b.fetchedAt < b.config.Timing.Fetch {
		return
	}
	var able []int
	for column, decided := range b.progress {
		if column != b.column && decided > b.decided && !b.suspected[column] {
			able = append(able, column)
		}
	}
	if len(able) == 0 {
		return // whoever had it is away, and comes back or has told another
	}
	b.fetchedAt = b.now
	to := min(b.heard, b.decided+fetchMax)
	b.send(able[b.config.Rand.IntN(len(able))], Fetch{From: b.decided + 1, To: to})
}

// gossip tells the others now and then how far this replica is.
func (b *base) gossip(h Heartbeat) {
	if b.now-b.gossiped < b.config.Timing.Gossip {
		return
	}
	b.gossiped = b.now
	h.Decided = b.decided
	b.broadcast(h)
}
