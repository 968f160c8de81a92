package paxos

import (
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// basic is Basic Paxos on a log for which everybody proposes.
type basic struct {
	base
	attempt attempt
	after   time.Duration // no attempt before
	tries   int           // attempts refused in a row
}

// attempt is the one slot this replica proposes for.
type attempt struct {
	phase    int // 0 is none, 1, 2
	slot     *slot
	ballot   Ballot
	promises columns
	highest  Round // of the votes reported
	entry    Entry // of that vote, or the own proposal
	sent     time.Duration
}

// backoffDoublings bounds how often the time that a refused proposer waits at most is doubled.
const backoffDoublings = 5

// attemptMax bounds the commands of one attempt. It is high, since there is one attempt at a time.
const attemptMax = 1024

func newBasic(config Config) *basic { return &basic{base: newBase(config)} }

func (p *basic) Restore(r Record) { p.restore(r) }

func (p *basic) Restored(now time.Duration) {
	p.advance(now)
	p.execute()
}

func (p *basic) Suspect(now time.Duration, id epaxos.ReplicaID, suspected bool) {
	p.advance(now)
	if column, votes := p.config.Membership.Column(id); votes {
		p.suspected[column] = suspected
	}
}

// Leads is false: nobody does.
func (p *basic) Leads() bool { return false }

func (p *basic) Ready() Ready {
	p.pack()
	p.begin()
	return p.take()
}

func (p *basic) Tick(now time.Duration) {
	p.advance(now)
	p.begin()
	if a := &p.attempt; a.phase > 0 && p.now-a.sent >= p.config.Timing.Resend {
		a.sent = p.now
		p.ask()
	}
	p.gossip(Heartbeat{})
	p.catchUp()
}

func (p *basic) Step(now time.Duration, e Envelope) {
	p.advance(now)
	from, votes := p.config.Membership.Column(e.From)
	if !votes || from == p.column {
		return
	}
	switch m := e.Message.(type) {
	case Prepare:
		p.onPrepare(from, m)
	case Promise:
		p.onPromise(from, m)
	case Accept:
		p.onAccept(from, m)
	case Accepted:
		p.onAccepted(from, m)
	case Refusal:
		p.onRefusal(m)
	case Decide:
		p.onDecide(from, m)
		p.overtaken()
	case Fetch:
		p.onFetch(from, m)
	case Heartbeat:
		p.hear(from, m.Decided)
	}
}

// begin starts an attempt for all own commands, at the first slot not known to be decided.
func (p *basic) begin() {
	if p.attempt.phase > 0 || p.now < p.after {
		return
	}
	own := p.unfinished()
	if len(own) == 0 {
		return
	}
	a := &p.attempt
	s := p.slot(p.decided + 1)
	*a = attempt{phase: 1, slot: s, ballot: Ballot{Number: s.promised.Number + 1, Replica: p.config.ID}, sent: p.now}
	for _, c := range own[:min(len(own), attemptMax)] {
		if !c.finished {
			a.entry = append(a.entry, c.value)
		}
	}
	p.stats.Attempts++
	p.promise(s, a.ballot)
	if s.voted {
		a.highest, a.entry = s.round, s.entry
	}
	p.ask()
	p.promised(p.column)
}

// ask sends the request of the running phase.
func (p *basic) ask() {
	a := &p.attempt
	if a.phase == 1 {
		p.broadcast(Prepare{Ballot: a.ballot, From: a.slot.number, One: true})
		return
	}
	p.broadcast(Accept{Round: Round{a.ballot, true}, Slot: a.slot.number, Entry: a.entry})
}

func (p *basic) promise(s *slot, ballot Ballot) {
	s.promised = ballot
	p.save(Record{
		Slot: s.number, Promised: ballot, Voted: s.voted, Round: s.round, Entry: s.entry, Known: true,
	}, true)
}

func (p *basic) onPrepare(from int, m Prepare) {
	s := p.slot(m.From)
	switch {
	case s == nil || !m.One:
	case s.decided:
		p.send(from, Decide{Slot: s.number, Round: s.round, Full: true, Entry: s.entry})
	case m.Ballot.Less(s.promised):
		p.send(from, Refusal{Slot: s.number, Promised: s.promised})
	default:
		if s.promised != m.Ballot {
			p.promise(s, m.Ballot)
			p.displaced(s)
		}
		reply := Promise{Ballot: m.Ballot, From: s.number}
		if s.voted {
			reply.Reports = []Report{{Slot: s.number, Round: s.round, Entry: s.entry}}
		}
		p.send(from, reply)
	}
}

func (p *basic) onPromise(from int, m Promise) {
	a := &p.attempt
	if a.phase != 1 || m.Ballot != a.ballot || m.From != a.slot.number {
		return
	}
	for _, r := range m.Reports {
		if r.Slot == m.From && a.highest.Compare(r.Round) < 0 {
			a.highest, a.entry = r.Round, r.Entry
		}
	}
	p.promised(from)
}

// promised counts a promise; with enough of them phase 2 begins.
func (p *basic) promised(column int) {
	a := &p.attempt
	a.promises.add(column)
	if a.promises.count() < p.config.Quorums.Prepare {
		return
	}
	a.phase, a.promises, a.sent = 2, 0, p.now
	p.vote(a.slot, Round{a.ballot, true}, a.entry)
	p.ask()
	p.accepted(p.column)
}

func (p *basic) onAccept(from int, m Accept) {
	s := p.slot(m.Slot)
	switch {
	case s == nil:
	case s.decided:
		p.send(from, Decide{Slot: s.number, Round: s.round, Full: true, Entry: s.entry})
	case m.Round.Ballot.Less(s.promised):
		p.send(from, Refusal{Slot: s.number, Promised: s.promised})
	default:
		if !s.voted || s.round != m.Round {
			s.promised = m.Round.Ballot
			p.vote(s, m.Round, m.Entry)
			p.displaced(s)
		}
		p.send(from, Accepted{Round: m.Round, Slot: s.number})
	}
}

func (p *basic) onAccepted(from int, m Accepted) {
	a := &p.attempt
	if a.phase == 2 && m.Round == (Round{a.ballot, true}) && m.Slot == a.slot.number {
		p.accepted(from)
	}
}

func (p *basic) accepted(column int) {
	a := &p.attempt
	a.promises.add(column)
	if a.promises.count() < p.config.Quorums.Accept {
		return
	}
	round, s, entry := Round{a.ballot, true}, a.slot, a.entry
	p.broadcast(Decide{Slot: s.number, Round: round})
	p.attempt, p.tries = attempt{}, 0
	p.decide(s, entry, false)
	p.begin()
}

func (p *basic) onRefusal(m Refusal) {
	a := &p.attempt
	if a.phase == 0 || m.Slot != a.slot.number || !a.ballot.Less(m.Promised) {
		return
	}
	if a.slot.promised.Less(m.Promised) {
		// Promising what others have promised costs nothing, and the next ballot will be above it.
		p.promise(a.slot, m.Promised)
	}
	p.retreat()
}

// displaced ends an attempt whose own acceptor has promised a higher ballot before phase 2.
func (p *basic) displaced(s *slot) {
	if a := &p.attempt; a.phase == 1 && a.slot == s && a.ballot.Less(s.promised) {
		p.retreat()
	}
}

// retreat gives the owner of the higher ballot time to finish.
func (p *basic) retreat() {
	p.stats.Refusals++
	p.attempt = attempt{}
	limit := p.config.Timing.Backoff << min(p.tries, backoffDoublings)
	p.tries++
	p.after = p.now + time.Duration(p.config.Rand.Int64N(int64(limit)))
}

// overtaken ends an attempt for a slot that others have decided, and goes on to the next. Whoever was held off by
// their ballots need not wait longer than at first.
func (p *basic) overtaken() {
	if a := &p.attempt; a.phase > 0 && a.slot.decided {
		p.attempt = attempt{}
	}
	if p.attempt.phase == 0 {
		if p.tries > 0 {
			p.tries, p.after = 0, p.now+time.Duration(p.config.Rand.Int64N(int64(p.config.Timing.Backoff)))
		}
		p.begin()
	}
}
