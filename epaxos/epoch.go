package epaxos

import (
	"cmp"
	"slices"
	"time"
)

// The end of an epoch as its core sees it (docs/protocol.md, M). A Reconfigure is a command that interferes
// with everything; which commands stand beside it is known only where it is executed. All that the core
// does is to hold its own proposals back while it knows of one, so that what the Reconfigure has to wait
// for stays small, and to give up what is left when it was executed.

// Unfinished is a command led or to be led here that was not executed, with the proposals it came from.
type Unfinished struct {
	Command   *Command
	Proposals []ProposalID
}

// holdsBack reports whether a Reconfigure is known whose fate is not (rule M5).
func (r *Replica) holdsBack() bool {
	r.endings = slices.DeleteFunc(r.endings, func(in *instance) bool {
		return in.executed || in.phase == Committed && in.noOp || r.executed.Covers(in.column, in.id.Slot)
	})
	return len(r.endings) > 0
}

// hold looks anew whether proposals have to wait.
func (r *Replica) hold() {
	if !r.admission.held && len(r.endings) == 0 {
		return
	}
	held := r.holdsBack()
	if held && !r.admission.held {
		r.took(BranchHeldBack)
	}
	released := r.admission.held && !held
	r.admission.held = held
	if released {
		r.took(BranchReleased)
		r.serveQueue()
	}
}

// End tells that a Reconfigure was executed here, last of the instances executed, and takes back what was
// proposed here and not executed: what is not executed now never will be (rule M3). In the order of their
// slots, then of their proposals. Of the replica only Step with a Fetch may be used from then on.
func (r *Replica) End(now time.Duration, executed []InstanceID) []Unfinished {
	r.advance(now)
	for _, id := range executed {
		if in := r.known(id); in != nil {
			in.executed = true
		}
	}
	var left []Unfinished
	for slot := r.dropped[r.column] + 1; slot < r.nextSlot; slot++ {
		if in := r.instances.at(r.column, slot); in != nil && in.proposals != nil && !in.executed {
			left = append(left, Unfinished{Command: in.command, Proposals: in.proposals})
			in.proposals = nil
		}
	}
	return append(left, r.admission.drain()...)
}

// drain empties the queues, and what was admitted and not led yet.
func (a *admission) drain() []Unfinished {
	var waiting []*pending
	waiting = append(waiting, a.batch...)
	waiting = append(waiting, a.queue.entries...)
	//lint:ordered they are sorted below
	for _, key := range a.keys {
		waiting = append(waiting, key.queue.entries...)
	}
	*a = newAdmission(a.limits)
	a.held = true
	var left []Unfinished
	for _, p := range waiting {
		if !p.cancelled {
			left = append(left, Unfinished{Command: p.command, Proposals: p.proposals})
		}
	}
	slices.SortFunc(left, func(a, b Unfinished) int { return cmp.Compare(a.Proposals[0], b.Proposals[0]) })
	return left
}

// Adopt proposes once more what the epoch before left unfinished, however full the queue is: it was
// admitted already.
func (r *Replica) Adopt(now time.Duration, u Unfinished) {
	r.advance(now)
	r.took(BranchAdopted)
	r.admission.queued += len(u.Proposals)
	r.admit(&pending{command: u.Command, proposals: u.Proposals})
}
