package epaxos

import (
	"cmp"
	"encoding/binary"
	"fmt"
)

// ReplicaID names one replica for ever: an id is never given to another replica, not even after
// its owner has left. Zero names nobody.
type ReplicaID uint32

// Epoch counts memberships. The first is 1.
type Epoch uint32

// Slot numbers the instances of one replica within one epoch, densely from 1. Zero names none.
type Slot uint64

// InstanceID names one instance: the Slot-th command led by Replica in Epoch.
type InstanceID struct {
	Epoch   Epoch
	Replica ReplicaID
	Slot    Slot
}

// String is the form of the trace: "3.42", or "e2:3.42" from the second epoch on.
func (id InstanceID) String() string {
	if id.Epoch > 1 {
		return fmt.Sprintf("e%d:%d.%d", id.Epoch, id.Replica, id.Slot)
	}
	return fmt.Sprintf("%d.%d", id.Replica, id.Slot)
}

// Key is a name of id for indices: 16 bytes, ordered by epoch, replica and slot.
func (id InstanceID) Key() string {
	b := make([]byte, 0, 16)
	b = binary.BigEndian.AppendUint32(b, uint32(id.Epoch))
	b = binary.BigEndian.AppendUint32(b, uint32(id.Replica))
	return string(binary.BigEndian.AppendUint64(b, uint64(id.Slot)))
}

// ParseInstanceKey is the opposite of Key. It reports whether key is one.
func ParseInstanceKey(key string) (InstanceID, bool) {
	if len(key) != 16 {
		return InstanceID{}, false
	}
	b := []byte(key)
	return InstanceID{
		Epoch: Epoch(binary.BigEndian.Uint32(b)), Replica: ReplicaID(binary.BigEndian.Uint32(b[4:])),
		Slot: Slot(binary.BigEndian.Uint64(b[8:])),
	}, true
}

// IsZero reports whether id names no instance.
func (id InstanceID) IsZero() bool { return id == InstanceID{} }

// Compare orders instances by epoch, slot and replica. It is the order of execution inside a
// strongly connected component, so it is the same on every replica for ever.
func (id InstanceID) Compare(other InstanceID) int {
	return cmp.Or(
		cmp.Compare(id.Epoch, other.Epoch),
		cmp.Compare(id.Slot, other.Slot),
		cmp.Compare(id.Replica, other.Replica),
	)
}
