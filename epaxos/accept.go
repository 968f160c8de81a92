package epaxos

// Phase two: Figure 1, lines 20-34 (docs/protocol.md, A). Recovery proposes through the same door.

// propose asks for votes on a value at a ballot this replica owns. Rule A3: a ballot proposes at most
// one value, so a round reaches this once.
func (r *Replica) propose(in *instance, ballot Ballot, value Value, deps Dependencies) {
	in.round = &round{
		stage: accepting, ballot: ballot, sent: r.now, began: r.now,
		votes: columns(0).with(r.column), value: value, deps: deps,
	}
	r.accept(in, ballot, value, deps)
	r.broadcast(0, Accept{ID: in.id, Ballot: ballot, Value: value, Deps: deps})
	r.concludeAccept(in)
}

// accept records the own vote.
func (r *Replica) accept(in *instance, ballot Ballot, value Value, deps Dependencies) {
	if value.Command != nil {
		r.learn(in, value.Command)
	}
	in.promised, in.accepted = ballot, ballot
	in.noOp, in.deps, in.phase = value.Kind == NoOp, deps, Accepted
	r.save(in, true)
}

func (r *Replica) onAccept(from int, m Accept) bool {
	column, possible := r.place(m.ID)
	if !possible || !r.validVector(m.Deps) || !m.Value.complete() || !r.owns(from, m.Ballot, column) {
		return false
	}
	in := r.instance(m.ID, column)
	switch {
	case in.phase == Committed:
		r.took(BranchAcceptDecided)
		r.sendDecision(from, in)
	case m.Ballot.Less(in.promised):
		r.took(BranchAcceptRefused)
		r.send(from, Refusal{ID: m.ID, Promised: in.promised})
	case in.phase == Accepted && in.accepted == m.Ballot:
		r.took(BranchAcceptAgain)
		r.send(from, AcceptReply{ID: m.ID, Ballot: m.Ballot})
	default:
		r.took(BranchAcceptVote)
		r.abandonBelow(in, m.Ballot)
		r.accept(in, m.Ballot, m.Value, m.Deps)
		in.since = r.now
		r.send(from, AcceptReply{ID: m.ID, Ballot: m.Ballot})
		r.watchOver(in)
	}
	return true
}

func (r *Replica) onAcceptReply(from int, m AcceptReply) bool {
	in := r.known(m.ID)
	if in == nil {
		return false
	}
	round := in.round
	if round == nil || round.stage != accepting || round.ballot != m.Ballot {
		return true
	}
	round.votes = round.votes.with(from)
	r.concludeAccept(in)
	return true
}

func (r *Replica) concludeAccept(in *instance) {
	round := in.round
	if round.votes.count() >= r.members.SlowQuorum() {
		r.decide(in, round.ballot, round.value, round.deps)
	}
}

// complete reports whether a value can be accepted as it stands.
func (v Value) complete() bool {
	return v.Kind == NoOp && v.Command == nil || v.Kind == Full && v.Command != nil
}

// owns reports whether the voter may lead an instance of the column at the ballot.
func (r *Replica) owns(from int, ballot Ballot, column int) bool {
	if ballot.IsZero() {
		return from == column
	}
	return ballot.Replica == r.members.Voters[from] && ballot.Number <= numberMax
}

// abandonBelow ends a round of this replica that a higher ballot has overtaken.
func (r *Replica) abandonBelow(in *instance, ballot Ballot) {
	if in.round != nil && in.round.ballot.Less(ballot) {
		r.took(BranchOvertaken)
		in.round = nil
		in.notBefore = r.now + r.backOff()
	}
}
