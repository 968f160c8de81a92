package epaxos

import "slices"

// Validation of an initial proposal that may have been committed fast: Figure 3, lines 58-79, and
// the answer to Validate, lines 81-87 (docs/protocol.md, V and W).

// validate asks the whole recovery quorum what stands against the initial proposal.
func (r *Replica) validate(in *instance, c choice) {
	r.stats.Validations++
	round := in.round
	round.stage, round.sent, round.votes = validating, r.now, columns(0).with(r.column)
	round.quorum, round.equal = c.quorum, c.equal
	round.value, round.deps = Value{Kind: Full, Command: c.reply.Value.Command}, c.reply.Initial
	round.against = r.installInitial(in, round.value.Command, round.deps)
	r.sendTo(round.quorum, Validate{
		ID: in.id, Ballot: round.ballot, Command: round.value.Command, Initial: round.deps,
	})
	r.concludeValidation(in)
}

// sendTo sends to every other voter of the set.
func (r *Replica) sendTo(set columns, m Message) { r.broadcast(^set, m) }

func (r *Replica) onValidate(from int, m Validate) bool {
	column, possible := r.place(m.ID)
	if !possible || m.Command == nil || !r.validVector(m.Initial) || m.Initial[column] >= m.ID.Slot ||
		m.Ballot.IsZero() || !r.owns(from, m.Ballot, column) {
		return false
	}
	in := r.instance(m.ID, column)
	switch {
	case in.phase == Committed:
		r.took(BranchValidateDecided)
		r.sendDecision(from, in)
	case m.Ballot.Less(in.promised):
		r.took(BranchValidateRefused)
		r.send(from, Refusal{ID: m.ID, Promised: in.promised})
	case in.promised != m.Ballot || in.phase == Accepted:
		// A copy that comes after the Accept of its own ballot must not touch the value: it would
		// bring back a command that was accepted as a no-op (rule V4).
		r.took(BranchValidateAccepted)
	default:
		r.tookEither(in.phase == Initial, BranchValidateInstall, BranchValidateVoted)
		against := r.installInitial(in, m.Command, m.Initial)
		r.send(from, ValidateReply{ID: m.ID, Ballot: m.Ballot, Conflicts: against})
	}
	return true
}

// installInitial makes later interfering commands notice the instance, and lists what stands
// against it here. Phase, dependencies and ballots stay: an instance that was only validated must
// never be counted as pre-accepted (rule V2).
func (r *Replica) installInitial(in *instance, command *Command, initial Dependencies) []Conflict {
	r.learn(in, command)
	if in.initial == nil {
		in.initial = initial
	}
	r.save(in, true)

	var against []Conflict
	floor := initial.Clone()
	if !floor.CoversAll(r.stable) { // rule K4
		r.took(BranchStablePassed)
		floor.Raise(r.stable)
	}
	for _, position := range r.index.Above(command.Footprint, floor) {
		other := r.instances.at(position.Column, position.Slot)
		if other == nil || other == in {
			continue
		}
		conflict, branch := standsAgainst(in, other)
		r.took(branch)
		if branch == BranchStandsCommitted || branch == BranchStandsPending {
			against = append(against, conflict)
		}
	}
	return against
}

// standsAgainst says whether other, which interferes and is not among the initial dependencies of in,
// rules out that in was decided with them.
func standsAgainst(in, other *instance) (Conflict, Branch) {
	conflict := Conflict{ID: other.id, Committed: other.phase == Committed}
	switch {
	case conflict.Committed && other.noOp:
		return conflict, BranchStandsNoOp
	case conflict.Committed && other.deps.Covers(in.column, in.id.Slot):
		return conflict, BranchStandsCovers
	case conflict.Committed:
		return conflict, BranchStandsCommitted
	case other.initial == nil:
		// It was never pre-accepted or validated here, so this replica belongs to none of its witness
		// quorums.
		return conflict, BranchStandsUnknown
	case other.initial.Covers(in.column, in.id.Slot):
		return conflict, BranchStandsCovers
	default:
		return conflict, BranchStandsPending
	}
}

func (r *Replica) onValidateReply(from int, m ValidateReply) bool {
	in := r.known(m.ID)
	if in == nil {
		return false
	}
	for _, c := range m.Conflicts {
		_, votes := r.members.Column(c.ID.Replica)
		if !votes || c.ID.Epoch != r.members.Epoch || c.ID.Slot == 0 || c.ID.Slot > numberMax {
			return false
		}
	}
	round := in.round
	if round == nil || round.stage != validating || round.ballot != m.Ballot ||
		round.votes.has(from) || !round.quorum.has(from) {
		return true
	}
	round.votes = round.votes.with(from)
	round.against = append(round.against, m.Conflicts...)
	r.concludeValidation(in)
	return true
}

// concludeValidation waits for every member of the quorum, then is lines 63-68.
func (r *Replica) concludeValidation(in *instance) {
	round := in.round
	if !round.votes.contains(round.quorum) {
		return
	}
	round.against = slices.DeleteFunc(distinct(round.against), func(c Conflict) bool {
		stable := r.isStable(c.ID)
		if stable {
			r.took(BranchStableStruck)
		}
		return stable
	})
	if len(round.against) == 0 {
		r.took(BranchLine63)
		r.propose(in, round.ballot, round.value, round.deps)
		return
	}
	if r.ruledOut(round) {
		r.proposeNoOp(in)
		return
	}
	r.stats.Waits++
	r.took(BranchLine68)
	round.stage, round.sent = awaiting, r.now
	for _, c := range round.against {
		r.want(c.ID)
		if waiting := r.waiters[c.ID]; r.known(c.ID).phase != Committed && !slices.Contains(waiting, in) {
			r.waiters[c.ID] = append(waiting, in)
		}
	}
	r.broadcast(0, Waiting{ID: in.id, Count: round.equal})
	// "To all" is to this replica too: where it leads the recoveries of both sides, neither would
	// ever hear of the other.
	in.waiting = max(in.waiting, round.equal)
	r.concludeAwaiting(in)
	r.wake(in)
}

// ruledOut is lines 65-66: a committed instance stands against the proposal, or, with the fewest
// equal pre-accepts a fast quorum can leave, one whose leader must have been in that quorum and
// would have depended on this instance.
func (r *Replica) ruledOut(round *round) bool {
	fewest := round.equal == round.quorum.count()-r.members.E
	outside := false
	for _, c := range round.against {
		leader, _ := r.members.Column(c.ID.Replica)
		if c.Committed {
			r.took(BranchLine65)
			return true
		}
		outside = outside || !round.quorum.has(leader)
	}
	if outside && fewest && !r.members.Baseline() {
		r.took(BranchLine66)
		return true
	}
	return false
}

// distinct sorts conflicts and unites what several replicas reported of one instance.
func distinct(all []Conflict) []Conflict {
	slices.SortFunc(all, func(a, b Conflict) int { return a.ID.Compare(b.ID) })
	out := all[:0]
	for _, c := range all {
		if n := len(out); n > 0 && out[n-1].ID == c.ID {
			out[n-1].Committed = out[n-1].Committed || c.Committed
			continue
		}
		out = append(out, c)
	}
	return out
}

func (r *Replica) onWaiting(m Waiting) bool {
	column, possible := r.place(m.ID)
	if !possible || m.Count < 0 || m.Count > r.members.N() {
		return false
	}
	in := r.instance(m.ID, column)
	// The fact outlives its ballot, and the instance even if that becomes a no-op: keep the most.
	in.waiting = max(in.waiting, m.Count)
	r.watchOver(in)
	r.wake(in)
	return true
}

// wake lets the recoveries that wait for an instance see what happened to it.
func (r *Replica) wake(in *instance) {
	waiting := r.waiters[in.id]
	if waiting == nil {
		return
	}
	if in.phase == Committed {
		delete(r.waiters, in.id)
	}
	for _, w := range waiting {
		if w.round != nil && w.round.stage == awaiting {
			r.concludeAwaiting(w)
		}
	}
}

// concludeAwaiting is lines 69-79: the first of the events that end the wait.
func (r *Replica) concludeAwaiting(in *instance) {
	round := in.round
	if round.stage != awaiting || r.concludeLate(in) {
		return
	}
	harmless := 0
	for _, c := range round.against {
		other := r.known(c.ID)
		switch {
		case r.isStable(c.ID): // rule K4; it may even be forgotten by now
			r.took(BranchStableMeanwhile)
			harmless++
		case other == nil:
		case other.phase == Committed && (other.noOp || other.deps.Covers(in.column, in.id.Slot)):
			harmless++
		case other.phase == Committed:
			r.took(BranchLine70)
			r.proposeNoOp(in)
			return
		case r.waitsTooManifold(other):
			r.proposeNoOp(in)
			return
		}
	}
	if harmless == len(round.against) {
		r.took(BranchLine72)
		r.propose(in, round.ballot, round.value, round.deps)
	}
}

// waitsTooManifold is line 74: the other's recovery waits as well, and so many replicas
// pre-accepted the other without this instance that no fast quorum for this one is left.
func (r *Replica) waitsTooManifold(other *instance) bool {
	if other.waiting == 0 {
		return false
	}
	switch {
	case r.members.Baseline():
		r.took(BranchLine74Baseline)
		return true
	case other.waiting > r.members.SlowQuorum()-r.members.E:
		r.took(BranchLine74)
		return true
	}
	r.took(BranchLine74Few)
	return false
}

// concludeLate is lines 76-79: a report from outside the quorum that settles the matter. Without
// it two recoveries can wait for each other for ever. It reports whether the wait is over.
func (r *Replica) concludeLate(in *instance) bool {
	round := in.round
	for column, reply := range round.replies {
		if reply == nil || round.quorum.has(column) {
			continue
		}
		switch {
		case reply.Phase == Committed:
			r.took(BranchLine76)
			r.decide(in, reply.Accepted, reply.Value, reply.Deps)
		case reply.Phase == Accepted:
			r.took(BranchLine77)
			r.propose(in, round.ballot, reply.Value, reply.Deps)
		case column == in.column && !r.members.Baseline():
			r.took(BranchLine78)
			r.proposeNoOp(in)
		case column == in.column:
			r.took(BranchLine78Baseline)
			continue
		default:
			continue
		}
		return true
	}
	return false
}
