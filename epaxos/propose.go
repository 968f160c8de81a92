package epaxos

import (
	"errors"
	"time"
)

// Admission: how many commands this replica leads at a time (docs/protocol.md, L). The bound on
// own instances that are proposed and not yet executed here bounds every strongly connected
// component by the number of voters times the bound, and ends the livelock of components that
// grow for ever ("There Is More Consensus in Egalitarian Parliaments", SOSP 2013, section 4.9).

// ErrOverloaded: the queue of requests waiting for room is full. The request was not proposed.
var ErrOverloaded = errors.New("too many requests wait for room; try again later")

// gatherMax bounds Limits.Gather and Limits.Pack: a decoder takes twice as many requests in a command.
const gatherMax = 512

// gatherBytesMax bounds the requests that one instance takes from the queue of a key.
const gatherBytesMax = 64 << 10

// pending is a command that waits for room.
type pending struct {
	command   *Command
	proposals []ProposalID
	cancelled bool
	line      *waitingLine // where it waits
}

// Propose asks for a request to be executed. It is led at once if there is room, else queued; if
// the queue is full the error is ErrOverloaded and nothing has happened.
func (r *Replica) Propose(now time.Duration, id ProposalID, request Request, footprint Footprint) error {
	r.advance(now)
	if r.admission.queued >= r.admission.limits.Queue {
		r.took(BranchOverloaded)
		return ErrOverloaded
	}
	command := &Command{Requests: []Request{request}, Footprint: footprint}
	p := &pending{command: command, proposals: []ProposalID{id}}
	r.admission.queued++
	r.admit(p)
	return nil
}

// Cancel drops a proposal that was never part of an instance, or whose instances all became
// no-ops. It reports whether it did; then the request has not been and will not be applied.
func (r *Replica) Cancel(id ProposalID) bool {
	p := r.admission.byProposal[id]
	if p == nil {
		return false
	}
	delete(r.admission.byProposal, id)
	p.command = nil
	p.line.cancel(p)
	r.admission.queued--
	r.took(BranchCancelled)
	return true
}

// admit leads a command or puts it where it waits for the first thing it lacks.
func (r *Replica) admit(p *pending) {
	a := &r.admission
	if !a.room() {
		r.took(BranchQueued)
		a.enqueue(p)
		a.queue.push(p)
		return
	}
	if key := a.blocking(p.command.Footprint); key != nil {
		r.took(BranchQueuedKey)
		a.enqueue(p)
		key.queue.push(p)
		return
	}
	a.take(p)
	a.reserve(p.command)
	a.batch = append(a.batch, p)
}

// leadWaiting leads the first command that waited for a key together with those behind it that wait for
// the same key and no other (rule L6).
func (r *Replica) leadWaiting(first *pending, key *contended) {
	r.admission.take(first)
	r.admission.reserve(first.command)
	g := newGroup(first)
	for next := key.queue.head(); next != nil && first.command.onePoint(); next = key.queue.head() {
		if !next.command.onePoint() || next.command.key() != first.command.key() ||
			!g.add(next, r.admission.limits.Gather) {
			break
		}
		key.queue.drop()
		r.admission.take(next)
		r.admission.reserve(next.command)
		r.took(BranchGathered)
	}
	r.leadGroup(g)
}

// leadBatch leads what was admitted in this turn, in few instances: all that an instance costs, in
// messages, votes and records, is then paid once for many requests. Commands on one cold key each are
// packed together; a key is cold if everything known to interfere is executed here. Commands on the
// same hot key form an instance of their own: mixed with others, its conflicts would become theirs.
func (r *Replica) leadBatch() {
	batch := r.admission.batch
	if len(batch) == 0 {
		return
	}
	r.admission.batch = nil
	var groups []*group
	var packed *group
	hot := map[pointKey]*group{}
	for _, p := range batch {
		switch {
		case len(batch) == 1 || !p.command.onePoint():
			groups = append(groups, newGroup(p))
		case r.cold(p.command):
			if packed.add(p, r.admission.limits.Pack) {
				r.took(BranchPacked)
				continue
			}
			packed = newGroup(p)
			groups = append(groups, packed)
		default:
			key := p.command.key()
			if hot[key].add(p, r.admission.limits.Gather) {
				r.took(BranchGatheredHot)
				continue
			}
			hot[key] = newGroup(p)
			groups = append(groups, hot[key])
		}
	}
	for _, g := range groups {
		r.leadGroup(g)
	}
}

// leadGroup leads commands as one.
func (r *Replica) leadGroup(g *group) {
	command, proposals := g.members[0].command, g.members[0].proposals
	if len(g.members) > 1 {
		command, proposals = g.union()
		r.admission.reserve(command) // first, or the keys would be forgotten between
		for _, p := range g.members {
			r.admission.release(p.command)
		}
	}
	r.lead(command, proposals)
}

// group is commands that become one.
type group struct {
	members  []*pending
	requests int
	bytes    int
}

func newGroup(first *pending) *group {
	return &group{
		members: []*pending{first}, requests: len(first.command.Requests), bytes: first.command.Size(),
	}
}

// add takes one more command, unless there is no group or that would exceed a limit.
func (g *group) add(p *pending, most int) bool {
	if g == nil || g.requests+len(p.command.Requests) > most || g.bytes+p.command.Size() > gatherBytesMax {
		return false
	}
	g.members = append(g.members, p)
	g.requests += len(p.command.Requests)
	g.bytes += p.command.Size()
	return true
}

// union is a command with the requests of all members, in their order, and each key once.
func (g *group) union() (*Command, []ProposalID) {
	command := &Command{Requests: make([]Request, 0, g.requests)}
	proposals := make([]ProposalID, 0, g.requests)
	places := make(map[pointKey]int, len(g.members))
	for _, p := range g.members {
		command.Requests = append(command.Requests, p.command.Requests...)
		proposals = append(proposals, p.proposals...)
		for _, access := range p.command.Footprint {
			key := pointKey{access.Space, access.Key}
			at, known := places[key]
			switch {
			case !known:
				places[key] = len(command.Footprint)
				command.Footprint = append(command.Footprint, access)
			case !access.Mode.CommutesWith(command.Footprint[at].Mode):
				command.Footprint[at].Mode = Write
			}
		}
	}
	return command, proposals
}

// onePoint reports whether a command is on one key, beside those of its session, so that it may share an instance with
// others. One that opens a session never does, though it has the footprint of its old instance when it is proposed
// again: its new one names the session (rule O4).
func (c *Command) onePoint() bool {
	for i := range c.Footprint {
		a := &c.Footprint[i]
		if a.Range || a.Mode == Everything || i > 0 && a.Space != SpaceSession {
			return false
		}
	}
	return len(c.Footprint) > 0 && !c.opens()
}

// key is the key of a command on one point. Its session's come behind.
func (c *Command) key() pointKey { return pointKey{c.Footprint[0].Space, c.Footprint[0].Key} }

// cold reports whether nothing is under way on the key of a command on one point.
func (r *Replica) cold(command *Command) bool {
	clear(r.scratch)
	// What is under way of its own session makes a key no hotter: others do not wait for that.
	r.index.Raise(command.Footprint[:1], r.scratch)
	return r.passed.CoversAll(r.scratch)
}

// Executed tells that the instances were executed here, or passed as no-ops, which makes room.
func (r *Replica) Executed(now time.Duration, ids []InstanceID) {
	r.advance(now)
	for _, id := range ids {
		in := r.known(id)
		if in == nil || in.executed {
			continue
		}
		in.executed = true
		r.pass(in.column)
		if in.column == r.column && in.led {
			r.leave(in.command)
		}
	}
	r.hold()
	r.serveQueue()
}

// pass moves the executed prefix of a column.
func (r *Replica) pass(column int) {
	for {
		next := r.instances.at(column, r.passed[column]+1)
		if next == nil || !next.executed {
			return
		}
		r.passed[column]++
	}
}

// leave ends the flight of a command and lets those that waited for its keys follow.
func (r *Replica) leave(command *Command) {
	a := &r.admission
	a.inFlight--
	a.release(command)
	for i := range command.Footprint {
		name := pointKey{command.Footprint[i].Space, command.Footprint[i].Key}
		if key := a.keys[name]; key != nil {
			r.serveKey(key)
			a.forget(name, key)
		}
	}
}

// serveKey leads what waited for a key, as far as there is room.
func (r *Replica) serveKey(key *contended) {
	a := &r.admission
	for next := key.queue.head(); next != nil; next = key.queue.head() {
		blocking := a.blocking(next.command.Footprint)
		if blocking == key {
			return
		}
		key.queue.drop()
		if blocking != nil || !a.room() {
			r.admit(next)
		} else {
			r.leadWaiting(next, key)
		}
	}
}

// serveQueue leads what waited for room.
func (r *Replica) serveQueue() {
	a := &r.admission
	for a.room() {
		next := a.queue.head()
		if next == nil {
			return
		}
		a.queue.drop()
		r.admit(next)
	}
}

// proposeAgain gives the requests of an own instance that became a no-op another instance. The
// no-op executes nothing, so nothing can happen twice.
func (r *Replica) proposeAgain(in *instance) {
	if in.column != r.column {
		return
	}
	r.stats.NoOps++
	if in.proposals == nil {
		r.took(BranchNoOpForgotten)
		return
	}
	r.took(BranchProposedAgain)
	p := &pending{command: in.command, proposals: in.proposals}
	in.proposals = nil
	r.stats.Reproposed += uint64(len(p.proposals))
	r.admission.queued += len(p.proposals)
	r.admit(p)
}
