package wire

import "github.com/264bc8cf/epaxos/epaxos"

// Format is the highest level of what replicas may send and propose that this program knows; FormatMin is the
// lowest. Which one holds stands in the membership.
const (
	FormatMin uint32 = 1
	Format           = FormatLeases
)

// What the levels after the first brought: programs that know only those before cannot execute it.
const (
	FormatBarriers uint32 = 2 // ControlBarrier, and with it snapshots of a cluster that serves
	FormatLeases   uint32 = 3 // keys that end with a lease
	FormatCuts     uint32 = 3 // ControlCut, and with it reads of a state that is kept
	FormatPacks    uint32 = 3 // records of requests of sessions share keys of the applied state
)

// Hello opens a connection between two replicas, each way.
type Hello struct {
	Cluster     [16]byte
	Replica     epaxos.ReplicaID
	Incarnation uint64
	FormatMin   uint32
	FormatMax   uint32
	Group       uint64 // the sender's newest durable group
	// What the sender remembers of the receiver: the incarnation it knows, the newest group it ever heard of.
	HeardIncarnation uint64
	HeardGroup       uint64
	Epoch            epaxos.Epoch // that runs at the sender; 0 if it has no state yet
}

// FrameHeader stands before the messages of a frame between replicas.
type FrameHeader struct {
	Group uint64 // the sender's newest durable group
}

// Group is what a replica saves in one turn.
type Group struct {
	Records  []epaxos.Record
	Executed []epaxos.InstanceID // executed since the last group whose writes are in the same transaction
	Heard    []Heard             // newest group heard of each peer; only those that changed

	// Where older groups were deleted with this one, which then holds all marks above Prefix and all that
	// was heard; else nil. Records at or below Truncated are not needed; all at or below Prefix is executed.
	Truncated, Prefix epaxos.Dependencies
	Epoch             epaxos.Epoch // of Truncated and Prefix

	Origin *Origin // where the state of this group was taken from; nil is from the group before
}

// Origin names the state of a replica that another one takes over.
type Origin struct {
	Replica     epaxos.ReplicaID
	Incarnation uint64
	Group       uint64 // of that replica's log
	Probation   bool   // the other one was on probation
}

// Heard is what a replica remembers of a peer's log.
type Heard struct {
	Replica     epaxos.ReplicaID
	Incarnation uint64
	Group       uint64
}
