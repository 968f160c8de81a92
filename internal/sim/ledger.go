package sim

import (
	"fmt"
	"math/bits"

	"github.com/264bc8cf/epaxos/epaxos"
)

// ledger is what all replicas have said and saved in all their lives: enough to tell of each proposal
// and each decision whether a quorum stands behind it, long before two replicas can differ.
type ledger struct {
	members  epaxos.Membership
	attempts map[attempt]*ballotBox
	initial  map[epaxos.InstanceID]*proposal // what the leader proposed
	equal    map[epaxos.InstanceID]voters    // who has pre-accepted just that
	lowest   map[epaxos.InstanceID]epaxos.Ballot
	chosen   map[epaxos.InstanceID]*proposal // what a slow quorum has accepted, or a decision
	ballots  map[epaxos.InstanceID][]epaxos.Ballot
}

// attempt is one ballot of one instance.
type attempt struct {
	id     epaxos.InstanceID
	ballot epaxos.Ballot
}

// ballotBox is what became of an attempt.
type ballotBox struct {
	proposed                      *proposal
	promised, validated, accepted voters
}

// proposal is a value with its dependencies. The command of an instance is always its initial one.
type proposal struct {
	ballot  epaxos.Ballot
	noOp    bool
	command *epaxos.Command // nil for a no-op
	deps    epaxos.Dependencies
}

func (p *proposal) equals(other *proposal) bool {
	return p.noOp == other.noOp && p.deps.Equal(other.deps) && sameCommand(p.command, other.command)
}

// voters is a set of replicas by column.
type voters uint64

func (v voters) count() int { return bits.OnesCount64(uint64(v)) }

func newLedger(m epaxos.Membership) *ledger {
	return &ledger{
		members: m, attempts: map[attempt]*ballotBox{}, initial: map[epaxos.InstanceID]*proposal{},
		equal: map[epaxos.InstanceID]voters{}, lowest: map[epaxos.InstanceID]epaxos.Ballot{},
		chosen: map[epaxos.InstanceID]*proposal{}, ballots: map[epaxos.InstanceID][]epaxos.Ballot{},
	}
}

func (l *ledger) box(id epaxos.InstanceID, ballot epaxos.Ballot) *ballotBox {
	at := attempt{id, ballot}
	b := l.attempts[at]
	if b == nil {
		b = &ballotBox{}
		l.attempts[at] = b
		l.ballots[id] = append(l.ballots[id], ballot)
	}
	return b
}

// recorded takes a record that a replica has made durable. Votes that were saved count, whether or not
// anybody has heard of them: recoveries may report them.
func (l *ledger) recorded(host int, r *epaxos.Record) {
	switch r.Phase {
	case epaxos.PreAccepted:
		if r.Deps.Equal(r.Initial) {
			l.equal[r.ID] |= 1 << host
		}
	case epaxos.Accepted, epaxos.Committed:
		if low, known := l.lowest[r.ID]; !known || r.Accepted.Less(low) {
			l.lowest[r.ID] = r.Accepted
		}
	}
}

// sent takes a message that leaves a replica.
func (l *ledger) sent(host int, message epaxos.Message) *Violation {
	switch m := message.(type) {
	case epaxos.PreAccept:
		l.equal[m.ID] |= 1 << host
		return l.propose(m.ID, m.Command, m.Initial)
	case epaxos.PreAcceptReply:
		if p := l.initial[m.ID]; p != nil && p.deps.Equal(m.Deps) {
			l.equal[m.ID] |= 1 << host
		}
	case epaxos.Accept:
		return l.accept(host, &m)
	case epaxos.AcceptReply:
		box := l.box(m.ID, m.Ballot)
		box.accepted |= 1 << host
		return l.choose(m.ID, box)
	case epaxos.Recover:
		l.box(m.ID, m.Ballot).promised |= 1 << host
	case epaxos.RecoverReply:
		l.box(m.ID, m.Ballot).promised |= 1 << host
	case epaxos.Validate:
		l.box(m.ID, m.Ballot).validated |= 1 << host
		return l.propose(m.ID, m.Command, m.Initial)
	case epaxos.ValidateReply:
		l.box(m.ID, m.Ballot).validated |= 1 << host
	case epaxos.Waiting:
		if n := l.equal[m.ID].count(); m.Count > n {
			return found("commit-votes", "the recovery of %v waits with %d equal votes, there are %d", m.ID, m.Count, n)
		}
	}
	return nil
}

// propose is rule P1: an instance has one initial proposal.
func (l *ledger) propose(id epaxos.InstanceID, command *epaxos.Command, initial epaxos.Dependencies) *Violation {
	p := &proposal{command: command, deps: initial}
	before := l.initial[id]
	if before == nil {
		l.initial[id] = p
		return nil
	}
	if !before.equals(p) {
		return found("commit-votes", "%v is proposed with deps=%s %v, before it was deps=%s", id,
			l.members.FormatDeps(initial), command, l.members.FormatDeps(before.deps))
	}
	return nil
}

// accept is rules A3, R3 and V1: a ballot proposes one value; a recovery proposes on n-f promises, and
// a command that nobody has accepted on as many validations; above a chosen value only that.
func (l *ledger) accept(host int, m *epaxos.Accept) *Violation {
	p := &proposal{ballot: m.Ballot, noOp: m.Value.Kind == epaxos.NoOp, command: m.Value.Command, deps: m.Deps}
	box := l.box(m.ID, m.Ballot)
	box.accepted |= 1 << host
	if box.proposed != nil {
		if !box.proposed.equals(p) {
			return found("commit-votes", "%v is proposed twice at %v: %s, then %s", m.ID, m.Ballot,
				l.format(box.proposed), l.format(p))
		}
		return nil
	}
	box.proposed = p
	if first := l.initial[m.ID]; first != nil && !p.noOp && !sameCommand(first.command, p.command) {
		return found("commit-votes", "%v is proposed at %v with another command than its own", m.ID, m.Ballot)
	}
	if c := l.chosen[m.ID]; c != nil && c.ballot.Less(m.Ballot) && !c.equals(p) {
		return found("agreement", "%v is proposed at %v as %s, decided was %s at %v", m.ID, m.Ballot,
			l.format(p), l.format(c), c.ballot)
	}
	if m.Ballot.IsZero() {
		return nil
	}
	slow := l.members.SlowQuorum()
	if n := box.promised.count(); n < slow {
		return found("commit-votes", "%v is proposed at %v on %d promises", m.ID, m.Ballot, n)
	}
	low, known := l.lowest[m.ID]
	inherited := known && low.Less(m.Ballot)
	if n := box.validated.count(); !p.noOp && !inherited && n < slow {
		return found("commit-votes", "%v is proposed at %v on %d validations", m.ID, m.Ballot, n)
	}
	return nil
}

// choose takes note that a slow quorum has accepted a value: from here on no other can be proposed at a
// higher ballot, whether or not anybody knows.
func (l *ledger) choose(id epaxos.InstanceID, box *ballotBox) *Violation {
	if box.proposed == nil || box.accepted.count() < l.members.SlowQuorum() {
		return nil
	}
	return l.settle(id, box.proposed)
}

// settle makes a value the one of its instance.
func (l *ledger) settle(id epaxos.InstanceID, p *proposal) *Violation {
	c := l.chosen[id]
	if c == nil {
		l.chosen[id] = p
	} else if !c.equals(p) {
		return found("agreement", "%v is decided as %s at %v and as %s at %v", id,
			l.format(c), c.ballot, l.format(p), p.ballot)
	}
	for _, ballot := range l.ballots[id] {
		later := l.attempts[attempt{id, ballot}].proposed
		if later != nil && p.ballot.Less(ballot) && !later.equals(p) {
			return found("agreement", "%v is decided as %s at %v, and was proposed as %s at %v", id,
				l.format(p), p.ballot, l.format(later), ballot)
		}
	}
	return nil
}

// decided is rules P4 and A2, where a decision is first told or taken: a quorum has voted for it.
func (l *ledger) decided(d *epaxos.Decision) *Violation {
	p := &proposal{noOp: d.Command == nil, command: d.Command, deps: d.Deps}
	if c := l.chosen[d.ID]; c != nil && c.equals(p) || l.members.N() == 1 {
		return nil
	}
	if first := l.initial[d.ID]; first != nil && first.equals(p) &&
		l.equal[d.ID].count() >= l.members.FastQuorum() {
		return l.settle(d.ID, p)
	}
	return found("commit-votes", "%v is decided as %s on no quorum: %d equal pre-accepts%s", d.ID,
		l.format(p), l.equal[d.ID].count(), l.tally(d.ID, p))
}

// tally is who voted for a value, for people.
func (l *ledger) tally(id epaxos.InstanceID, p *proposal) string {
	text := ""
	for _, ballot := range l.ballots[id] {
		if box := l.attempts[attempt{id, ballot}]; box.proposed != nil && box.proposed.equals(p) {
			text += fmt.Sprintf(", %d accepts at %v", box.accepted.count(), ballot)
		}
	}
	return text
}

func (l *ledger) format(p *proposal) string {
	if p.noOp {
		return "no-op"
	}
	return "command deps=" + l.members.FormatDeps(p.deps)
}
