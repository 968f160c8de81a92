package paxos

import "time"

// Who leads: suspicion, ballots, phase 1 for the whole log.

// campaign stands for leader when nobody who comes first in the succession seems able to.
func (m *multi) campaign() {
	if m.leading || m.standing {
		if m.standing && m.now-m.since >= 4*m.config.Timing.Resend {
			m.stand() // somebody must have promised more, and the refusal was lost
		}
		return
	}
	if m.leader != m.column && !m.suspected[m.leader] {
		return
	}
	wait := time.Duration(m.turn()) * m.config.Timing.Stagger
	if m.now-m.since >= wait {
		m.stand()
	}
}

// turn counts those before this replica in the succession that seem to live.
func (m *multi) turn() int {
	before := 0
	for _, id := range m.config.Succession {
		column, _ := m.config.Membership.Column(id)
		switch {
		case column == m.column:
			return before
		case column != m.leader && !m.suspected[column]:
			before++
		}
	}
	return before
}

func (m *multi) stand() {
	m.stats.Elections++
	m.standing, m.leading = true, false
	m.ballot = Ballot{Number: m.promised.Number + 1, Replica: m.config.ID}
	m.adopt(m.ballot)
	m.from, m.asked, m.since = m.decided+1, m.now, m.now
	m.promises, m.reports = 0, nil
	m.broadcast(Prepare{Ballot: m.ballot, From: m.from})
	m.promisedBy(m.column, m.known(m.from))
}

// adopt promises a ballot for the whole log.
func (m *multi) adopt(ballot Ballot) {
	m.promised = ballot
	m.leader, _ = m.config.Membership.Column(ballot.Replica)
	m.save(Record{Promised: ballot}, true)
}

// refuses tells whether a ballot is too low, and else follows it.
func (m *multi) refuses(from int, ballot Ballot) bool {
	if ballot.Less(m.promised) {
		m.send(from, Refusal{Promised: m.promised})
		return true
	}
	if ballot != m.promised {
		m.follow(ballot)
	}
	return false
}

// follow gives way to a higher ballot.
func (m *multi) follow(ballot Ballot) {
	m.leading, m.standing = false, false
	m.since = m.now
	m.clear()
	m.adopt(ballot)
	if m.fast != nil {
		m.fast.open = false
	}
}

// clear forgets what an earlier term had under way.
func (m *multi) clear() {
	for _, s := range m.open {
		s.mine = false
	}
	m.queue, m.open, m.flight = nil, nil, 0
	m.placed = map[CommandID]struct{}{}
}

func (m *multi) onRefusal(msg Refusal) {
	if (m.leading || m.standing) && m.ballot.Less(msg.Promised) {
		m.stats.Refusals++
		m.follow(msg.Promised)
	}
}

func (m *multi) onHeartbeat(from int, msg Heartbeat) {
	m.hear(from, msg.Decided)
	if msg.Ballot.IsZero() || m.refuses(from, msg.Ballot) {
		return
	}
	if m.fast != nil {
		m.openFast(msg)
		return
	}
	if m.told == msg.Ballot {
		return
	}
	m.told = msg.Ballot
	for _, c := range m.unfinished() {
		if !c.finished {
			m.submit(c)
		}
	}
}

// known reports all votes and decisions from a slot on.
func (m *multi) known(from Slot) []Report {
	var reports []Report
	for number := from; number <= Slot(len(m.slots)); number++ {
		if s := m.at(number); s.voted || s.decided {
			reports = append(reports, Report{Slot: number, Round: s.round, Entry: s.entry, Decided: s.decided})
		}
	}
	return reports
}

func (m *multi) onPrepare(from int, msg Prepare) {
	if msg.One || msg.From == 0 || m.refuses(from, msg.Ballot) {
		return
	}
	m.send(from, Promise{Ballot: msg.Ballot, From: msg.From, Reports: m.known(msg.From)})
}

func (m *multi) onPromise(from int, msg Promise) {
	if m.standing && msg.Ballot == m.ballot && msg.From == m.from && !m.promises.has(from) {
		m.promisedBy(from, msg.Reports)
	}
}

func (m *multi) promisedBy(column int, reports []Report) {
	m.promises.add(column)
	for _, r := range reports {
		m.reports = append(m.reports, report{column, r})
	}
	if m.promises.count() >= m.config.Quorums.Prepare {
		m.win()
	}
}

// win begins the term: what may have been decided is proposed again, gaps become no-ops.
func (m *multi) win() {
	m.standing, m.leading = false, true
	m.clear()
	bySlot := make([][]report, 0)
	for _, r := range m.reports {
		if r.Slot < m.from || r.Slot >= m.from+slotsAhead {
			continue
		}
		for Slot(len(bySlot)) <= r.Slot-m.from {
			bySlot = append(bySlot, nil)
		}
		bySlot[r.Slot-m.from] = append(bySlot[r.Slot-m.from], r)
	}
	m.reports = nil
	m.next = m.from + Slot(len(bySlot))
	for i, reports := range bySlot {
		s := m.slot(m.from + Slot(i))
		for _, r := range reports {
			if r.Decided {
				m.conclude(s, r.Entry, false)
			}
		}
		if !s.decided {
			m.offer(s, m.choose(reports))
		}
	}
	if m.fast != nil {
		m.beginFast()
	}
	m.gossiped = m.now
	h := m.heartbeat()
	h.Decided = m.decided
	m.broadcast(h)
	for _, c := range m.unfinished() {
		if !c.finished {
			m.submit(c)
		}
	}
}

// choose is the value that may have been decided below the ballot, else any: that of the highest
// round, and of a fast round the one that a fast quorum may have voted for.
func (m *multi) choose(reports []report) Entry {
	var highest Round
	for _, r := range reports {
		if r.Round.Compare(highest) > 0 {
			highest = r.Round
		}
	}
	var candidates []Entry
	for _, r := range reports {
		if r.Round == highest {
			candidates = append(candidates, r.Entry)
		}
	}
	switch {
	case len(candidates) == 0:
		return nil
	case highest.Classic:
		return candidates[0]
	default:
		return settle(candidates, m.promises.count(), m.config.Quorums.Fast, m.n)
	}
}
