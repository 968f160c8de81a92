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
}

// Status reports the replica's view of itself.
func (n *Node) Status() Status {
	s := Status{
		Admitted: n.admitted, Executed: n.config.Orderer.Executed(), Tops: n.config.Core.Tops(),
		Pending: n.config.Orderer.Pending(), Stats: n.config.Core.Stats(), Group: n.config.Store.LastGroup(),
	}
	if n.noRoom != nil {
		s.NoRoom = n.noRoom.Error()
	}
	return s
}

// State reads the applied state, with what is not saved yet, for comparisons between replicas that
// have executed the same instances.
func (n *Node) State() *execution.State { return n.state }
