package paxos

import "time"

// The fast rounds of Fast Paxos: every replica votes for what reaches it, without being told by the leader.

// fast is what Fast Paxos needs beside multi.
type fast struct {
	open   bool // votes are allowed in the fast round of the promised ballot
	from   Slot // from here on
	free   Slot // the lowest slot that may be free to vote in
	values map[CommandID]Value
	voted  map[CommandID]Slot // own votes of this ballot for commands that are not done
	held   []Value            // waiting for a fast round
	lost   []Value            // own votes that another value has replaced
	active []*slot            // with votes and not decided, by first vote; may hold decided ones
}

// ballotBox holds the votes of the fast round of one ballot on a slot.
type ballotBox struct {
	ballot Ballot
	voters columns
	ids    []CommandID // by column
	filled bool
	at     time.Duration // of the first vote, or when it was last gone after
}

// heldMax bounds what waits for a fast round. Their proposers send again.
const heldMax = 4096

func newFast() *fast {
	return &fast{free: 1, values: map[CommandID]Value{}, voted: map[CommandID]Slot{}}
}

func (m *multi) stepFast(from int, message Message) {
	switch msg := message.(type) {
	case Propose:
		m.proposed(msg.Value)
	case Vote:
		m.onVote(from, msg)
	case Fill:
		m.onFill(from, msg)
	case Want:
		if v, known := m.fast.values[msg.ID]; known {
			m.send(from, Propose{Value: v})
		}
	}
}

// beginFast opens the fast round of the own term.
func (m *multi) beginFast() {
	m.openFast(Heartbeat{Ballot: m.ballot, Fast: m.next})
}

// openFast allows votes in the fast round of the promised ballot.
func (m *multi) openFast(h Heartbeat) {
	f := m.fast
	if h.Fast == 0 || f.open && f.from == h.Fast {
		return
	}
	f.open, f.from, f.free = true, h.Fast, h.Fast
	f.voted = map[CommandID]Slot{}
	for number := f.from; number <= Slot(len(m.slots)); number++ {
		if s := m.at(number); s.voted && !s.decided && s.round == m.round() {
			f.voted[s.entry.id()] = number // of an earlier life
		}
	}
	held := f.held
	f.held = nil
	for _, v := range held {
		m.proposed(v)
	}
	for _, c := range m.unfinished() {
		if !c.finished {
			m.submit(c)
		}
	}
}

// round is the fast one of the promised ballot.
func (m *multi) round() Round { return Round{Ballot: m.promised} }

// proposed votes for a command in the first slot where this replica has not voted.
func (m *multi) proposed(v Value) {
	f := m.fast
	if v.Command == nil {
		return
	}
	if _, known := f.values[v.ID]; !known {
		f.values[v.ID] = v
		m.complete(v)
	}
	if _, done := m.done[v.ID]; done {
		return
	}
	if !f.open {
		if len(f.held) < heldMax {
			f.held = append(f.held, v)
		}
		return
	}
	if number, voted := f.voted[v.ID]; voted {
		m.broadcast(Vote{Ballot: m.promised, Slot: number, ID: v.ID}) // somebody has not heard of it
		return
	}
	m.voteFast(m.freeSlot(), Entry{v})
}

// freeSlot is the first slot of the fast round in which this replica may vote.
func (m *multi) freeSlot() *slot {
	for {
		s := m.slot(m.fast.free)
		if m.free(s) {
			return s
		}
		m.fast.free++
	}
}

// free reports whether this replica may vote in the fast round on a slot: it has not voted there, nor in
// a later round, and need not.
func (m *multi) free(s *slot) bool {
	return !s.decided && (!s.voted || s.round.Compare(m.round()) < 0)
}

func (m *multi) voteFast(s *slot, entry Entry) {
	if len(entry) > 0 {
		m.fast.voted[entry.id()] = s.number
	}
	m.vote(s, m.round(), entry)
	m.broadcast(Vote{Ballot: m.promised, Slot: s.number, ID: entry.id()})
	m.count(s, m.column, entry.id())
}

func (m *multi) onVote(from int, msg Vote) {
	s := m.slot(msg.Slot)
	if s == nil || msg.Ballot != m.promised {
		return // of an older ballot, or the promise of a newer one was lost and is to come
	}
	if s.decided {
		return // whoever lacks the decision asks for it
	}
	m.count(s, from, msg.ID)
}

// count adds a vote of the fast round and sees whether it decides, or whether nothing can any more.
func (m *multi) count(s *slot, column int, id CommandID) {
	box := s.fast
	if box == nil || box.ballot != m.promised {
		box = &ballotBox{ballot: m.promised, ids: make([]CommandID, m.n), at: m.now}
		s.fast = box
		m.fast.active = append(m.fast.active, s)
	}
	box.voters.add(column)
	box.ids[column] = id
	if _, done := m.done[id]; done && m.leading && !box.filled {
		box.filled = true
		m.fill(s) // the others may not have voted here, and it stands in the way
	}
	m.judge(s)
}

// judge decides a slot with a fast quorum; a coordinator settles one that cannot get it any more.
func (m *multi) judge(s *slot) {
	box := s.fast
	if s.decided || box == nil || box.ballot != m.promised {
		return
	}
	id, most := box.leading()
	if most >= m.config.Quorums.Fast {
		if entry, known := m.entry(id, s); known {
			m.conclude(s, entry, true)
		}
		return
	}
	missing := 0
	for column := range m.n {
		if !box.voters.has(column) && !m.suspected[column] {
			missing++
		}
	}
	if m.leading && most+missing < m.config.Quorums.Fast {
		m.settle(s)
	}
}

// leading is the command with most votes, and how many.
func (b *ballotBox) leading() (id CommandID, most int) {
	for column, candidate := range b.ids {
		if !b.voters.has(column) {
			continue
		}
		count := 0
		for other := range b.ids {
			if b.voters.has(other) && b.ids[other] == candidate {
				count++
			}
		}
		if count > most {
			id, most = candidate, count
		}
	}
	return id, most
}

// entry finds the bytes of a command, or asks those who voted for it.
func (m *multi) entry(id CommandID, s *slot) (Entry, bool) {
	if id == (CommandID{}) {
		return nil, true
	}
	if v, known := m.fast.values[id]; known {
		return Entry{v}, true
	}
	for column := range m.n {
		if column != m.column && s.fast.voters.has(column) && s.fast.ids[column] == id {
			m.send(column, Want{ID: id})
		}
	}
	return nil, false
}

// complete goes on with what waited for the bytes of a command.
func (m *multi) complete(v Value) {
	for _, s := range m.fast.active {
		if s.decided || s.fast == nil {
			continue
		}
		for column, id := range s.fast.ids {
			if s.fast.voters.has(column) && id == v.ID {
				m.judge(s)
				break
			}
		}
	}
}

// settle is coordinated recovery: the votes of the fast round are the promises for the classic one, since
// those who sent them vote in it no more, and nobody else's round lies between.
func (m *multi) settle(s *slot) {
	box := s.fast
	if s.decided || box.voters.count() < m.config.Quorums.Prepare || s.voted && s.round.Compare(m.round()) > 0 {
		return
	}
	entry, known := m.settlement(s)
	if !known {
		return
	}
	m.stats.Collisions++
	m.offer(s, entry)
}

// settlement is what a fast quorum may have voted for; if there is no such thing, everything that was voted for
// and is of use, one after the other, so that a collision costs nobody its slot.
func (m *multi) settlement(s *slot) (settled Entry, known bool) {
	box := s.fast
	id, most := box.leading()
	if most >= m.config.Quorums.Fast+box.voters.count()-m.n {
		return m.entry(id, s)
	}
	for column, id := range box.ids {
		if _, done := m.done[id]; done || !box.voters.has(column) || id == (CommandID{}) || settled.holds(id) {
			continue
		}
		if entry, known := m.entry(id, s); known {
			settled = append(settled, entry...)
		}
	}
	return settled, true
}

// settle chooses among the entries that a quorum of phase 1 voted for in one fast round.
func settle(candidates []Entry, quorum, fast, n int) Entry {
	var best Entry
	most := 0
	for _, candidate := range candidates {
		count := 0
		for _, other := range candidates {
			if other.equal(candidate) {
				count++
			}
		}
		if count >= fast+quorum-n {
			return candidate
		}
		if count > most && len(candidate) > 0 {
			best, most = candidate, count
		}
	}
	return best
}

// forgetVote makes room for another value where this replica has voted in the fast round. The command it
// voted for gets its vote in a later slot.
func (m *multi) forgetVote(s *slot, entry Entry) {
	if m.fast == nil || !s.voted || s.round.Classic || len(s.entry) == 0 || entry.holds(s.entry.id()) {
		return
	}
	id := s.entry.id()
	if m.fast.voted[id] == s.number {
		delete(m.fast.voted, id)
	}
	if _, done := m.done[id]; !done {
		m.fast.lost = append(m.fast.lost, s.entry[0])
	}
}

// proposeLost votes again for what has lost its slot.
func (m *multi) proposeLost() {
	lost := m.fast.lost
	m.fast.lost = nil
	for _, v := range lost {
		if _, voted := m.fast.voted[v.ID]; !voted && m.fast.open {
			m.proposed(v)
		}
	}
}

// fill has everybody vote on a slot: for nothing, if for nothing else.
func (m *multi) fill(s *slot) {
	m.broadcast(Fill{Ballot: m.promised, Slot: s.number})
	m.fillUp(s.number)
}

func (m *multi) onFill(from int, msg Fill) {
	s := m.slot(msg.Slot)
	switch {
	case s == nil || msg.Ballot != m.promised:
	case s.decided:
		m.send(from, Decide{Slot: s.number, Round: s.round, Full: true, Entry: s.entry})
	case s.voted && s.round == m.round():
		m.send(from, Vote{Ballot: m.promised, Slot: s.number, ID: s.entry.id()}) // the first was lost
	default:
		m.fillUp(msg.Slot)
	}
}

func (m *multi) fillUp(to Slot) {
	f := m.fast
	if !f.open {
		return
	}
	for s := m.freeSlot(); s.number <= to; s = m.freeSlot() {
		m.voteFast(s, nil)
	}
}

// settleOld goes after slots that have waited too long for votes.
func (m *multi) settleOld() {
	for _, s := range m.fast.active {
		if s.decided || s.fast.ballot != m.promised || m.now-s.fast.at < m.config.Timing.Patience {
			continue
		}
		s.fast.at = m.now
		m.fill(s)
		m.settle(s)
	}
}

// settleAll looks again at what is open, since fewer votes are to be expected.
func (m *multi) settleAll() {
	for _, s := range m.fast.active {
		m.judge(s)
	}
}
