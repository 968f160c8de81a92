package epaxos

import "time"

// What drives progress (docs/protocol.md, L): requests are sent again, decisions that were missed
// are fetched, and every instance that stays undecided or unknown is recovered, whether or not
// anybody depends on it: an orphan would hold back the executed prefix of its column for ever.

// fetchMax is how many instances of a column are asked for at a time.
const fetchMax = 512

// nominateMax is how many instances one TryRecover names. The receiver starts to know of each, so that
// many bound what a message can make it remember.
const nominateMax = 64

// fifo is a queue of instances by the time of their next look, which only grows.
type fifo struct {
	entries []watchEntry
	head    int
}

type watchEntry struct {
	at time.Duration
	in *instance
}

func (f *fifo) push(at time.Duration, in *instance) {
	if f.head > len(f.entries)/2 && f.head > 1024 {
		f.entries = append(f.entries[:0], f.entries[f.head:]...)
		f.head = 0
	}
	f.entries = append(f.entries, watchEntry{at, in})
}

func (f *fifo) pop(now time.Duration) *instance {
	if f.head == len(f.entries) || f.entries[f.head].at > now {
		return nil
	}
	in := f.entries[f.head].in
	f.entries[f.head] = watchEntry{}
	f.head++
	return in
}

// watchOver makes sure that an undecided instance is looked at again and again until it is decided.
func (r *Replica) watchOver(in *instance) {
	if !in.watched && in.phase != Committed {
		in.watched = true
		r.watch.push(r.now+r.timing.Resend, in)
	}
}

// want starts to know of an instance that others know of.
func (r *Replica) want(id InstanceID) {
	if in := r.locate(id); in != nil {
		r.watchOver(in)
	}
}

func (r *Replica) lookAtWatched() {
	for in := r.watch.pop(r.now); in != nil; in = r.watch.pop(r.now) {
		if in.phase == Committed {
			in.watched = false
			continue
		}
		r.look(in)
		r.watch.push(r.now+r.timing.Resend, in)
	}
	r.fillGaps()
}

// look does what an undecided instance needs now.
func (r *Replica) look(in *instance) {
	if in.round != nil {
		if r.now-in.round.sent >= r.timing.Resend {
			r.resend(in)
		}
		return
	}
	if r.now-in.since >= r.timing.Fetch && r.now-in.asked >= r.timing.Fetch {
		in.asked = r.now
		r.askSomeone(in.id, in.column)
	}
	r.considerRecovery(in)
}

// resend repeats the requests of a round to those that have not answered.
func (r *Replica) resend(in *instance) {
	round := in.round
	round.sent = r.now
	switch round.stage {
	case preAccepting:
		r.broadcast(round.votes, PreAccept{ID: in.id, Command: in.command, Initial: in.initial})
	case accepting:
		r.broadcast(round.votes, Accept{ID: in.id, Ballot: round.ballot, Value: round.value, Deps: round.deps})
	case recovering:
		r.broadcast(round.votes, Recover{ID: in.id, Ballot: round.ballot})
	case validating:
		// Every member of the quorum must assent: if one has died, another quorum is needed.
		if r.now-round.began >= 4*r.timing.Resend {
			r.took(BranchSilentQuorum)
			r.recover(in)
			return
		}
		r.sendTo(round.quorum&^round.votes, Validate{
			ID: in.id, Ballot: round.ballot, Command: round.value.Command, Initial: round.deps,
		})
		r.broadcast(round.reported(), Recover{ID: in.id, Ballot: round.ballot})
	case awaiting:
		r.broadcast(0, Waiting{ID: in.id, Count: round.equal})
		r.broadcast(round.reported(), Recover{ID: in.id, Ballot: round.ballot})
	}
}

// reported is who answered Recover, in or outside the quorum.
func (o *round) reported() columns {
	var set columns
	for column, reply := range o.replies {
		if reply != nil {
			set = set.with(column)
		}
	}
	return set
}

// considerRecovery starts a recovery if it is this replica's turn. Those that are not first in
// line wait, so that recoverers seldom duel, and tell the first.
func (r *Replica) considerRecovery(in *instance) {
	if in.round != nil || in.phase == Committed || r.now < in.notBefore {
		return
	}
	leader := &r.peers[in.column]
	rank, first := r.rank(in.column)
	since, delay := in.since, time.Duration(rank)*r.timing.Stagger
	branch := BranchTurnAlive
	switch {
	case !in.promised.IsZero() && in.promised.Replica != r.id:
		branch = BranchTurnTakeOver
		delay += 2 * r.timing.Stagger // another replica is recovering it
	case in.column == r.column:
		branch = BranchTurnOwn
	case leader.suspected && rank == 0:
		branch, since = BranchTurnFirst, 0
	case leader.suspected:
		branch, since = BranchTurnLater, max(since, leader.suspectedSince)
	default:
		delay += r.timing.Recover
	}
	if r.now-since >= delay {
		r.took(branch)
		r.recover(in)
		return
	}
	if leader.suspected && rank > 0 && r.now-in.nominated >= r.timing.Stagger {
		r.took(BranchNominated)
		in.nominated = r.now
		r.nominate[first] = append(r.nominate[first], in.id)
	}
}

// rank is this replica's place in the line of those that may recover what a voter led, and who is
// first: the voters after it in a ring, without those that are suspected.
func (r *Replica) rank(leader int) (rank, first int) {
	first = -1
	for i := range r.peers {
		column := (leader + i) % len(r.peers)
		if r.peers[column].suspected || column == leader && column != r.column {
			continue
		}
		if first < 0 {
			first = column
		}
		if column == r.column {
			return rank, first
		}
		rank++
	}
	return rank, first
}

// backOff is how long this replica stays away from an instance on which it met a higher ballot.
func (r *Replica) backOff() time.Duration {
	return r.timing.Stagger + time.Duration(r.rand.Int64N(int64(r.timing.Stagger)+1))
}

// Suspect tells that a voter seems to be dead, or alive again. Wrong suspicion costs work, never
// safety.
func (r *Replica) Suspect(now time.Duration, id ReplicaID, suspected bool) {
	r.advance(now)
	column, votes := r.members.Column(id)
	if !votes || column == r.column || r.peers[column].suspected == suspected {
		return
	}
	p := &r.peers[column]
	p.suspected, p.suspectedSince = suspected, now
	if !suspected {
		return
	}
	for slot := r.decided[column] + 1; slot <= r.tops[column]; slot++ {
		if in := r.instances.at(column, slot); in != nil {
			r.considerRecovery(in)
		}
		if slot-r.decided[column] >= 4*fetchMax {
			break
		}
	}
	r.flushRequests()
}

// Blocked names the instances, unknown or undecided, that committed commands wait for. They are
// looked after first.
func (r *Replica) Blocked(now time.Duration, ids []InstanceID) {
	r.advance(now)
	for _, id := range ids {
		in := r.locate(id)
		if in == nil || in.phase == Committed {
			continue
		}
		r.watchOver(in)
		if in.round == nil {
			r.look(in)
		}
	}
	r.flushRequests()
}

// ExecutedDurably tells how far each column is executed in what this replica has on disk, what it
// executed in earlier lives included.
func (r *Replica) ExecutedDurably(prefix Dependencies) {
	r.executed.Raise(prefix)
	r.passed.Raise(prefix)
	r.raiseWatermarks()
}

// fillGaps asks for what is missing between the decided prefix of a column and its top.
func (r *Replica) fillGaps() {
	for column := range r.peers {
		p := &r.peers[column]
		first := r.decided[column] + 1
		if first > r.tops[column] {
			continue
		}
		if p.stuck != first {
			p.stuck, p.stuckSince = first, r.now
		}
		behind := r.tops[column] - r.decided[column]
		answering := p.fetched >= first && r.now-p.fetchedAt < r.timing.Resend
		stuck := r.now-p.stuckSince >= r.timing.Fetch
		catchingUp := p.fetched != 0 && first > p.fetched && behind > fetchMax
		if answering || !stuck && !catchingUp {
			continue
		}
		if !stuck {
			r.took(BranchCatchUp)
		}
		r.fetchColumn(column, first, min(r.tops[column], first+fetchMax-1))
	}
}

func (r *Replica) fetchColumn(column int, first, last Slot) {
	p := &r.peers[column]
	p.fetched, p.fetchedAt = last, r.now
	orphaned := r.now-p.stuckSince >= r.timing.Recover || p.suspected || column == r.column
	from := r.source(column, last)
	for slot := first; slot <= last; slot++ {
		id := r.members.ID(column, slot)
		in := r.instances.at(column, slot)
		if in != nil && in.phase == Committed {
			continue
		}
		if from >= 0 {
			r.ask(from, id)
		}
		if in == nil && orphaned {
			r.took(BranchOrphan)
			r.want(id)
			r.instances.at(column, slot).since = p.stuckSince
		}
	}
}

// source is a voter that likely knows the decisions of a column: its leader, one that has executed
// them, or, failing both, any that seems alive; -1 if none does.
func (r *Replica) source(column int, slot Slot) int {
	if column != r.column && !r.peers[column].suspected {
		return column
	}
	alive := -1
	start := r.rand.IntN(len(r.peers))
	for i := range r.peers {
		other := (start + i) % len(r.peers)
		if other == r.column || r.peers[other].suspected {
			continue
		}
		if r.peers[other].executed.Covers(column, slot) {
			return other
		}
		alive = other
	}
	return alive
}

func (r *Replica) askSomeone(id InstanceID, column int) {
	if from := r.source(column, id.Slot); from >= 0 {
		r.ask(from, id)
	}
}

// ask has the instance fetched when the running input has been handled.
func (r *Replica) ask(from int, id InstanceID) {
	r.stats.Fetched++
	r.asks[from] = append(r.asks[from], id)
}

// flushRequests sends what the input made necessary to ask, in few messages.
func (r *Replica) flushRequests() {
	for column := range r.peers {
		for ids := r.asks[column]; len(ids) > 0; ids = ids[min(fetchMax, len(ids)):] {
			r.send(column, Fetch{IDs: ids[:min(fetchMax, len(ids))]})
		}
		for ids := r.nominate[column]; len(ids) > 0; ids = ids[min(nominateMax, len(ids)):] {
			r.send(column, TryRecover{IDs: ids[:min(nominateMax, len(ids))]})
		}
		r.asks[column], r.nominate[column] = nil, nil
	}
}
