package epaxos

// Phase one at ballot 0: Figure 1, lines 8-20 of "Making Democracy Work" (docs/protocol.md, P).

// lead starts a new instance of this replica for the command. Choosing the initial dependencies
// and entering the index are one step, across all keys of the command: else two commands of this
// replica could miss each other and both commit.
func (r *Replica) lead(command *Command, proposals []ProposalID) {
	if top := r.tops[r.column]; top >= r.nextSlot {
		r.forgotten = r.members.ID(r.column, top) // leading on must not hide it
		r.took(BranchSlotForgotten)
	}
	id := InstanceID{Epoch: r.members.Epoch, Replica: r.id, Slot: r.nextSlot}
	r.nextSlot++
	if command.opens() {
		// Whatever is asked of the session comes after what opens it, on every replica (rule O4).
		named := &Command{
			Requests:  command.Requests,
			Footprint: Footprint{{Mode: Write, Space: SpaceSession, Key: id.Key()}},
		}
		r.admission.reserve(named)
		r.admission.release(command)
		command = named
	}
	in := r.instance(id, r.column)
	in.initial = make(Dependencies, r.members.N())
	r.index.Raise(command.Footprint, in.initial)
	// Voters that have forgotten what all have executed report it as a whole (rule K2), and answers that
	// exceed the initial dependencies cost the fast path.
	if !in.initial.CoversAll(r.stable) {
		r.took(BranchStableRaised)
		in.initial.Raise(r.stable)
	}
	in.deps = in.initial
	in.phase = PreAccepted
	in.proposals, in.led = proposals, true
	r.admission.inFlight++
	r.learn(in, command)
	r.save(in, true)
	r.stats.Led++

	in.round = &round{
		stage: preAccepting, sent: r.now, began: r.now,
		votes: columns(0).with(r.column), union: in.initial.Clone(), matching: 1,
	}
	r.broadcast(0, PreAccept{ID: id, Command: command, Initial: in.initial})
	r.watchOver(in)
	r.concludePreAccept(in)
}

func (r *Replica) onPreAccept(from int, m PreAccept) bool {
	column, possible := r.place(m.ID)
	if !possible || from != column || m.Command == nil || !r.validVector(m.Initial) ||
		m.Initial[column] >= m.ID.Slot {
		return false
	}
	in := r.instance(m.ID, column)
	switch {
	case in.phase == Committed:
		r.took(BranchVoteDecided)
		r.sendDecision(from, in)
	case !in.promised.IsZero():
		r.took(BranchVoteRefused)
		r.send(from, Refusal{ID: m.ID, Promised: in.promised})
	case in.phase == PreAccepted:
		r.took(BranchVoteAgain)
		r.send(from, PreAcceptReply{ID: m.ID, Deps: in.deps})
	case in.phase == Initial:
		in.initial = m.Initial
		in.deps = m.Initial.Clone()
		r.index.Raise(m.Command.Footprint, in.deps)
		if !in.deps.CoversAll(r.truncated) { // whatever the index may have forgotten is reported (rule K2)
			r.took(BranchTruncatedRaised)
			in.deps.Raise(r.truncated)
		}
		// Of its own column the command leader knows everything below the slot, and nothing above
		// is a dependency: PreAccepts that overtake each other would make an instance depend on
		// later ones, or on itself (rule D2).
		in.deps[in.column] = m.Initial[in.column]
		r.tookEither(in.deps.Equal(m.Initial), BranchVoteEqual, BranchVoteRaised)
		in.phase = PreAccepted
		r.learn(in, m.Command)
		r.save(in, true)
		r.send(from, PreAcceptReply{ID: m.ID, Deps: in.deps})
		r.watchOver(in)
	}
	return true
}

func (r *Replica) onPreAcceptReply(from int, m PreAcceptReply) bool {
	in := r.known(m.ID)
	if in == nil || !r.validVector(m.Deps) {
		return false
	}
	round := in.round
	if round == nil || round.stage != preAccepting || round.votes.has(from) {
		return true
	}
	if !m.Deps.CoversAll(in.initial) || m.Deps[in.column] != in.initial[in.column] {
		return false
	}
	round.votes = round.votes.with(from)
	round.union.Raise(m.Deps)
	if m.Deps.Equal(in.initial) {
		round.matching++
	}
	r.concludePreAccept(in)
	return true
}

// concludePreAccept commits on the fast path as soon as a fast quorum answered the initial
// dependencies, and takes the slow path as soon as that has become impossible (rule P4).
func (r *Replica) concludePreAccept(in *instance) {
	round := in.round
	switch {
	case round.matching >= r.members.FastQuorum():
		r.stats.Fast++
		r.took(BranchFast)
		r.decide(in, Ballot{}, in.value(), in.initial)
	case round.votes.count() < r.members.SlowQuorum():
	case round.matching+r.outstanding(round.votes|round.refusals) < r.members.FastQuorum():
		r.took(BranchSlow)
		r.takeSlowPath(in)
	default:
		r.hope(in)
	}
}

// hope makes an instance with a slow quorum wait for a fast one: as long as the second round trip that it could save,
// which takes the slow quorum about as long as the first, and never above FastPathWait. Once an answer differs others
// probably do, since they tell of the same command; then it never waits above DisputedWait.
func (r *Replica) hope(in *instance) {
	round := in.round
	until := r.now + min(r.timing.FastPathWait, r.now-round.began)
	if round.matching < round.votes.count() {
		if r.timing.DisputedWait == 0 {
			r.took(BranchSlowDisputed)
			r.takeSlowPath(in)
			return
		}
		until = min(until, r.now+r.timing.DisputedWait)
	}
	if round.patience == 0 {
		round.patience = until
		r.impatient = append(r.impatient, in)
	}
	round.patience = min(round.patience, until)
}

// outstanding counts the voters that may still answer.
func (r *Replica) outstanding(votes columns) int {
	count := 0
	for column := range r.peers {
		if !votes.has(column) && !r.peers[column].suspected {
			count++
		}
	}
	return count
}

func (r *Replica) takeSlowPath(in *instance) {
	r.stats.Slow++
	r.propose(in, Ballot{}, in.value(), in.round.union)
}

// settleImpatient ends the waits for a fast quorum that have lasted long enough.
func (r *Replica) settleImpatient() {
	kept := r.impatient[:0]
	for _, in := range r.impatient {
		round := in.round
		if round == nil || round.stage != preAccepting {
			continue
		}
		if r.outstanding(round.votes|round.refusals)+round.matching < r.members.FastQuorum() || r.now >= round.patience {
			r.took(BranchSlowImpatient)
			r.takeSlowPath(in)
			continue
		}
		kept = append(kept, in)
	}
	clear(r.impatient[len(kept):])
	r.impatient = kept
}
