package node

import (
	"fmt"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// peer is what this replica remembers of a member: the newest group it ever heard that the member
// had made durable. Told back to a member that restarts, it shows a log that has lost its end.
type peer struct {
	wire.Member
	member  bool          // of this epoch
	votes   bool          // in this epoch
	former  bool          // belonged to the epoch before
	decided bool          // it still tells what was decided in the epoch before its own
	epoch   epaxos.Epoch  // the newest that it was heard to be in
	told    time.Duration // when it was last told that an epoch is over; 0 is never
	group   uint64
	unsaved bool // group is newer than in the log
	greeted bool // its hello was accepted since this replica started

	suspected bool
}

func (n *Node) peer(id epaxos.ReplicaID) *peer {
	for _, p := range n.peers {
		if p.Replica == id {
			return p
		}
	}
	return nil
}

// hear keeps the highest group heard of an admitted incarnation.
func (n *Node) hear(id epaxos.ReplicaID, incarnation, group uint64) {
	if p := n.peer(id); p != nil && p.Incarnation == incarnation && group > p.group {
		p.group, p.unsaved = group, true
	}
}

// takeHeard returns what the next group has to remember of the peers.
func (n *Node) takeHeard() []wire.Heard {
	var heard []wire.Heard
	for _, p := range n.peers {
		if p.unsaved {
			p.unsaved = false
			heard = append(heard, wire.Heard{Replica: p.Replica, Incarnation: p.Incarnation, Group: p.group})
		}
	}
	return heard
}

// Hello is what this replica says to a member when they connect.
func (n *Node) Hello(to epaxos.ReplicaID) wire.Hello {
	hello := wire.Hello{
		Cluster: n.config.Cluster, Replica: n.config.ID, Incarnation: n.config.Incarnation,
		FormatMin: wire.FormatMin, FormatMax: n.formatMax(), Group: n.config.Store.LastGroup(), Epoch: n.stateEpoch(),
	}
	if p := n.peer(to); p != nil && p.group > 0 {
		hello.HeardIncarnation, hello.HeardGroup = p.Incarnation, p.group
	}
	return hello
}

// Greet takes a member's hello. An error refuses the connection. What the hello tells of this
// replica itself may end it (Save returns ErrForgot) or its probation.
func (n *Node) Greet(now time.Duration, h wire.Hello) error {
	n.advance(now)
	if err := n.acceptable(h); err != nil {
		return err
	}
	last := n.config.Store.LastGroup()
	switch {
	case h.HeardIncarnation != 0 && h.HeardIncarnation != n.config.Incarnation:
		n.fault = fmt.Errorf("replica %d knows this replica under incarnation %x, not %x: %w",
			h.Replica, h.HeardIncarnation, n.config.Incarnation, ErrForgot)
	case h.HeardGroup > last:
		n.fault = fmt.Errorf("replica %d has heard of group %d of this replica, whose log ends at %d: %w",
			h.Replica, h.HeardGroup, last, ErrForgot)
	}
	if n.fault != nil {
		return n.fault
	}
	n.hear(h.Replica, h.Incarnation, h.Group)
	p := n.peer(h.Replica)
	p.greeted = true
	n.hearEpoch(p, h.Epoch)
	n.judge()
	return nil
}

// formatMax is the highest format level that this replica takes part at.
func (n *Node) formatMax() uint32 {
	if n.config.FormatMax != 0 {
		return n.config.FormatMax
	}
	return wire.Format
}

func (n *Node) acceptable(h wire.Hello) error {
	p := n.peer(h.Replica)
	switch {
	case h.Cluster != n.config.Cluster:
		return fmt.Errorf("replica %d belongs to cluster %x, this one to %x", h.Replica, h.Cluster, n.config.Cluster)
	case p == nil || h.Replica == n.config.ID:
		return fmt.Errorf("replica %d is not another member of this cluster", h.Replica)
	case h.Incarnation != p.Incarnation:
		return fmt.Errorf("replica %d comes as incarnation %x, the membership admits %x: restore its own "+
			"directory and configuration, or replace it", h.Replica, h.Incarnation, p.Incarnation)
	case h.FormatMin > n.formatMax() || h.FormatMax < wire.FormatMin:
		return fmt.Errorf("replica %d speaks formats %d to %d, this one %d to %d: upgrade the older of the two",
			h.Replica, h.FormatMin, h.FormatMax, wire.FormatMin, n.formatMax())
	case n.role != Joining && (h.FormatMin > n.members.Format || h.FormatMax < n.members.Format):
		return fmt.Errorf("replica %d knows format levels %d to %d, and the cluster is at level %d: run a version there "+
			"that knows it", h.Replica, h.FormatMin, h.FormatMax, n.members.Format)
	}
	return nil
}

// judge ends probation once a recovery quorum has greeted this replica and none of it knew better.
func (n *Node) judge() {
	greeted := 0
	for _, p := range n.peers {
		if p.votes && (p.greeted || p.Replica == n.config.ID) {
			greeted++
		}
	}
	switch {
	case n.admitted || n.role == Joining:
		return
	case n.role != Removed && greeted < n.membership.SlowQuorum():
		return // one that was removed will never vote, and some may know nobody else who can tell them of the end
	}
	n.admitted = true
	n.tellSuspicions()
}

// tellSuspicions passes on what was remembered while there was no core to hear it.
func (n *Node) tellSuspicions() {
	for _, p := range n.peers {
		if p.suspected && p.votes && n.core != nil {
			n.core.Suspect(n.now, p.Replica, true)
		}
	}
}

// Admitted reports whether the replica is off probation.
func (n *Node) Admitted() bool { return n.admitted }
