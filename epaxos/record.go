package epaxos

// Record is what must outlive a crash of one instance. Records are replayed in the order they were
// saved; a later record of an instance replaces what it names and keeps the rest.
type Record struct {
	ID       InstanceID
	Phase    Phase
	Promised Ballot
	Accepted Ballot
	NoOp     bool         // the current value is a no-op, not the initial command
	Command  *Command     // the initial command; nil if unknown or already in an earlier record
	Initial  Dependencies // nil if unknown
	Deps     Dependencies // nil while Phase is Initial
}
