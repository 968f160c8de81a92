package epaxos

import (
	"slices"
	"time"
)

// Reads without an instance (docs/protocol.md, Q): the reader asks n-f replicas which instances interfere with
// what it reads, and reads locally when its own executor has passed them. No disk, no ballot, no conflict.

// readsMax bounds the accesses of one query.
const readsMax = 512

// ReadPoint is how far a replica has to have executed before it may serve a read: everything up to Deps that
// interferes with it (rule Q2).
type ReadPoint struct {
	Proposal  ProposalID
	Footprint Footprint
	Deps      Dependencies
}

// query is what one turn asks about.
type query struct {
	number uint64
	reads  []ReadPoint // without Deps yet
	asked  Footprint   // of all of them
	votes  columns
	union  Dependencies
	sent   time.Duration
}

// reads is the queries under way, oldest first.
type reads struct {
	number uint64
	batch  query // of this turn
	open   []*query
}

// Read asks for the point at which a read with this footprint is linearizable: whatever was answered anywhere
// before this call lies below it. The answer comes with Ready.Reads.
func (r *Replica) Read(now time.Duration, id ProposalID, footprint Footprint) {
	r.advance(now)
	q := &r.reads.batch
	if len(q.asked) > 0 && len(q.asked)+len(footprint) > readsMax {
		r.askReads()
	}
	q.reads = append(q.reads, ReadPoint{Proposal: id, Footprint: footprint})
	q.asked = append(q.asked, footprint...)
}

// askReads sends the query of the turn.
func (r *Replica) askReads() {
	if len(r.reads.batch.reads) == 0 {
		return
	}
	q := r.reads.batch
	r.reads.batch = query{}
	r.reads.number++
	q.number, q.sent, q.votes = r.reads.number, r.now, columns(0).with(r.column)
	q.union = r.interfering(q.asked)
	r.reads.open = append(r.reads.open, &q)
	r.broadcast(0, ReadQuery{Epoch: r.members.Epoch, Number: q.number, Footprint: q.asked})
	r.concludeReads()
}

// interfering is what this replica knows to interfere, what it has forgotten included (rule Q1).
func (r *Replica) interfering(footprint Footprint) Dependencies {
	deps := r.truncated.Clone()
	r.index.Raise(footprint, deps)
	return deps
}

func (r *Replica) onReadQuery(from int, m ReadQuery) bool {
	if m.Epoch != r.members.Epoch || len(m.Footprint) == 0 {
		return false
	}
	r.took(BranchReadAnswered)
	r.send(from, ReadReply{Epoch: m.Epoch, Number: m.Number, Deps: r.interfering(m.Footprint)})
	return true
}

func (r *Replica) onReadReply(from int, m ReadReply) bool {
	if m.Epoch != r.members.Epoch || !r.validVector(m.Deps) || slices.Max(m.Deps) > numberMax ||
		m.Number > r.reads.number || m.Number == 0 {
		return false
	}
	r.tops.Raise(m.Deps) // what the read has to wait for is looked after, if nobody has told of it yet
	for _, q := range r.reads.open {
		if q.number == m.Number && !q.votes.has(from) {
			q.votes = q.votes.with(from)
			q.union.Raise(m.Deps)
			r.concludeReads()
			break
		}
	}
	return true
}

// concludeReads hands out the points of the queries that a recovery quorum has answered.
func (r *Replica) concludeReads() {
	open := r.reads.open[:0]
	for _, q := range r.reads.open {
		if q.votes.count() < r.members.SlowQuorum() {
			open = append(open, q)
			continue
		}
		r.took(BranchReadPoint)
		for _, point := range q.reads {
			point.Deps = q.union
			r.ready.Reads = append(r.ready.Reads, point)
		}
	}
	clear(r.reads.open[len(open):])
	r.reads.open = open
}

// repeatReads asks those again who have not answered for a while.
func (r *Replica) repeatReads() {
	for _, q := range r.reads.open {
		if r.now-q.sent >= r.timing.Resend {
			q.sent = r.now
			r.took(BranchReadAgain)
			r.broadcast(q.votes, ReadQuery{Epoch: r.members.Epoch, Number: q.number, Footprint: q.asked})
		}
	}
}
