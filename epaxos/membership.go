package epaxos

import (
	"fmt"
	"slices"
)

// VotersMax bounds the size of a cluster, and with it of every vector on the wire.
const VotersMax = 63

// Membership is who votes in one epoch, and how many may fail.
type Membership struct {
	Epoch  Epoch
	Voters []ReplicaID // ascending; the position of a voter is its column in every vector
	F      int         // crashes tolerated for progress
	E      int         // crashes under which a command without interference still takes the fast path
}

// NewMembership orders the voters and takes the default quorums: f is the largest minority, e the
// largest that f allows (design decision D1).
func NewMembership(epoch Epoch, voters ...ReplicaID) Membership {
	ordered := slices.Clone(voters)
	slices.Sort(ordered)
	f := (len(ordered) - 1) / 2
	return Membership{Epoch: epoch, Voters: ordered, F: f, E: LargestE(len(ordered), f)}
}

// Validate reports why no cluster can run with this membership, or nil.
func (m Membership) Validate() error {
	n := len(m.Voters)
	switch {
	case m.Epoch == 0:
		return fmt.Errorf("membership: epoch 0: epochs count from 1")
	case n == 0 || n > VotersMax:
		return fmt.Errorf("membership: %d voters: between 1 and %d are possible", n, VotersMax)
	case m.F < 0 || m.E < 0 || m.E > m.F:
		return fmt.Errorf("membership: f=%d e=%d: need 0 <= e <= f", m.F, m.E)
	case n < quorumBound(m.F, m.E):
		return fmt.Errorf("membership: n=%d is too small for f=%d e=%d: need n >= max(2f+1, 2e+f-1) = %d",
			n, m.F, m.E, quorumBound(m.F, m.E))
	}
	for i, id := range m.Voters {
		if id == 0 || i > 0 && m.Voters[i-1] >= id {
			return fmt.Errorf("membership: voters %v: ids must be positive, ascending and distinct", m.Voters)
		}
	}
	return nil
}

// N is the number of voters.
func (m Membership) N() int { return len(m.Voters) }

// Column is the position of a voter in every vector; false if it does not vote.
func (m Membership) Column(id ReplicaID) (int, bool) {
	return slices.BinarySearch(m.Voters, id)
}

// ID is the instance in a column and slot.
func (m Membership) ID(column int, slot Slot) InstanceID {
	return InstanceID{Epoch: m.Epoch, Replica: m.Voters[column], Slot: slot}
}
