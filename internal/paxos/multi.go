package paxos

import (
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// multi is Multi-Paxos, Flexible Paxos by its quorums, and, with fast rounds, Fast Paxos.
type multi struct {
	base
	promised Ballot        // for the whole log
	leader   int           // column of the owner of promised, or of the first of the succession
	since    time.Duration // when the leader was last seen to change or to be suspected

	standing bool // for leader
	leading  bool
	ballot   Ballot // of the own candidacy or term
	from     Slot   // where it begins
	promises columns
	reports  []report
	asked    time.Duration

	next   Slot // first slot that was never proposed in this term
	queue  []Value
	placed map[CommandID]struct{} // in queue or proposed in this term
	flight int                    // slots proposed here and not decided
	told   Ballot                 // of the leader who is known to have won
	open   []*slot                // proposed in this term, by number; may hold decided ones

	fast *fast // nil without fast rounds
}

// report is one vote that a candidate has heard of.
type report struct {
	column int
	Report
}

func newMulti(config Config) *multi {
	m := &multi{base: newBase(config), placed: map[CommandID]struct{}{}}
	m.leader, _ = config.Membership.Column(config.Succession[0])
	if config.Kind == KindFast {
		m.fast = newFast()
	}
	return m
}

func (m *multi) Restore(r Record) {
	if r.Slot == 0 {
		m.promised = r.Promised
		return
	}
	m.restore(r)
}

func (m *multi) Restored(now time.Duration) {
	m.advance(now)
	if column, votes := m.config.Membership.Column(m.promised.Replica); votes {
		m.leader = column
	}
	m.since = now
	if m.fast != nil {
		for _, s := range m.slots {
			for _, v := range s.entry {
				m.fast.values[v.ID] = v
			}
		}
	}
	m.execute()
}

func (m *multi) Suspect(now time.Duration, id epaxos.ReplicaID, suspected bool) {
	m.advance(now)
	column, votes := m.config.Membership.Column(id)
	if !votes || m.suspected[column] == suspected {
		return
	}
	m.suspected[column] = suspected
	if suspected && column == m.leader {
		m.since = m.now
	}
	m.campaign()
	if m.fast != nil && m.leading && suspected {
		m.settleAll()
	}
}

// Whole adds the promise, which is for the whole log, to slot 1.
func (m *multi) Whole(number Slot) []Record {
	whole := m.base.Whole(number)
	if number == 1 {
		whole = append(whole, Record{Promised: m.promised})
	}
	return whole
}

// Leads implements Core.
func (m *multi) Leads() bool { return m.leading }

// HasReady counts what Ready would propose, too: a forwarded command is to wait for nothing else to happen.
func (m *multi) HasReady() bool {
	return m.base.HasReady() || m.leading && len(m.queue) > 0 && m.flight < m.config.Limits.InFlight ||
		m.fast != nil && len(m.fast.lost) > 0
}

func (m *multi) Ready() Ready {
	for _, c := range m.pack() {
		m.submit(c)
	}
	if m.fast != nil {
		m.proposeLost()
	}
	m.propose()
	return m.take()
}

func (m *multi) Tick(now time.Duration) {
	m.advance(now)
	m.campaign()
	for _, c := range m.unfinished() {
		if !c.finished && m.now-c.sent >= m.config.Timing.Resend {
			m.submit(c)
		}
	}
	m.repeat()
	m.gossip(m.heartbeat())
	m.catchUp()
}

func (m *multi) heartbeat() Heartbeat {
	if !m.leading {
		return Heartbeat{}
	}
	h := Heartbeat{Ballot: m.ballot}
	if m.fast != nil {
		h.Fast = m.fast.from
	}
	return h
}

func (m *multi) Step(now time.Duration, e Envelope) {
	m.advance(now)
	from, votes := m.config.Membership.Column(e.From)
	if !votes || from == m.column {
		return
	}
	switch msg := e.Message.(type) {
	case Forward:
		if m.leading {
			m.enqueue(msg.Values)
		}
	case Prepare:
		m.onPrepare(from, msg)
	case Promise:
		m.onPromise(from, msg)
	case Accept:
		m.onAccept(from, msg)
	case Accepted:
		m.onAccepted(from, msg)
	case Refusal:
		m.onRefusal(msg)
	case Decide:
		if s := m.at(msg.Slot); s != nil && !s.decided && msg.Full {
			m.conclude(s, msg.Entry, false)
		} else {
			m.onDecide(from, msg)
			m.settleAccounts(m.at(msg.Slot))
		}
	case Heartbeat:
		m.onHeartbeat(from, msg)
	case Fetch:
		m.onFetch(from, msg)
	default:
		if m.fast != nil {
			m.stepFast(from, msg)
		}
	}
}

// submit brings an own command on its way.
func (m *multi) submit(c *command) {
	c.sent = m.now
	switch {
	case m.fast != nil:
		m.broadcast(Propose{Value: c.value})
		m.proposed(c.value)
	case m.leading:
		m.enqueue([]Value{c.value})
	case m.leader != m.column:
		m.send(m.leader, Forward{Values: []Value{c.value}})
	}
}

// enqueue takes commands that are neither done nor under way.
func (m *multi) enqueue(values []Value) {
	for _, v := range values {
		_, done := m.done[v.ID]
		_, placed := m.placed[v.ID]
		if v.Command != nil && !done && !placed {
			m.placed[v.ID] = struct{}{}
			m.queue = append(m.queue, v)
		}
	}
}

// propose gives what waits the next slots, all that came in one turn in as few as possible.
func (m *multi) propose() {
	for m.leading && len(m.queue) > 0 && m.flight < m.config.Limits.InFlight {
		count := min(len(m.queue), m.config.Limits.Pack)
		entry := Entry(m.queue[:count:count])
		m.queue = m.queue[count:]
		m.next++
		m.offer(m.slot(m.next-1), entry)
	}
}

// offer is phase 2a.
func (m *multi) offer(s *slot, entry Entry) {
	round := Round{m.ballot, true}
	for _, v := range entry {
		m.placed[v.ID] = struct{}{}
	}
	s.votes, s.at = 0, m.now
	if !s.mine {
		s.mine = true
		m.flight++
	}
	m.open = append(m.open, s)
	m.forgetVote(s, entry)
	m.vote(s, round, entry)
	m.broadcast(Accept{Round: round, Slot: s.number, Entry: entry})
	m.accepted(s, m.column)
}

func (m *multi) onAccept(from int, msg Accept) {
	s := m.slot(msg.Slot)
	if s == nil || m.refuses(from, msg.Round.Ballot) {
		return
	}
	switch {
	case s.decided:
		m.send(from, Decide{Slot: s.number, Round: s.round, Full: true, Entry: s.entry})
		return
	case !s.voted || s.round.Compare(msg.Round) < 0:
		m.forgetVote(s, msg.Entry)
		m.vote(s, msg.Round, msg.Entry)
	case s.round != msg.Round:
		return
	}
	m.send(from, Accepted{Round: msg.Round, Slot: s.number})
}

func (m *multi) onAccepted(from int, msg Accepted) {
	s := m.at(msg.Slot)
	if m.leading && s != nil && !s.decided && msg.Round == (Round{m.ballot, true}) && s.round == msg.Round {
		m.accepted(s, from)
	}
}

func (m *multi) accepted(s *slot, column int) {
	s.votes.add(column)
	if s.votes.count() < m.config.Quorums.Accept {
		return
	}
	m.broadcast(Decide{Slot: s.number, Round: s.round})
	m.conclude(s, s.entry, false)
}

// conclude decides a slot.
func (m *multi) conclude(s *slot, entry Entry, fast bool) {
	m.forgetVote(s, entry)
	if m.fast != nil {
		for _, v := range entry {
			m.fast.values[v.ID] = v // other slots may have votes for it
		}
	}
	m.decide(s, entry, fast)
	m.settleAccounts(s)
}

// settleAccounts ends the flight of a slot that is decided.
func (m *multi) settleAccounts(s *slot) {
	if s == nil || !s.decided {
		return
	}
	if s.mine {
		s.mine = false
		m.flight--
	}
	for len(m.open) > 0 && m.open[0].decided {
		m.open = m.open[1:]
	}
	for f := m.fast; f != nil && len(f.active) > 0 && f.active[0].decided; {
		f.active = f.active[1:]
	}
}

// repeat sends again what was not answered.
func (m *multi) repeat() {
	if m.standing && m.now-m.asked >= m.config.Timing.Resend {
		m.asked = m.now
		m.broadcast(Prepare{Ballot: m.ballot, From: m.from})
	}
	if !m.leading {
		return
	}
	for _, s := range m.open {
		if !s.decided && m.now-s.at >= m.config.Timing.Resend {
			s.at = m.now
			m.broadcast(Accept{Round: s.round, Slot: s.number, Entry: s.entry})
		}
	}
	if m.fast != nil {
		m.settleOld()
	}
}
