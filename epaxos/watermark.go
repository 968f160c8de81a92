package epaxos

import (
	"fmt"
	"time"
)

// Watermarks (docs/protocol.md, K): what every replica has executed, and everybody knows it, is
// forgotten, so that memory and disk hold what is in flight and not the whole history.

// forgetMax bounds the instances that one tick drops, and forgetKeys the least entries of the index that
// it looks at, so that forgetting never stops a turn for long.
const (
	forgetMax  = 4096
	forgetKeys = 512
	// forgetRound is in how many ticks at most the index is gone through, as long as there is anything to drop.
	forgetRound = 64
)

// watermarks is how far all replicas have come, column by column.
//
// Invariants: dropped <= truncated <= stable <= the executed of every replica; none decreases.
type watermarks struct {
	stable    Dependencies // S: the lowest E of all voters, as last heard
	truncated Dependencies // G: the lowest S of all voters, as last heard
	dropped   Dependencies // what has left the table; reaches truncated over some ticks
	swept     Dependencies // floor at which the running or last round through the index began
	sweeping  bool
}

func newWatermarks(n int) watermarks {
	return watermarks{
		stable: make(Dependencies, n), truncated: make(Dependencies, n),
		dropped: make(Dependencies, n), swept: make(Dependencies, n),
	}
}

// RestoreTruncated tells up to where earlier lives have deleted their records. It comes before Restore.
// Every voter had executed all of it, and knew so.
func (r *Replica) RestoreTruncated(floor Dependencies) error {
	if !r.validVector(floor) {
		return fmt.Errorf("saved truncation vector %v does not fit %d voters", floor, r.members.N())
	}
	w := &r.watermarks
	for _, vector := range []Dependencies{
		w.stable, w.truncated, w.dropped, w.swept, r.tops, r.decided, r.executed, r.passed,
	} {
		vector.Raise(floor)
	}
	for i := range r.peers {
		r.peers[i].executed.Raise(floor)
		r.peers[i].stable.Raise(floor)
	}
	r.nextSlot = max(r.nextSlot, floor[r.column]+1)
	r.index.Forget(floor, 0)
	return nil
}

// raiseWatermarks takes in what was heard or executed last (rule K5).
func (r *Replica) raiseWatermarks() {
	w := &r.watermarks
	for i := range r.peers {
		if p := &r.peers[i]; p.executed.CoversAll(r.executed) {
			p.behind = false
		} else if !p.behind {
			p.behind, p.behindSince = true, r.now
		}
	}
	for column := range w.stable {
		executed := r.executed[column]
		for i := range r.peers {
			if i != r.column {
				executed = min(executed, r.peers[i].executed[column])
			}
		}
		w.stable[column] = max(w.stable[column], executed)
		stable := w.stable[column]
		for i := range r.peers {
			if i != r.column {
				stable = min(stable, r.peers[i].stable[column])
			}
		}
		w.truncated[column] = max(w.truncated[column], stable)
	}
}

// forget drops what lies at or below G, a bounded part at a time (rule K3).
func (r *Replica) forget() {
	w := &r.watermarks
	left := forgetMax
	for column := range w.dropped {
		for ; w.dropped[column] < w.truncated[column] && left > 0; left-- {
			slot := w.dropped[column] + 1
			if in := r.instances.at(column, slot); in == nil || in.phase != Committed {
				panic(fmt.Sprintf("invariant: %v is to be forgotten and not decided", r.members.ID(column, slot)))
			}
			r.instances.drop(column, slot)
			w.dropped[column] = slot
			r.stats.Forgotten++
			r.took(BranchForgotten)
		}
	}
	if !w.sweeping && w.swept.Equal(w.truncated) {
		return
	}
	if !w.sweeping {
		w.sweeping = true
		copy(w.swept, w.truncated)
	}
	w.sweeping = !r.index.Forget(w.truncated, forgetKeys+r.index.Len()/forgetRound)
}

// rested reports whether everything that may be forgotten is.
func (w *watermarks) rested() bool {
	return !w.sweeping && w.swept.Equal(w.truncated) && w.dropped.Equal(w.truncated)
}

// isForgotten reports whether an instance was dropped here. Every voter has executed it.
func (r *Replica) isForgotten(id InstanceID) bool {
	column, votes := r.members.Column(id.Replica)
	return votes && id.Epoch == r.members.Epoch && id.Slot != 0 && r.dropped.Covers(column, id.Slot)
}

// isStable reports whether all voters have executed an instance of this epoch.
func (r *Replica) isStable(id InstanceID) bool {
	column, votes := r.members.Column(id.Replica)
	return votes && r.stable.Covers(column, id.Slot)
}

// refuseForgotten handles a message about a forgotten instance: it must not make the instance known
// again, since a recovery of it would find nobody who knows the decision (rule K6).
func (r *Replica) refuseForgotten(from int, message Message) {
	switch message.(type) {
	case PreAccept, Accept, Recover, Validate:
		r.took(BranchForgottenAsked)
		r.send(from, Truncated{ID: InstanceOf(message)})
	}
}

// onTruncated is nothing new to a replica that has executed the instance, as all have if their disks
// keep what they told. One that has not must not vote any more.
func (r *Replica) onTruncated(m Truncated) bool {
	column, votes := r.members.Column(m.ID.Replica)
	if !votes || m.ID.Epoch != r.members.Epoch || m.ID.Slot == 0 || m.ID.Slot > numberMax {
		return false
	}
	if !r.tops.Covers(column, m.ID.Slot) {
		return false // this replica cannot have asked for what nobody has told it of
	}
	if r.executed.Covers(column, m.ID.Slot) {
		r.took(BranchForgottenHeard)
		return true
	}
	r.took(BranchForgottenLost)
	r.forgotten = m.ID
	return true
}

// Watermarks is how far the replicas have come, as far as one of them knows. All are prefixes, by column.
type Watermarks struct {
	Executed  Dependencies // E: executed durably here
	Stable    Dependencies // S: executed durably by every voter
	Truncated Dependencies // G: known to every voter to be so; at or below, everything may be forgotten
	Lags      []Lag        // of the other voters, by column
}

// Lag is how far a voter is behind this replica. As long as it is, nothing that it lacks is forgotten
// anywhere.
type Lag struct {
	Replica   ReplicaID
	Instances uint64        // executed durably here and, as far as it has told, not there
	For       time.Duration // since it last told of any progress
}

// Watermarks returns a copy.
func (r *Replica) Watermarks() Watermarks {
	w := Watermarks{
		Executed: r.executed.Clone(), Stable: r.stable.Clone(), Truncated: r.truncated.Clone(),
	}
	for i, id := range r.members.Voters {
		if i == r.column {
			continue
		}
		lag := Lag{Replica: id}
		for column, slot := range r.executed {
			lag.Instances += uint64(slot - min(slot, r.peers[i].executed[column]))
		}
		if lag.Instances > 0 {
			lag.For = r.now - r.peers[i].behindSince
		}
		w.Lags = append(w.Lags, lag)
	}
	return w
}

// Truncated is G without a copy: valid until the next input, not to be changed.
func (r *Replica) Truncated() Dependencies { return r.truncated }

// Rewrite saves an instance whole once more, so that its older records may be deleted. It reports
// whether it did: what is forgotten needs no record.
func (r *Replica) Rewrite(id InstanceID) bool {
	in := r.known(id)
	if in == nil {
		return false
	}
	in.saved = false
	r.save(in, true)
	return true
}
