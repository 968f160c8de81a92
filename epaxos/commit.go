package epaxos

// Decisions: Figure 1, lines 16-19 and 35-42 (docs/protocol.md, C).

// decide commits what this replica led, and tells everyone.
func (r *Replica) decide(in *instance, ballot Ballot, value Value, deps Dependencies) {
	fast := in.round.stage == preAccepting
	if fast {
		r.tookEither(r.members.Baseline(), BranchFastNotSaved, BranchFastSaved)
	}
	in.round = nil
	// Under the optimised rules nobody else can tell a fast commit from an instance that never got
	// there, so recovery with this replica in its quorum would choose a no-op: it must not be
	// forgotten once anyone, client or peer, has heard of it (rule S2).
	r.commit(in, ballot, value, deps, fast && !r.members.Baseline())
	told := value
	if ballot.IsZero() && in.column == r.column && value.Kind == Full {
		told = Value{Kind: Known} // all were sent the PreAccept
	}
	r.broadcast(0, Commit{ID: in.id, Ballot: ballot, Value: told, Deps: deps})
	if in.proposals == nil {
		return
	}
	if value.Kind == Full {
		r.ready.Led = append(r.ready.Led, Led{ID: in.id, Proposals: in.proposals, Fast: fast})
	}
}

// commit records a decision, wherever it was made.
func (r *Replica) commit(in *instance, ballot Ballot, value Value, deps Dependencies, sync bool) {
	if value.Command != nil {
		r.learn(in, value.Command)
	}
	if in.accepted.Less(ballot) {
		in.accepted = ballot
	}
	if in.promised.Less(ballot) {
		in.promised = ballot
	}
	in.noOp, in.deps, in.phase, in.round = value.Kind == NoOp, deps, Committed, nil
	r.save(in, sync)
	r.publish(in)
	r.wake(in)
	if in.noOp {
		r.hold()
		r.proposeAgain(in)
	}
}

// publish hands a decision to the executor and moves the decided prefix.
func (r *Replica) publish(in *instance) {
	decision := Decision{ID: in.id, Deps: in.deps}
	if !in.noOp {
		decision.Command = in.command
	}
	r.ready.Committed = append(r.ready.Committed, decision)
	for {
		next := r.instances.at(in.column, r.decided[in.column]+1)
		if next == nil || next.phase != Committed {
			return
		}
		r.decided[in.column]++
	}
}

// onCommit takes a decision at any promise: it is final.
func (r *Replica) onCommit(from int, m Commit) bool {
	column, possible := r.place(m.ID)
	if !possible || !r.validVector(m.Deps) || m.Ballot.Number > numberMax {
		return false
	}
	in := r.instance(m.ID, column)
	if in.phase == Committed {
		r.took(BranchCommitAgain)
		return true
	}
	value := m.Value
	switch {
	case value.Kind == Known && in.command == nil:
		// The PreAccept that carried the command never came; the sender has it.
		r.took(BranchCommitUnknown)
		r.ask(from, m.ID)
		r.watchOver(in)
		return true
	case value.Kind == Known:
		value = Value{Kind: Full, Command: in.command}
	case !value.complete():
		return false
	}
	if in.contradicts(m.Ballot, value, m.Deps) {
		return false
	}
	led := in.proposals != nil && value.Kind == Full
	if led {
		r.took(BranchCommitOwn)
	}
	if m.Ballot.Less(in.promised) {
		r.took(BranchCommitAtPromise)
	}
	if in.round != nil && in.round.stage >= recovering {
		r.tookEither(in.round.stage == awaiting, BranchLine76, BranchLine54)
	}
	r.commit(in, m.Ballot, value, m.Deps, false)
	if led {
		r.ready.Led = append(r.ready.Led, Led{ID: in.id, Proposals: in.proposals})
	}
	return true
}

// sendDecision answers whatever is asked about a decided instance.
func (r *Replica) sendDecision(to int, in *instance) {
	r.send(to, Commit{ID: in.id, Ballot: in.accepted, Value: in.value(), Deps: in.deps})
}
