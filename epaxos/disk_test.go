package epaxos_test

import (
	"fmt"
	"math/bits"

	"github.com/264bc8cf/epaxos/epaxos"
)

// violation is how every checker of an invariant fails, so that whoever breaks the code on purpose
// (internal/mutants) can tell which one noticed.
func violation(of, format string, args ...any) string {
	return fmt.Sprintf("violation of %s: %s", of, fmt.Sprintf(format, args...))
}

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
		return violation("promise", "%v accepted at %v above its promise %v", r.ID, r.Accepted, r.Promised)
	case known && (r.Promised.Less(old.Promised) || r.Accepted.Less(old.Accepted) || r.Phase < old.Phase):
		return violation("promise", "%v went back from %v @%v/%v to %v @%v/%v", r.ID,
			old.Phase, old.Promised, old.Accepted, r.Phase, r.Promised, r.Accepted)
	case old.Phase == epaxos.Committed && (r.NoOp != old.NoOp || !r.Deps.Equal(old.Deps)):
		return violation("agreement", "%v was committed and has changed", r.ID)
	case old.Phase == epaxos.Initial && r.Phase == epaxos.PreAccepted && !r.Promised.IsZero():
		return violation("promise", "%v is pre-accepted after the promise %v", r.ID, r.Promised)
	case old.Phase == epaxos.Accepted && old.Accepted == r.Accepted && (r.NoOp != old.NoOp || !r.Deps.Equal(old.Deps)):
		return violation("commit-votes", "%v has another value at ballot %v than was accepted", r.ID, r.Accepted)
	case old.Initial != nil && !r.Initial.Equal(old.Initial):
		return violation("commit-votes", "%v has other initial dependencies", r.ID)
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
	return violation("durability", "%T of %v is not what the disk holds: %v @%v/%v", m,
		r.ID, r.Phase, r.Promised, r.Accepted)
}

// forbidsAnswer is rule S2: under the optimised rules nobody hears of a fast commit that is not durable.
func (d *disk) forbidsAnswer(m epaxos.Membership, l epaxos.Led) string {
	if l.Fast && m.N() < 2*m.E+m.F+1 && d.state[l.ID].Phase != epaxos.Committed {
		return violation("durability", "the fast commit of %v is told and not on disk", l.ID)
	}
	return ""
}

// ledger is what all replicas have done in all their lives: enough to say of each proposal and each
// decision whether a quorum stands behind it.
type ledger struct {
	members  epaxos.Membership
	proposed map[attempt]string
	votes    map[attempt]voters
	lowest   map[epaxos.InstanceID]epaxos.Ballot // at which any value was accepted
	accepts  map[epaxos.InstanceID][]proposal
	first    map[epaxos.InstanceID]epaxos.Dependencies // the initial ones
	chosen   map[epaxos.InstanceID]proposal
}

// proposal is what an Accept or a decision carries; an instance has only one command.
type proposal struct {
	ballot epaxos.Ballot
	value  string
}

func valueOf(noOp bool, d epaxos.Dependencies) string {
	return fmt.Sprintf("no-op=%v deps=%v", noOp, d)
}

type attempt struct {
	id     epaxos.InstanceID
	ballot epaxos.Ballot
	act    act
}

type act uint8

const (
	initial  act = iota + 1 // the initial proposal, in PreAccept and Validate; a vote is an equal pre-accept
	accepted                // the value of a ballot; a vote is an accept
	promised
	validated
)

type voters uint64

func (v voters) count() int { return bits.OnesCount64(uint64(v)) }

func newLedger(m epaxos.Membership) *ledger {
	return &ledger{
		members: m, proposed: map[attempt]string{}, votes: map[attempt]voters{},
		lowest: map[epaxos.InstanceID]epaxos.Ballot{}, accepts: map[epaxos.InstanceID][]proposal{},
		chosen: map[epaxos.InstanceID]proposal{}, first: map[epaxos.InstanceID]epaxos.Dependencies{},
	}
}

// The quorums, from their definition: were they the product's, a fault in those would hide itself.
func (l *ledger) slow() int { return l.members.N() - l.members.F }
func (l *ledger) fast() int { return l.members.N() - l.members.E }

func (l *ledger) vote(by epaxos.ReplicaID, a attempt) { l.votes[a] |= 1 << by }

// saved takes what a replica has saved.
func (l *ledger) saved(by epaxos.ReplicaID, records []epaxos.Record) {
	for _, r := range records {
		l.vote(by, attempt{r.ID, r.Promised, promised})
		switch {
		case r.Phase == epaxos.PreAccepted && r.Deps.Equal(r.Initial):
			l.vote(by, attempt{id: r.ID, act: initial})
		case r.Phase == epaxos.Accepted:
			l.vote(by, attempt{r.ID, r.Accepted, accepted})
			if low, known := l.lowest[r.ID]; !known || r.Accepted.Less(low) {
				l.lowest[r.ID] = r.Accepted
			}
		}
	}
}

// sent returns which rule a message breaks, or nothing.
func (l *ledger) sent(e epaxos.Envelope) string {
	switch m := e.Message.(type) {
	case epaxos.PreAccept:
		l.first[m.ID] = m.Initial
		return l.once(attempt{id: m.ID, act: initial}, fmt.Sprint(m.Command, m.Initial))
	case epaxos.Validate:
		return l.once(attempt{id: m.ID, act: initial}, fmt.Sprint(m.Command, m.Initial))
	case epaxos.ValidateReply:
		l.vote(e.From, attempt{m.ID, m.Ballot, validated})
		l.vote(e.To, attempt{m.ID, m.Ballot, validated})
	case epaxos.Waiting:
		if n := l.votes[attempt{id: m.ID, act: initial}].count(); m.Count > n {
			return violation("commit-votes", "the recovery of %v waits with %d equal votes, there are %d", m.ID, m.Count, n)
		}
	case epaxos.Accept:
		return l.accept(m)
	}
	return ""
}

// accept is the induction of the proof of agreement: above the ballot of a decision only its value is
// proposed.
func (l *ledger) accept(m epaxos.Accept) string {
	p := proposal{m.Ballot, valueOf(m.Value.Kind == epaxos.NoOp, m.Deps)}
	if why := l.once(attempt{m.ID, m.Ballot, accepted}, p.value); why != "" {
		return why
	}
	if first, known := l.first[m.ID]; known && m.Value.Kind == epaxos.Full {
		// Rule D2, and what P3 and P5 leave of a vector: it never lacks an initial dependency.
		own, _ := l.members.Column(m.ID.Replica)
		if !m.Deps.CoversAll(first) || m.Deps[own] != first[own] {
			return violation("commit-votes", "%v is proposed with %v, its initial dependencies are %v", m.ID, m.Deps, first)
		}
	}
	l.accepts[m.ID] = append(l.accepts[m.ID], p)
	if c, known := l.chosen[m.ID]; known && c.ballot.Less(p.ballot) && c.value != p.value {
		return violation("agreement", "%v proposes %s at %v, decided was %s at %v", m.ID,
			p.value, p.ballot, c.value, c.ballot)
	}
	if m.Ballot.IsZero() {
		return ""
	}
	return l.backed(m)
}

// once is rules P1 and A3: one value at a ballot.
func (l *ledger) once(a attempt, value string) string {
	if before, seen := l.proposed[a]; seen && before != value {
		return violation("commit-votes", "%v proposes %s at %v after %s", a.id, value, a.ballot, before)
	}
	l.proposed[a] = value
	return ""
}

// backed is rules R3 and V1: a recovery proposes on n-f promises, and proposes a command that nobody
// has accepted on as many validations.
func (l *ledger) backed(m epaxos.Accept) string {
	if n := l.votes[attempt{m.ID, m.Ballot, promised}].count(); n < l.slow() {
		return violation("commit-votes", "%v is proposed at %v on %d promises", m.ID, m.Ballot, n)
	}
	n := l.votes[attempt{m.ID, m.Ballot, validated}].count()
	low, known := l.lowest[m.ID]
	inherited := known && low.Less(m.Ballot)
	if m.Value.Kind == epaxos.Full && !inherited && n < l.slow() && l.slow() > 1 {
		return violation("commit-votes", "%v is proposed at %v on %d validations", m.ID, m.Ballot, n)
	}
	return ""
}

// decided is rules P4 and A2, for the first decision of an instance: a quorum has voted for it.
func (l *ledger) decided(r epaxos.Record) string {
	accepts := l.votes[attempt{r.ID, r.Accepted, accepted}].count()
	equal := 0
	if r.Accepted.IsZero() {
		equal = l.votes[attempt{id: r.ID, act: initial}].count()
	}
	if accepts < l.slow() && equal < l.fast() && l.slow() > 1 {
		return violation("commit-votes", "%v is decided at %v on %d accepts, %d equal pre-accepts", r.ID, r.Accepted, accepts, equal)
	}
	c := proposal{r.Accepted, valueOf(r.NoOp, r.Deps)}
	l.chosen[r.ID] = c
	for _, p := range l.accepts[r.ID] {
		if c.ballot.Less(p.ballot) && c.value != p.value {
			return violation("agreement", "%v is decided as %s at %v, proposed was %s at %v", r.ID,
				c.value, c.ballot, p.value, p.ballot)
		}
	}
	return ""
}
