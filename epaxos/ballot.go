package epaxos

import (
	"cmp"
	"fmt"
)

// Ballot orders the attempts to decide one instance. The zero ballot belongs to the replica that
// leads the instance; every other ballot belongs to the replica it names, which uses it once.
type Ballot struct {
	Number  uint64
	Replica ReplicaID
}

// IsZero reports whether b is the ballot of the instance's own command leader.
func (b Ballot) IsZero() bool { return b == Ballot{} }

// Compare orders ballots by number, then by owner.
func (b Ballot) Compare(other Ballot) int {
	return cmp.Or(cmp.Compare(b.Number, other.Number), cmp.Compare(b.Replica, other.Replica))
}

// Less reports whether b is lower than other.
func (b Ballot) Less(other Ballot) bool { return b.Compare(other) < 0 }

// next is the lowest ballot of owner above b.
func (b Ballot) next(owner ReplicaID) Ballot { return Ballot{Number: b.Number + 1, Replica: owner} }

// String is the form of the trace: "0", or "number.replica".
func (b Ballot) String() string {
	if b.IsZero() {
		return "0"
	}
	return fmt.Sprintf("%d.%d", b.Number, b.Replica)
}
