package node

import (
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
)

// Status is a replica's view of itself.
type Status struct {
	Admitted bool
	NoRoom   string // why it takes no work, or empty
	Executed epaxos.Dependencies
	Tops     epaxos.Dependencies
	Pending  int // committed instances that wait for others
	Stats    epaxos.Stats
	Group    uint64

	Watermarks  epaxos.Watermarks
	GroupFirst  uint64     // the oldest group kept
	LogBytes    int        // of the groups kept
	Collectable int        // groups that could be deleted now
	Held        epaxos.Lag // the replica that all others wait for before they forget; of 0 instances if none is
}

// Status reports the replica's view of itself.
func (n *Node) Status() Status {
	s := Status{
		Admitted: n.admitted, Executed: n.config.Orderer.Executed(), Tops: n.config.Core.Tops(),
		Pending: n.config.Orderer.Pending(), Stats: n.config.Core.Stats(), Group: n.config.Store.LastGroup(),
	}
	h := &n.history
	s.Watermarks, s.GroupFirst, s.LogBytes = n.config.Core.Watermarks(), s.Group+1, h.bytes
	for i := range h.segments {
		s.GroupFirst -= uint64(h.segments[i].groups) //nolint:gosec // a count
	}
	s.Collectable, _ = h.covered(s.Watermarks.Truncated)
	for _, lag := range s.Watermarks.Lags {
		if lag.Instances > s.Held.Instances {
			s.Held = lag
		}
	}
	if n.noRoom != nil {
		s.NoRoom = n.noRoom.Error()
	}
	return s
}

// State reads the applied state, with what is not saved yet, for comparisons between replicas that
// have executed the same instances.
func (n *Node) State() *execution.State { return n.state }
