package sim

import (
	"github.com/264bc8cf/epaxos/epaxos"
)

// bounds checks, after each turn, that a replica keeps to its limits (docs/protocol.md, rule L5), by its
// own counters and by what it was seen to lead.
type bounds struct {
	hosts   []*hostBounds
	windows int // of all lives so far: no component may have more instances
}

// hostBounds is one life of a replica, in one epoch.
type hostBounds struct {
	limits  epaxos.Limits
	open    map[epaxos.InstanceID]*epaxos.Command // led in this life, and not executed here
	writers map[pointKey]int                      // of those, by key; adds do not count, since they commute
	last    epaxos.Stats
	tops    epaxos.Dependencies
}

func newBounds() *bounds { return &bounds{} }

// started begins a life, or an epoch in it.
func (b *bounds) started(host int, limits epaxos.Limits, m epaxos.Membership) {
	b.windows += limits.InFlight
	for host >= len(b.hosts) {
		b.hosts = append(b.hosts, nil)
	}
	b.hosts[host] = &hostBounds{
		limits: limits, open: map[epaxos.InstanceID]*epaxos.Command{}, writers: map[pointKey]int{},
		tops: make(epaxos.Dependencies, m.N()),
	}
}

// led takes a record that a replica saves: of its own instances, the first one with the command in
// phase PreAccepted at ballot 0 is the proposal.
func (b *bounds) led(host int, r *epaxos.Record) *Violation {
	h := b.hosts[host]
	own := r.ID.Replica == replicaOf(host)
	if h == nil || !own || r.Command == nil || h.open[r.ID] != nil {
		return nil
	}
	h.open[r.ID] = r.Command
	for key, mode := range modesOf(r.Command) {
		if n := h.writers[key]; n >= h.limits.InFlightPerKey {
			return found("boundedness", "r%d leads %d commands that write %q and are not executed; at most %d",
				r.ID.Replica, n+1, key.key, h.limits.InFlightPerKey)
		}
		if mode == epaxos.Write {
			h.writers[key]++
		}
	}
	if n := len(h.open); n > h.limits.InFlight {
		return found("boundedness", "r%d leads %d commands that are not executed, at most %d",
			r.ID.Replica, n, h.limits.InFlight)
	}
	return nil
}

// executed takes an instance that is executed at a replica, or passed as a no-op.
func (b *bounds) executed(host int, id epaxos.InstanceID) {
	h := b.hosts[host]
	command := h.open[id]
	if command == nil {
		return
	}
	delete(h.open, id)
	for key, mode := range modesOf(command) {
		if mode == epaxos.Write {
			h.writers[key]--
		}
	}
}

// modesOf is how a command changes its keys, apart from ranges: by an add or by any write.
func modesOf(command *epaxos.Command) map[pointKey]epaxos.Mode {
	keys := map[pointKey]epaxos.Mode{}
	for i := range command.Footprint {
		a := &command.Footprint[i]
		key := pointKey{a.Space, a.Key}
		if isWide(a) || a.Mode == epaxos.Read || a.Space == epaxos.SpaceSession || keys[key] == epaxos.Write {
			continue // what a request touches of its session has no window
		}
		keys[key] = a.Mode
	}
	return keys
}

// component checks the size of a strongly connected component.
func (b *bounds) component(size int) *Violation {
	if size > b.windows {
		return found("boundedness", "a component has %d instances, all windows together have %d", size, b.windows)
	}
	return nil
}

// turned takes the counters of a replica after a turn.
func (b *bounds) turned(host int, s epaxos.Stats, tops epaxos.Dependencies) *Violation {
	h, id := b.hosts[host], replicaOf(host)
	l := h.limits
	// What became a no-op waits again, beyond the limit of the queue.
	queue := l.Queue + l.InFlight*max(l.Gather, l.Pack)
	before := h.last
	h.last = s
	switch {
	case s.InFlight > l.InFlight:
		return found("boundedness", "r%d has %d instances in flight, at most %d", id, s.InFlight, l.InFlight)
	case s.Queued > queue:
		return found("boundedness", "r%d has %d requests in its queues, at most %d", id, s.Queued, queue)
	case s.InFlight == 0 && s.InFlightBytes != 0 || s.InFlightBytes < 0 || s.Queued < 0:
		return found("boundedness", "r%d accounts for %d instances of %d bytes in flight and %d requests queued",
			id, s.InFlight, s.InFlightBytes, s.Queued)
	case s.Led < before.Led || s.Led < s.Fast+s.Slow:
		return found("boundedness", "r%d has led %d instances, decided %d fast and %d slowly; before %d",
			id, s.Led, s.Fast, s.Slow, before.Led)
	case !tops.CoversAll(h.tops):
		return found("promise", "r%d knew of slots up to %v and now up to %v", id, h.tops, tops)
	}
	h.tops = tops
	return nil
}

// atRest checks a replica that has executed everything it has heard of: nothing may be left in its
// accounts.
func (b *bounds) atRest(host int, s epaxos.Stats) *Violation {
	h, id := b.hosts[host], replicaOf(host)
	if s.InFlight+s.InFlightBytes+s.Queued != 0 || len(h.open) != 0 {
		return found("boundedness", "r%d is at rest with %d instances of %d bytes in flight, %d queued; "+
			"%d led and not executed",
			id, s.InFlight, s.InFlightBytes, s.Queued, len(h.open))
	}
	return nil
}
