package wire

import "github.com/264bc8cf/epaxos/epaxos"

// OpKind is an operation of the bundled key-value machine.
type OpKind uint8

const (
	OpGet OpKind = iota + 1
	OpPut
	OpDelete
	OpCompareAndSet // Compares[0] on Key decides; on success Value is put
	OpIncrement     // adds Delta, modulo 2^64, to a decimal value; an absent key counts as 0
	OpTxn           // Compares all hold: Then, else Else; no nested transactions
	OpAppend        // puts Value behind what is there; an absent key counts as empty
	OpAdd           // adds Delta as OpIncrement does, but answers no value and no version: it commutes with its like
	OpSwap          // puts Value, and answers the value that was there
	OpTake          // deletes the key, and answers the value that was there
	OpRange         // reads the keys of [Key, End), ascending, at most Limit; Options say how much of each
	OpDeleteRange   // deletes the keys of [Key, End), ascending, at most Limit
	OpForgetRange   // drops the versions of keys of [Key, End) that were deleted, at most Limit of them

	opLast = OpForgetRange
)

// RangeOptions says what OpRange answers. At most one is set.
type RangeOptions uint8

const (
	RangeKeys  RangeOptions = 1 << iota // pairs without values
	RangeCount                          // no pairs, only their number
)

// Op is one request to the key-value machine, and one operation inside a transaction.
type Op struct {
	Kind     OpKind
	Key      []byte
	Value    []byte
	Delta    int64
	Compares []Compare
	Then     []Op
	Else     []Op
	End      []byte // of a range that begins at Key; empty is no bound, and there Key may be empty too
	Limit    uint64 // of a range; 0 is none
	Options  RangeOptions
	Lease    epaxos.InstanceID // of put, compare-and-set and swap: the key ends with it; zero is none
}

// Format is the level from which on the operation may be proposed.
func (op *Op) Format() uint32 {
	leased := !op.Lease.IsZero()
	for i := range op.Compares {
		leased = leased || op.Compares[i].Target == CompareLease
	}
	if leased {
		return FormatLeases
	}
	level := FormatMin
	for _, branch := range [][]Op{op.Then, op.Else} {
		for i := range branch {
			level = max(level, branch[i].Format())
		}
	}
	return level
}

// Leasable reports whether an operation of this kind may attach its key to a lease.
func (k OpKind) Leasable() bool { return k == OpPut || k == OpCompareAndSet || k == OpSwap }

// Ranged reports whether an operation of this kind is on [Key, End) instead of Key.
func (k OpKind) Ranged() bool { return k == OpRange || k == OpDeleteRange || k == OpForgetRange }

// CompareTarget is what a comparison looks at.
type CompareTarget uint8

const (
	CompareValue   CompareTarget = iota + 1 // the bytes; an absent key equals nothing
	CompareVersion                          // the version, as OpGet answers it; 0 if absent
	CompareCount                            // Version against the number of keys in [Key, End); in transactions only
	CompareLease                            // Value against InstanceID.Key of the lease, empty without one; likewise
)

// CompareRelation is how the key's value or version must relate to the one given.
type CompareRelation uint8

const (
	Equal CompareRelation = iota + 1
	NotEqual
	Less
	Greater
)

// Compare is one condition on one key, or on a range.
type Compare struct {
	Key      []byte
	Target   CompareTarget
	Relation CompareRelation
	Value    []byte
	Version  uint64
	End      []byte // of CompareCount
}

// OpStatus tells how an operation of the key-value machine ended. All are deterministic results.
type OpStatus uint8

const (
	OpOK            OpStatus = iota + 1
	OpCompareFailed          // nothing was written; Value and Version show what was found
	OpWrongType              // increment of a value that is not a decimal number; nothing was written
	OpTooLarge               // done, but its value is left out: the results of the transaction exceed ResultMax
	OpLimited                // nothing was written: a value, or what one request writes or counts, would exceed its limit
	OpLeaseGone              // nothing was written: there is no such lease (any more)

	statusLast = OpLeaseGone
)

// Limits of what one request to the key-value machine makes of the state, however short it is itself.
const (
	ScanMax      = 16 << 10  // keys, deleted ones too, that one request looks at in ranges
	GrowthMax    = 256 << 10 // bytes of what one request appends to, and of the keys that its ranges delete
	PairOverhead = 16        // what a pair of a range counts beside its key and value against ResultMax
)

// Result is the answer of the key-value machine to one Op.
//
// The version of a key is the number of its changes, deletes included, over all its lives: it advances by
// one with each, never repeats, and goes on where it stopped when a deleted key is put again. An absent key
// shows version 0. Only OpForgetRange lets the versions of a deleted key begin anew.
type Result struct {
	Status OpStatus
	// Found: the key exists after the operation; for delete, swap and take: it existed before.
	Found bool
	// Value after the operation (get, increment, failed compare), or before it (swap, take); else nil.
	Value []byte
	// Version of the key after the operation, that of the delete itself included; 0 if absent. An add does
	// not tell it.
	Version   uint64
	Succeeded bool // transactions: all compares held
	Results   []Result
	Pairs     []Pair            // of a range
	Count     uint64            // of the keys that a range read, counted, deleted or forgot
	Next      []byte            // where the range goes on, if not all of it was looked at; else nil
	Lease     epaxos.InstanceID // of the key, with get and a failed compare; zero if it has none
}

// Pair is a key of a range.
type Pair struct {
	Key     []byte
	Value   []byte // nil if it was not asked for
	Version uint64
}
