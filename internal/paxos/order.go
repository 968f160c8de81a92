package paxos

import (
	"fmt"
	"slices"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
)

// Order is the node.Orderer of a Seat: one column, in the order of its slots. It is not safe for concurrent use.
type Order struct {
	members  epaxos.Membership
	waiting  []execution.Vertex
	heard    epaxos.Slot // committed up to here
	executed epaxos.Slot
	marks    []epaxos.InstanceID
}

// NewOrder makes the order of an epoch in which nothing was executed.
func NewOrder(m epaxos.Membership) *Order { return &Order{members: m} }

// Restore takes in that an instance was executed in an earlier life.
func (o *Order) Restore(id epaxos.InstanceID) {
	if id.Epoch == o.members.Epoch && id.Replica == o.members.Voters[0] {
		o.restore(id.Slot)
	}
}

// RestorePrefix is Restore of all up to a vector.
func (o *Order) RestorePrefix(prefix epaxos.Dependencies) { o.restore(prefix[0]) }

func (o *Order) restore(slot epaxos.Slot) { o.executed = max(o.executed, slot) }

// Learn has nothing to take in.
func (o *Order) Learn(epaxos.InstanceID, *epaxos.Command) {}

// Commit takes the next of the log. A replay begins at the first, and what was executed is left out.
func (o *Order) Commit(id epaxos.InstanceID, command *epaxos.Command, _ epaxos.Dependencies) {
	if id.Slot != o.heard+1 {
		panic(fmt.Sprintf("invariant: the log goes on with %d after %d", id.Slot, o.heard))
	}
	o.heard = id.Slot
	if id.Slot > o.executed {
		o.waiting = append(o.waiting, execution.Vertex{ID: id, Command: command})
	}
}

// Next returns the next command; nil if none waits. The caller executes it before it asks for another.
func (o *Order) Next() []execution.Vertex {
	if len(o.waiting) == 0 {
		return nil
	}
	next := o.waiting[:1:1]
	o.waiting = o.waiting[1:]
	o.executed = next[0].ID.Slot
	o.marks = append(o.marks, next[0].ID)
	return next
}

// TakeExecuted returns what Next has returned since the last call.
func (o *Order) TakeExecuted() []epaxos.InstanceID {
	taken := slices.Clone(o.marks)
	o.marks = o.marks[:0]
	return taken
}

// Executed is how far the log is executed.
func (o *Order) Executed() epaxos.Dependencies {
	v := make(epaxos.Dependencies, o.members.N())
	v[0] = o.executed
	return v
}

// ExecutedTops is the same: a log has no gaps.
func (o *Order) ExecutedTops() epaxos.Dependencies { return o.Executed() }

// ExecutedAbove is nothing, likewise.
func (o *Order) ExecutedAbove() []epaxos.InstanceID { return nil }

// Passed reports whether everything up to a vector is executed.
func (o *Order) Passed(_ epaxos.Footprint, upTo epaxos.Dependencies) bool {
	return o.Executed().CoversAll(upTo)
}

// Blocked is nothing: what is committed can be executed.
func (o *Order) Blocked() []epaxos.InstanceID { return nil }

// Pending counts what waits.
func (o *Order) Pending() int { return len(o.waiting) }
