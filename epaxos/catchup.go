package epaxos

import (
	"fmt"
	"slices"
	"time"
)

// Learning what was missed (docs/protocol.md, L).

// fetchBytesMax bounds the answer to one Fetch; the asker comes back for the rest.
const fetchBytesMax = 4 << 20

func (r *Replica) onFetch(from int, m Fetch) bool {
	if len(m.IDs) > fetchMax {
		return false
	}
	bytes := 0
	for _, id := range m.IDs {
		if r.isForgotten(id) {
			r.took(BranchForgottenAsked)
			r.send(from, Truncated{ID: id})
			break
		}
		in := r.known(id)
		if in == nil || in.phase != Committed {
			continue
		}
		if in.command != nil && !in.noOp {
			bytes += in.command.Size()
		}
		if bytes > fetchBytesMax {
			break
		}
		r.sendDecision(from, in)
	}
	return true
}

// onTryRecover is a request of one that thinks this replica first in line. It is checked against
// this replica's own beliefs, so that a confused peer starts no recoveries.
func (r *Replica) onTryRecover(from int, m TryRecover) bool {
	if len(m.IDs) > nominateMax {
		return false
	}
	for _, id := range m.IDs {
		if r.isForgotten(id) {
			r.took(BranchForgottenAsked)
			r.send(from, Truncated{ID: id})
			continue
		}
		in := r.locate(id)
		if in == nil {
			return false
		}
		if in.phase == Committed {
			r.sendDecision(from, in)
			continue
		}
		r.watchOver(in)
		r.considerRecovery(in)
	}
	return true
}

// restingGossip is how many times rarer a replica repeats what it has told already. It must repeat
// it: the last one may have been lost.
const restingGossip = 8

// gossip tells all voters, now and then, how far this replica is.
func (r *Replica) gossip() {
	told := &r.gossiped
	news := !told.Executed.Equal(r.executed) || !told.Tops.Equal(r.tops) || !told.Stable.Equal(r.stable)
	due := r.gossipedAt + r.timing.Gossip
	if !news {
		due = r.gossipedAt + restingGossip*r.timing.Gossip
	}
	if r.now < due {
		return
	}
	r.gossipedAt = r.now
	r.gossiped = Gossip{
		Epoch: r.members.Epoch, Executed: r.executed.Clone(), Tops: r.tops.Clone(), Stable: r.stable.Clone(),
	}
	r.broadcast(0, r.gossiped)
}

func (r *Replica) onGossip(from int, m Gossip) bool {
	if m.Epoch != r.members.Epoch || !r.validVector(m.Executed) || !r.validVector(m.Tops) ||
		!r.validVector(m.Stable) || !m.Executed.CoversAll(m.Stable) || !m.Tops.CoversAll(m.Executed) ||
		slices.Max(m.Tops) > numberMax {
		return false
	}
	p := &r.peers[from]
	if !m.Stable.CoversAll(p.stable) {
		// It has restarted, and until it hears what the others know its proposals take the slow path.
		r.gossiped = Gossip{}
	}
	// What all have executed, this replica too, stays so whoever says it. A restarted replica would
	// otherwise have to wait for the E of one that is down, and have no fast path until then (rule K5).
	for column, slot := range m.Stable {
		r.stable[column] = max(r.stable[column], min(slot, r.executed[column]))
	}
	p.behind = p.behind && p.executed.CoversAll(m.Executed) // else it makes progress
	p.executed.Raise(m.Executed)
	p.stable.Raise(m.Stable)
	r.tops.Raise(m.Tops)
	r.raiseWatermarks()
	return true
}

// Restored ends the replay of saved records. Instances that are still undecided are looked after,
// but none is continued at ballot 0: this replica may have asked for votes on a value it does not
// remember, and a second value at one ballot breaks agreement (rule S4).
//
// An error means that the records do not add up.
func (r *Replica) Restored(now time.Duration) error {
	r.advance(now)
	for _, in := range r.restored {
		if in.phase == Committed && !in.noOp && in.command == nil {
			return fmt.Errorf("saved record of %v is committed but its command is missing", in.id)
		}
		in.since = now
		if in.column == r.column && in.phase != Committed {
			r.took(BranchNotResumed)
		}
		r.watchOver(in)
	}
	r.restored = nil
	return nil
}

// Forgotten reports an instance that this replica must know and only its peers do: its disk has lost
// what it once promised, so it must not vote any more.
func (r *Replica) Forgotten() (InstanceID, bool) {
	if top := r.tops[r.column]; top >= r.nextSlot {
		return r.members.ID(r.column, top), true
	}
	return r.forgotten, !r.forgotten.IsZero()
}
