package epaxos_test

import (
	"fmt"

	"github.com/264bc8cf/epaxos/epaxos"
)

// disk is what a replica finds after a crash: what was synced, and perhaps the first of the rest. It
// also says whether a message may leave: nothing may that it does not vouch for (rules S1 to S3).
type disk struct {
	synced, lazy []epaxos.Record
	state        map[epaxos.InstanceID]epaxos.Record // synced, instance by instance
}

func newDisk() *disk { return &disk{state: map[epaxos.InstanceID]epaxos.Record{}} }

// save takes the records of a turn. It returns which invariant they break, or nothing.
func (d *disk) save(records []epaxos.Record, sync bool) string {
	d.lazy = append(d.lazy, records...)
	if !sync {
		return ""
	}
	return d.sync(len(d.lazy))
}

// crash loses all but the first of what was not synced.
func (d *disk) crash(kept int) string {
	broken := d.sync(kept)
	d.lazy = nil
	return broken
}

func (d *disk) sync(count int) string {
	broken := ""
	for _, r := range d.lazy[:count] {
		if why := d.merge(r); why != "" && broken == "" {
			broken = why
		}
	}
	d.synced = append(d.synced, d.lazy[:count]...)
	d.lazy = d.lazy[count:]
	return broken
}

func (d *disk) merge(r epaxos.Record) string {
	old, known := d.state[r.ID]
	if r.Command == nil {
		r.Command = old.Command
	}
	if r.Initial == nil {
		r.Initial = old.Initial
	}
	d.state[r.ID] = r
	switch {
	case r.Promised.Less(r.Accepted):
		return fmt.Sprintf("promise: %v accepted at %v above its promise %v", r.ID, r.Accepted, r.Promised)
	case known && (r.Promised.Less(old.Promised) || r.Accepted.Less(old.Accepted) || r.Phase < old.Phase):
		return fmt.Sprintf("promise: %v went back from %v @%v/%v to %v @%v/%v", r.ID,
			old.Phase, old.Promised, old.Accepted, r.Phase, r.Promised, r.Accepted)
	case old.Phase == epaxos.Committed && (r.NoOp != old.NoOp || !r.Deps.Equal(old.Deps)):
		return fmt.Sprintf("agreement: %v was committed and has changed", r.ID)
	case old.Initial != nil && !r.Initial.Equal(old.Initial):
		return fmt.Sprintf("one proposal: %v has other initial dependencies", r.ID)
	}
	return ""
}

// forbids says why a message must not leave yet, or nothing.
func (d *disk) forbids(m epaxos.Message) string {
	r := d.state[epaxos.InstanceOf(m)]
	durable := true
	switch m := m.(type) {
	case epaxos.PreAccept:
		durable = r.Phase >= epaxos.PreAccepted && r.Command != nil && r.Initial.Equal(m.Initial)
	case epaxos.PreAcceptReply:
		durable = r.Phase >= epaxos.PreAccepted && r.Command != nil && r.Deps.Equal(m.Deps)
	case epaxos.Accept:
		durable = r.Phase >= epaxos.Accepted && !r.Accepted.Less(m.Ballot) && r.Deps.Equal(m.Deps)
	case epaxos.AcceptReply:
		durable = r.Phase >= epaxos.Accepted && !r.Accepted.Less(m.Ballot)
	case epaxos.Recover:
		durable = !r.Promised.Less(m.Ballot)
	case epaxos.RecoverReply:
		durable = r.Promised == m.Ballot && r.Phase == m.Phase && r.Accepted == m.Accepted &&
			r.Deps.Equal(m.Deps) && r.Initial.Equal(m.Initial)
	case epaxos.ValidateReply:
		durable = !r.Promised.Less(m.Ballot) && r.Initial != nil && r.Command != nil
	}
	if durable {
		return ""
	}
	return fmt.Sprintf("durability: %T of %v is not what the disk holds: %v @%v/%v", m, r.ID, r.Phase, r.Promised, r.Accepted)
}

// forbidsAnswer is rule S2: under the optimised rules nobody hears of a fast commit that is not durable.
func (d *disk) forbidsAnswer(m epaxos.Membership, l epaxos.Led) string {
	if l.Fast && !m.Baseline() && d.state[l.ID].Phase != epaxos.Committed {
		return fmt.Sprintf("durability: the fast commit of %v is told and not on disk", l.ID)
	}
	return ""
}

// attempts is what each ballot of each instance has proposed, in the lives of all replicas: one value
// at most (rules P1 and A3).
type attempts map[attempt]string

type attempt struct {
	id     epaxos.InstanceID
	ballot epaxos.Ballot
	first  bool // PreAccept and Validate, which carry the initial proposal
}

// watch returns how a message breaks the rule, or nothing.
func (a attempts) watch(m epaxos.Message) string {
	switch m := m.(type) {
	case epaxos.PreAccept:
		return a.once(attempt{id: m.ID, first: true}, fmt.Sprint(m.Command, m.Initial))
	case epaxos.Validate:
		return a.once(attempt{id: m.ID, first: true}, fmt.Sprint(m.Command, m.Initial))
	case epaxos.Accept:
		return a.once(attempt{id: m.ID, ballot: m.Ballot}, fmt.Sprint(m.Value, m.Deps))
	}
	return ""
}

func (a attempts) once(at attempt, value string) string {
	if before, seen := a[at]; seen && before != value {
		return fmt.Sprintf("ballot: %v proposes %s at %v after %s", at.id, value, at.ballot, before)
	}
	a[at] = value
	return ""
}
