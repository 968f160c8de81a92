package node

import (
	"errors"
	"fmt"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// Survivor is a replica of a cluster that has lost its quorum for good, on its way to go on alone. It takes part
// in nothing.
type Survivor struct {
	node *Node
	Role Role
	// Members are those that it knows of, and Ahead is the newest epoch that it heard of: that of Members, or a
	// later one, whose changes are not in its state.
	Members wire.Members
	Ahead   epaxos.Epoch
	Losses  []Loss // a column each
}

// Loss is what a replica has heard of in one column, and cannot execute by itself.
type Loss struct {
	Replica epaxos.ReplicaID // whose commands they are
	From    epaxos.Slot      // the first that is not executed
	To      epaxos.Slot      // the last that was heard of; below From if nothing is missing
	Missing int              // how many of these are not executed
}

// ErrNoSurvivor: the directory cannot carry a cluster on.
var ErrNoSurvivor = errors.New("the directory holds no state to go on with")

// OpenSurvivor replays the store of a replica that runs no more. Nothing is written.
func OpenSurvivor(config Config) (*Survivor, error) {
	n, err := New(config)
	if err != nil {
		return nil, err
	}
	s := &Survivor{node: n, Role: n.role, Members: n.members.Clone()}
	if n.next != nil { // executed by the replay, and not saved
		s.Members = n.next.Clone()
	}
	s.Ahead = max(n.ahead, s.Members.Epoch)
	if n.role != Voter && n.role != Learner {
		return nil, fmt.Errorf("%w: it is of a %v replica; take that of a voter", ErrNoSurvivor, n.role)
	}
	if n.core == nil {
		return s, nil
	}
	executed, above, tops := n.executedPrefix(), n.executedAbove(), n.core.Tops()
	for column, replica := range n.membership.Voters {
		l := Loss{Replica: replica, From: executed[column] + 1, To: tops[column]}
		if l.To >= l.From {
			l.Missing = int(l.To - executed[column]) //nolint:gosec // a count
		}
		for _, id := range above {
			if id.Replica == replica && id.Slot >= l.From {
				l.Missing--
			}
		}
		s.Losses = append(s.Losses, l)
	}
	return s, nil
}

// Force ends the epoch of the lost cluster without its members, and begins one with this replica alone. What is
// not executed is given up. It is one durable step: before it nothing has changed, after it everything has.
func (s *Survivor) Force() (wire.Members, error) {
	n := s.node
	self, _, found := s.Members.Find(n.config.ID)
	if !found {
		return wire.Members{}, fmt.Errorf("%w: replica %d is no member of epoch %d", ErrNoSurvivor, n.config.ID,
			s.Members.Epoch)
	}
	next := wire.Members{
		Epoch: s.Ahead + 1, Format: s.Members.Format, Voters: []wire.Member{self}, NextReplica: s.Members.NextReplica,
	}
	if err := next.Validate(); err != nil {
		return next, err
	}
	n.state.Put(epaxos.SpaceControl, membersKey, wire.AppendMembers(nil, &next))
	n.unsaved.hold = storage.HoldThis
	n.unsaved.touch(n.now)
	if err := n.flush(true); err != nil {
		return next, fmt.Errorf("begin epoch %d alone: %w", next.Epoch, err)
	}
	return next, nil
}
