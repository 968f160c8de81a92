package epaxos

// ConflictIndex answers which known instances interfere with a command. It is keyed by initial
// footprints and keeps an instance whatever becomes of it: an index that drops instances decided
// as no-ops breaks agreement (docs/protocol.md, rule D4). Implementations are pure and
// single-threaded.
type ConflictIndex interface {
	// Insert records the initial footprint of an instance. A repetition changes nothing.
	Insert(column int, slot Slot, footprint Footprint)
	// Raise raises into, column by column, to the highest inserted instance that interferes with
	// the footprint.
	Raise(footprint Footprint, into Dependencies)
	// Above returns the inserted instances that interfere with the footprint and are not covered
	// by floor, ascending by column, then slot.
	Above(footprint Footprint, floor Dependencies) []Position
	// Forget drops instances at or below floor, which never decreases, and looks at no more than that
	// many keys and ranges, going round. It reports whether it has come round to the first. From then
	// on Raise may show anything up to the floor where something was dropped.
	Forget(floor Dependencies, entries int) (round bool)
	// Len is the number of distinct keys and ranges remembered.
	Len() int
}

// Position is an instance of the running epoch by column and slot.
type Position struct {
	Column int
	Slot   Slot
}

// ProposalID is the caller's name for a proposed request, unique for the life of the process.
type ProposalID uint64

// Ready is everything the core wants done since the last time it was asked, in this order: save
// Records, in one synced group if MustSync; only then send Messages; then hand Learned and
// Committed to the executor, in this order.
type Ready struct {
	Records   []Record
	MustSync  bool // a message or a decision below relies on a record: sync before going on
	Messages  []Envelope
	Learned   []Learned
	Committed []Decision
	Led       []Led
	Reads     []ReadPoint // what was asked for with Read, and how far to execute before it is served
}

// Learned tells the executor the initial command of an instance.
type Learned struct {
	ID      InstanceID
	Command *Command
}

// Decision is a committed instance. Command is nil for a no-op.
type Decision struct {
	ID      InstanceID
	Command *Command
	Deps    Dependencies
}

// Led ties the requests of an instance led here to the proposals they came from, one for one, and
// tells by which path the instance was decided. It comes with the Decision of a command; requests
// of an instance that became a no-op are proposed again by the core and show up here later.
type Led struct {
	ID        InstanceID
	Proposals []ProposalID
	Fast      bool
}
