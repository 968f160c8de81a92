package epaxos

import "slices"

// The accounts of admission: what is in flight, by number, bytes and key, and who waits for room.

// pointKey names a key of a point access.
type pointKey struct {
	space Space
	key   string
}

// contended is a key of own instances in flight.
type contended struct {
	inFlight [Everything]int // own instances, by mode
	queue    waitingLine
}

// against counts the instances in flight that do not commute with a mode.
func (c *contended) against(mode Mode) int {
	busy := 0
	for other := Read; other < Everything; other++ {
		if !mode.CommutesWith(other) {
			busy += c.inFlight[other]
		}
	}
	return busy
}

// waitingLine is a queue in which some have been cancelled. They leave it at the latest when they are more
// than half of it: on a replica that can decide nothing, clients come and give up for ever.
type waitingLine struct {
	entries   []*pending
	cancelled int
}

func (l *waitingLine) push(p *pending) {
	p.line = l
	l.entries = append(l.entries, p)
}

// head is the first that still waits, or nil.
func (l *waitingLine) head() *pending {
	for len(l.entries) > 0 && l.entries[0].cancelled {
		l.drop()
		l.cancelled--
	}
	if len(l.entries) == 0 {
		return nil
	}
	return l.entries[0]
}

// drop removes the first.
func (l *waitingLine) drop() {
	l.entries[0] = nil
	if l.entries = l.entries[1:]; len(l.entries) == 0 {
		l.entries = nil
	}
}

func (l *waitingLine) cancel(p *pending) {
	p.cancelled = true
	if l.cancelled++; 2*l.cancelled > len(l.entries) {
		l.entries = slices.DeleteFunc(l.entries, func(p *pending) bool { return p.cancelled })
		l.cancelled = 0
	}
}

type admission struct {
	limits        Limits
	held          bool // a Reconfigure is known whose fate is not
	queued        int
	inFlight      int
	inFlightBytes int
	keys          map[pointKey]*contended
	queue         waitingLine             // waiting for room of any kind, in order of arrival
	batch         []*pending              // admitted in this turn, to be led at its end
	byProposal    map[ProposalID]*pending // what can be cancelled
}

func newAdmission(limits Limits) admission {
	return admission{limits: limits, keys: map[pointKey]*contended{}, byProposal: map[ProposalID]*pending{}}
}

func (a *admission) enqueue(p *pending) {
	if len(p.proposals) == 1 {
		a.byProposal[p.proposals[0]] = p
	}
}

// room reports whether one more instance may be in flight. A single command is always admitted,
// however large.
func (a *admission) room() bool {
	if a.held {
		return false
	}
	instances := a.inFlight + len(a.batch)
	return instances == 0 || instances < a.limits.InFlight && a.inFlightBytes < a.limits.InFlightBytes
}

// blocking finds a key whose window is full for this footprint.
func (a *admission) blocking(footprint Footprint) *contended {
	for i := range footprint {
		access := &footprint[i]
		if !access.contends() {
			continue
		}
		key := a.keys[pointKey{access.Space, access.Key}]
		if key == nil {
			continue
		}
		if key.against(access.Mode) >= a.limits.InFlightPerKey {
			return key
		}
	}
	return nil
}

// contends reports whether commands in flight on the same key are limited. Those of one session are not: what they
// have in common is only that the session exists, and one that changes the session would wait until the client is idle.
func (a *Access) contends() bool { return !a.Range && a.Mode != Everything && a.Space != SpaceSession }

// take removes a command from the accounts of the queue.
func (a *admission) take(p *pending) {
	a.queued -= len(p.proposals)
	if len(p.proposals) == 1 {
		delete(a.byProposal, p.proposals[0])
	}
}

// reserve counts the keys and bytes of a command as in flight.
func (a *admission) reserve(command *Command) {
	a.inFlightBytes += command.Size()
	for i := range command.Footprint {
		access := &command.Footprint[i]
		if !access.contends() {
			continue
		}
		name := pointKey{access.Space, access.Key}
		key := a.keys[name]
		if key == nil {
			key = &contended{}
			a.keys[name] = key
		}
		key.inFlight[access.Mode]++
	}
}

// release undoes reserve. A key that nobody uses any more is forgotten, unless some wait for it.
func (a *admission) release(command *Command) {
	a.inFlightBytes -= command.Size()
	for i := range command.Footprint {
		access := &command.Footprint[i]
		if !access.contends() {
			continue
		}
		name := pointKey{access.Space, access.Key}
		key := a.keys[name]
		key.inFlight[access.Mode]--
		a.forget(name, key)
	}
}

func (a *admission) forget(name pointKey, key *contended) {
	if key.against(Write) == 0 && key.queue.head() == nil {
		delete(a.keys, name)
	}
}
