package epaxos

// Recovery: Figure 3, lines 43-57 and 80 (docs/protocol.md, R). What follows line 57 is in
// validate.go.

// recover starts an attempt to decide an instance in its leader's stead, at a ballot that this
// replica owns and has never used: it lies above the promise, which is saved before Recover leaves.
func (r *Replica) recover(in *instance) {
	highest := in.promised
	if highest.Less(in.refused) {
		highest = in.refused
	}
	ballot := highest.next(r.id)
	in.promised = ballot
	r.save(in, true)
	r.stats.Recoveries++
	in.round = &round{
		stage: recovering, ballot: ballot, sent: r.now, began: r.now,
		replies: make([]*RecoverReply, r.members.N()),
	}
	r.broadcast(0, Recover{ID: in.id, Ballot: ballot})
	own := r.report(in)
	r.countRecoverReply(in, r.column, &own)
}

func (r *Replica) onRecover(from int, m Recover) bool {
	column, possible := r.place(m.ID)
	if !possible || m.Ballot.IsZero() || !r.owns(from, m.Ballot, column) {
		return false
	}
	in := r.instance(m.ID, column)
	switch {
	case in.phase == Committed:
		r.took(BranchRecoverDecided)
		r.sendDecision(from, in)
	case m.Ballot.Less(in.promised):
		r.took(BranchRecoverRefused)
		r.send(from, Refusal{ID: m.ID, Promised: in.promised})
	default:
		r.tookEither(in.promised == m.Ballot, BranchRecoverAgain, BranchRecoverPromise)
		if in.promised != m.Ballot {
			r.abandonBelow(in, m.Ballot)
			in.promised = m.Ballot
			in.since = r.now
			r.save(in, true)
			r.watchOver(in)
		}
		r.send(from, r.report(in))
	}
	return true
}

// report is what this replica tells a recovery. The ballot of the value is the one of its last
// accept, never the promise: one variable for both lets two values be chosen (Sutra, "On the
// correctness of Egalitarian Paxos").
func (r *Replica) report(in *instance) RecoverReply {
	reply := RecoverReply{
		ID: in.id, Ballot: in.promised, Phase: in.phase, Accepted: in.accepted,
		Deps: in.deps, Initial: in.initial,
	}
	if in.phase > Initial {
		reply.Value = in.value()
	}
	return reply
}

func (r *Replica) onRecoverReply(from int, m RecoverReply) bool {
	in := r.known(m.ID)
	if in == nil || !r.validReport(&m) || m.Phase == Committed && in.contradicts(m.Accepted, m.Value, m.Deps) {
		return false
	}
	round := in.round
	if round == nil || round.stage < recovering || round.ballot != m.Ballot || round.replies[from] != nil {
		return true
	}
	r.countRecoverReply(in, from, &m)
	return true
}

func (r *Replica) validReport(m *RecoverReply) bool {
	if m.Initial != nil && !r.validVector(m.Initial) {
		return false
	}
	if m.Phase == Initial {
		return true
	}
	if !r.validVector(m.Deps) || !m.Value.complete() || m.Ballot.Less(m.Accepted) {
		return false
	}
	return m.Phase != PreAccepted || m.Value.Kind == Full && m.Initial != nil && m.Accepted.IsZero()
}

func (r *Replica) countRecoverReply(in *instance, from int, reply *RecoverReply) {
	round := in.round
	round.replies[from] = reply
	round.votes = round.votes.with(from)
	if round.stage != recovering {
		r.concludeAwaiting(in)
		return
	}
	if round.votes.count() >= r.members.SlowQuorum() {
		r.selectValue(in)
	}
}

// selectValue is lines 51-80 up to the choice whether to validate.
func (r *Replica) selectValue(in *instance) {
	round := in.round
	choice := chooseValue(r.members, in.column, round.replies)
	r.took(choice.line)
	switch choice.kind {
	case commitReported:
		r.decide(in, choice.reply.Accepted, choice.reply.Value, choice.reply.Deps)
	case acceptReported:
		r.propose(in, round.ballot, choice.reply.Value, choice.reply.Deps)
	case validateInitial:
		r.validate(in, choice)
	case acceptNoOp:
		r.proposeNoOp(in)
	}
}

func (r *Replica) proposeNoOp(in *instance) {
	r.propose(in, in.round.ballot, Value{Kind: NoOp}, make(Dependencies, r.members.N()))
}

type choiceKind uint8

const (
	commitReported choiceKind = iota + 1
	acceptReported
	acceptNoOp
	validateInitial
)

// choice is what the reports of a recovery quorum allow.
type choice struct {
	kind   choiceKind
	line   Branch        // of Figure 3, that led to it
	reply  *RecoverReply // the report the value comes from
	quorum columns       // Q
	equal  int           // |R|
}

// chooseValue is the decision of Figure 3, lines 51-57 and 80, as a function of the reports. The
// leader is the column of the instance's own command leader.
func chooseValue(members Membership, leader int, replies []*RecoverReply) choice {
	c := choice{kind: acceptNoOp, line: BranchLine80None}
	var accepted, initial *RecoverReply
	for column, reply := range replies {
		if reply == nil {
			continue
		}
		c.quorum = c.quorum.with(column)
		switch {
		case reply.Phase == Committed:
			return choice{kind: commitReported, line: BranchLine54, reply: reply}
		case reply.Phase == Accepted && (accepted == nil || accepted.Accepted.Less(reply.Accepted)):
			accepted = reply
		case reply.Phase == PreAccepted && reply.Deps.Equal(reply.Initial):
			c.equal++
			initial = reply
		}
		if reply.Phase == PreAccepted {
			c.line = BranchLine80Few
		}
	}
	switch {
	case accepted != nil:
		c.kind, c.line, c.reply = acceptReported, BranchLine55, accepted
		if accepted.Value.Kind == NoOp {
			c.line = BranchLine55NoOp
		}
	case !members.Baseline() && c.quorum.has(leader):
		// Line 56: a leader that had committed fast would have said so, and having promised it
		// no longer can.
		c.line = BranchLine56
	case initial != nil && c.equal >= c.quorum.count()-members.E:
		c.kind, c.line, c.reply = validateInitial, BranchLine57, initial
		if c.quorum.has(leader) {
			c.line = BranchLine57Leader
		}
	}
	return c
}

// onRefusal gives way to a higher ballot; the next attempt jumps over it.
func (r *Replica) onRefusal(from int, m Refusal) bool {
	in := r.known(m.ID)
	if in == nil || m.Promised.Number > numberMax {
		return false
	}
	if in.refused.Less(m.Promised) {
		in.refused = m.Promised
	}
	round := in.round
	if round == nil || !round.ballot.Less(m.Promised) {
		return true
	}
	r.stats.Refusals++
	if round.ballot.IsZero() {
		// One that suspects this replica wrongly need not end what the others still decide.
		round.refusals = round.refusals.with(from)
		if round.votes.count()+r.outstanding(round.votes|round.refusals) >= r.members.SlowQuorum() {
			r.took(BranchRefusedHoping)
			if round.stage == preAccepting {
				r.concludePreAccept(in)
			}
			return true
		}
	}
	r.tookEither(round.ballot.IsZero(), BranchRefusedGivenUp, BranchRefused)
	in.round = nil
	in.notBefore = r.now + r.backOff()
	return true
}
