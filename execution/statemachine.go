package execution

import "github.com/264bc8cf/epaxos/epaxos"

// StateMachine is what a replica replicates. The service runs the same requests through it on
// every replica, interfering ones in the same order everywhere.
//
// Threads: Footprint may be called by many goroutines at once and must be pure. Apply is called by
// one goroutine at a time, but for requests that only read at a cut: those may be carried out beside it,
// several at once, each with a view of its own.
//
// Determinism: Apply must compute result and writes from view and payload alone: no clock, no
// randomness, no map order, no memory of its own. A request that cannot be carried out (a failed
// compare, a value of the wrong type) is a result like any other, the same on every replica.
//
// Durability: the machine keeps nothing. What it writes through the view is saved by the service,
// together with the mark that the request was executed; after a crash both are there or neither,
// and requests above the mark are applied again.
type StateMachine interface {
	// Footprint says which keys the request may touch, and how. An error refuses the request
	// before it is proposed; the client sees its text. Footprints that are too wide cost
	// concurrency; an Apply that leaves its footprint stops the replica.
	Footprint(payload []byte) (epaxos.Footprint, error)
	// Apply carries out one request. An error is a fault of this replica, not of the request,
	// and stops it: going on would let replicas differ.
	Apply(view View, payload []byte) (result []byte, err error)
}

// Merger is a StateMachine some of whose changes commute with each other, as adding to a counter does.
// Its footprints may name the keys of such changes with epaxos.Add, which interferes with reads and writes
// and not with its like, and its Apply carries them out by View.Merge.
type Merger interface {
	StateMachine
	// Merge returns the value of a key after a change; ok is false for one that cannot be made, and then
	// the value stays. It must be pure, and two operands must commute: whichever comes first, the
	// value after both is the same, and each is told the same ok. So a key that some change cannot be
	// made to must refuse all others too, until it is written. An error is a fault of this replica.
	Merge(value []byte, found bool, operand []byte) (merged []byte, ok bool, err error)
}

// Leaser is a StateMachine whose keys may end with a lease. Its footprints name the leases of a request with
// epaxos.Write, in epaxos.SpaceSession and under InstanceID.Key, and its Apply attaches keys to them by View.Attach.
type Leaser interface {
	StateMachine
	// Ended returns the value of a key after the end of a lease; attached is false for a key that is not, or not any
	// more, attached to it, which stays as it is. It must be pure. An error is a fault of this replica.
	Ended(value []byte, lease epaxos.InstanceID) (after []byte, attached bool, err error)
}

// Leveled is a StateMachine that understands more at later format levels of the cluster.
type Leveled interface {
	StateMachine
	// Format is the level from which on a request that Footprint accepts may be proposed. It must be pure.
	Format(payload []byte) uint32
}

// Attachment says what became of attaching a key to a lease.
type Attachment uint8

const (
	// Attached: the key ends with the lease, unless the machine gives it another, or none.
	Attached Attachment = iota
	// LeaseGone: there is no such lease (any more).
	LeaseGone
	// LeaseFull: it has as many keys as one may have, or their names are as long.
	LeaseFull
)

// View is the state as one request may see and change it: the saved state under the writes of the
// requests executed before. It is valid during the call of Apply only. A key outside the
// footprint, a write where the footprint has Read, or anything but Merge where it has Add, is recorded
// as a fault that stops the replica after Apply returns; the access itself reads nothing and writes
// nothing.
type View interface {
	// Get returns the value of a key, and whether there is one. The caller must not change it.
	Get(key string) (value []byte, found bool)
	// Put sets the value of a key. The view keeps value; the caller must not change it afterwards.
	Put(key string, value []byte)
	// Delete removes a key. Deleting what is not there is no fault.
	Delete(key string)
	// Scan visits the keys of [from, to), ascending, until visit returns false; an empty to is no bound. One
	// range of the footprint must cover it all. Values are valid during visit, which must not use the view.
	Scan(from, to string, visit func(key string, value []byte) bool)
	// Merge changes a key by the machine's Merge, and returns the ok of that and nothing else: what the
	// key holds depends on the order of changes that replicas need not agree about. operand is not kept.
	Merge(key string, operand []byte) (ok bool)
	// Attach puts a key on the books of a lease. It is for the machine to remember, in the value of the key,
	// which lease the key has now.
	Attach(lease epaxos.InstanceID, key string) Attachment
}
