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
	return true
}

// admit leads a command or puts it where it waits for the first thing it lacks.
func (r *Replica) admit(p *pending) {
	a := &r.admission
	if !a.room() {
		a.enqueue(p)
		a.queue.push(p)
		return
	}
	if key := a.blocking(p.command.Footprint); key != nil {
		a.enqueue(p)
		key.queue.push(p)
		return
	}
	a.take(p)
	a.reserve(p.command)
	a.batch = append(a.batch, p)
}

// leadPending leads a command together with what the queue of its key can add to it.
func (r *Replica) leadPending(p *pending, key *contended) {
	a := &r.admission
	a.take(p)
	command, proposals := p.command, p.proposals
	if key != nil {
		command, proposals = r.gather(command, proposals, key)
	}
	a.reserve(command)
	r.lead(command, proposals)
}

// leadBatch leads what was admitted in this turn. Commands on one cold key each share instances, up
// to Limits.Pack: all that an instance costs, in messages, votes and records, is then paid once for
// many. A key is cold if everything known to interfere is executed here; a hot one stays apart, or
// its conflicts would become those of all.
func (r *Replica) leadBatch() {
	batch := r.admission.batch
	r.admission.batch = nil
	var packed pack
	for _, p := range batch {
		if len(batch) == 1 || r.admission.limits.Pack == 1 || !r.cold(p.command) {
			r.lead(p.command, p.proposals)
			continue
		}
		if !packed.fits(p.command, r.admission.limits.Pack) {
			r.lead(packed.command, packed.proposals)
			packed = pack{}
		}
		packed.add(p)
	}
	if packed.command != nil {
		r.lead(packed.command, packed.proposals)
	}
}

// pack is a command that grows.
type pack struct {
	command   *Command
	proposals []ProposalID
	bytes     int
}

func (k *pack) fits(command *Command, most int) bool {
	return k.command == nil || k.bytes+command.Size() <= gatherBytesMax &&
		len(k.command.Requests)+len(command.Requests) <= most
}

func (k *pack) add(p *pending) {
	if k.command == nil {
		k.command = &Command{}
	}
	k.command.Requests = append(k.command.Requests, p.command.Requests...)
	k.command.Footprint = append(k.command.Footprint, p.command.Footprint...)
	k.proposals = append(k.proposals, p.proposals...)
	k.bytes += p.command.Size()
}

// cold reports whether a command is on one key on which nothing is under way.
func (r *Replica) cold(command *Command) bool {
	if !command.onePoint() {
		return false
	}
	clear(r.scratch)
	r.index.Raise(command.Footprint, r.scratch)
	return r.passed.CoversAll(r.scratch)
}

// gather unites a command on one key with those that wait for the same key and no other. Hot and
// cold keys are never mixed: a mixed instance would spread the conflicts of one to the other.
func (r *Replica) gather(command *Command, proposals []ProposalID, key *contended) (*Command, []ProposalID) {
	if !command.onePoint() {
		return command, proposals
	}
	gathered := &Command{
		Requests:  command.Requests[:len(command.Requests):len(command.Requests)],
		Footprint: Footprint{command.Footprint[0]},
	}
	bytes := command.Size()
	for len(gathered.Requests) < r.admission.limits.Gather {
		next := key.queue.head()
		if next == nil {
			break
		}
		if bytes += next.command.Size(); bytes > gatherBytesMax || !next.command.onePoint() ||
			next.command.Footprint[0].Key != gathered.Footprint[0].Key ||
			next.command.Footprint[0].Space != gathered.Footprint[0].Space {
			break
		}
		key.queue.drop()
		r.admission.take(next)
		gathered.Requests = append(gathered.Requests, next.command.Requests...)
		proposals = append(proposals[:len(proposals):len(proposals)], next.proposals...)
		if mode := next.command.Footprint[0].Mode; !mode.CommutesWith(gathered.Footprint[0].Mode) {
			gathered.Footprint[0].Mode = Write
		}
	}
	return gathered, proposals
}

func (c *Command) onePoint() bool {
	return len(c.Footprint) == 1 && !c.Footprint[0].Range && c.Footprint[0].Mode != Everything
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
	a.inFlightBytes -= command.Size()
	for i := range command.Footprint {
		access := &command.Footprint[i]
		if access.Range || access.Mode == Everything {
			continue
		}
		name := pointKey{access.Space, access.Key}
		key := a.keys[name]
		if access.Mode == Read {
			key.readers--
		} else {
			key.writers--
		}
		r.serveKey(key)
		if key.readers+key.writers == 0 && key.queue.head() == nil {
			delete(a.keys, name)
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
			r.leadPending(next, key)
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
		return
	}
	p := &pending{command: in.command, proposals: in.proposals}
	in.proposals = nil
	r.stats.Reproposed += uint64(len(p.proposals))
	r.admission.queued += len(p.proposals)
	r.admit(p)
}
