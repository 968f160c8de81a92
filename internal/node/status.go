package node

import (
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Status is a replica's view of itself.
type Status struct {
	Role     Role
	Members  wire.Members
	Admitted bool
	NoRoom   string // why it takes no work, or empty
	Executed epaxos.Dependencies
	Tops     epaxos.Dependencies
	Pending  int // committed instances that wait for others
	Stats    epaxos.Stats
	Group    uint64

	Watermarks  epaxos.Watermarks
	GroupFirst  uint64 // the oldest group kept
	LogBytes    int    // of the groups kept
	Collectable int    // groups that could be deleted now
	Transfer    TransferStatus
	Cuts        []CutStatus
	Watches     int        // polls that wait for a change
	Journal     int        // bytes of changes kept for those that come back
	Sessions    int        // that are open, leases too
	Held        epaxos.Lag // the replica that all others wait for before they forget; of 0 instances if none is
}

// Status reports the replica's view of itself.
func (n *Node) Status() Status {
	s := Status{
		Role: n.role, Members: n.members, Admitted: n.admitted, Group: n.config.Store.LastGroup(),
		Executed: n.executedPrefix(), Transfer: n.transferStatus(),
		Cuts:    n.cutStatus(),
		Watches: n.watches.Waiting(), Journal: n.watches.Bytes(), Sessions: len(n.sessions.open),
	}
	if n.core != nil {
		s.Tops, s.Stats, s.Watermarks = n.core.Tops(), n.core.Stats(), n.core.Watermarks()
		s.Pending = n.orderer.Pending()
	}
	h := &n.history
	s.GroupFirst, s.LogBytes = s.Group+1, h.bytes
	for i := range h.segments {
		s.GroupFirst -= uint64(h.segments[i].groups) //nolint:gosec // a count
	}
	s.Collectable, _ = h.covered(n.floor())
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
