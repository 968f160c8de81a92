package epaxos

// Message is one protocol message. The set is sealed: every type is declared in this file.
type Message interface{ message() }

// Envelope is a message on its way between two replicas.
type Envelope struct {
	From, To ReplicaID
	Message  Message
}

// Phase is how far an instance has come at one replica. The order is the order of progress.
type Phase uint8

const (
	// Initial: nothing was pre-accepted here. The initial command may still be known, from Validate.
	Initial Phase = iota
	// PreAccepted: the command and the dependencies this replica answered are recorded.
	PreAccepted
	// Accepted: a value was accepted at the instance's accepted ballot.
	Accepted
	// Committed: the value is decided.
	Committed
)

// ValueKind says what a Value holds.
type ValueKind uint8

const (
	// NoOp decides that the instance executes nothing.
	NoOp ValueKind = iota + 1
	// Full carries the command.
	Full
	// Known stands for the initial command, whose bytes the receiver already has; a receiver that
	// has not fetches the instance. An instance has only one initial command ever, so no digest
	// is needed.
	Known
)

// Value is what an instance may decide: a no-op or its initial command.
type Value struct {
	Kind    ValueKind
	Command *Command // with Full only
}

// PreAccept asks for a vote at ballot 0 (Figure 1, lines 8-13). Only the command leader of the
// instance sends it.
type PreAccept struct {
	ID      InstanceID
	Command *Command
	Initial Dependencies // what the command leader knew to interfere
}

// PreAcceptReply is the vote at ballot 0: Initial raised by what the sender knew.
type PreAcceptReply struct {
	ID   InstanceID
	Deps Dependencies
}

// Accept asks for a vote on the slow path and in recovery (lines 20-27). Its value is never Known.
type Accept struct {
	ID     InstanceID
	Ballot Ballot
	Value  Value
	Deps   Dependencies
}

// AcceptReply is the vote for Accept at Ballot.
type AcceptReply struct {
	ID     InstanceID
	Ballot Ballot
}

// Commit announces a decision. It is final, whatever the receiver has promised.
type Commit struct {
	ID     InstanceID
	Ballot Ballot
	Value  Value
	Deps   Dependencies
}

// Recover asks for a promise to take part in nothing below Ballot (lines 43-50).
type Recover struct {
	ID     InstanceID
	Ballot Ballot
}

// RecoverReply promises Ballot and reports what the sender knows of the instance. Value is zero
// where the phase is Initial and no command is known.
type RecoverReply struct {
	ID       InstanceID
	Ballot   Ballot
	Phase    Phase
	Accepted Ballot // ballot of the last accept or commit; never the promise
	Value    Value
	Deps     Dependencies // nil while Phase is Initial
	Initial  Dependencies // nil if unknown
}

// Validate asks whether the initial proposal of an instance can have been, or can still be,
// decided in spite of what the receiver knows (lines 58-62).
type Validate struct {
	ID      InstanceID
	Ballot  Ballot
	Command *Command
	Initial Dependencies
}

// Conflict is one instance that stands against a validated proposal.
type Conflict struct {
	ID        InstanceID
	Committed bool // decided, with dependencies that do not hold the validated instance
}

// ValidateReply lists what stands against the proposal; an empty list is assent.
type ValidateReply struct {
	ID        InstanceID
	Ballot    Ballot
	Conflicts []Conflict
}

// Waiting tells that the recovery of ID waits for instances that stand against it, and how many
// replicas were found to have pre-accepted ID with its initial dependencies. It is a fact that
// no ballot outdates.
type Waiting struct {
	ID    InstanceID
	Count int
}

// Refusal tells the owner of a ballot that a higher one was promised.
type Refusal struct {
	ID       InstanceID
	Promised Ballot
}

// TryRecover asks the receiver, the first in line to do it, to recover the instances.
type TryRecover struct {
	IDs []InstanceID
}

// Fetch asks for the decisions of the instances; the answer is a Commit for each that is decided
// at the receiver, with its command, and silence about the rest.
type Fetch struct {
	IDs []InstanceID
}

// Gossip tells how far the sender is, column by column.
type Gossip struct {
	Epoch    Epoch
	Executed Dependencies // E: every slot up to here is executed durably at the sender
	Tops     Dependencies // the highest slot of each column that the sender has heard of
	Stable   Dependencies // S: every slot up to here is executed durably at every voter
}

// Truncated answers what is asked about an instance that the sender has forgotten, because every voter
// had executed it durably, the asker too.
type Truncated struct {
	ID InstanceID
}

// ReadQuery asks which instances interfere with a read. It needs no disk and leaves no trace.
type ReadQuery struct {
	Epoch     Epoch
	Number    uint64 // names the query at its sender
	Footprint Footprint
}

// ReadReply answers with every interfering instance that the sender knows, or has forgotten.
type ReadReply struct {
	Epoch  Epoch
	Number uint64
	Deps   Dependencies
}

func (PreAccept) message()      {}
func (PreAcceptReply) message() {}
func (Accept) message()         {}
func (AcceptReply) message()    {}
func (Commit) message()         {}
func (Recover) message()        {}
func (RecoverReply) message()   {}
func (Validate) message()       {}
func (ValidateReply) message()  {}
func (Waiting) message()        {}
func (Refusal) message()        {}
func (TryRecover) message()     {}
func (Fetch) message()          {}
func (Gossip) message()         {}
func (Truncated) message()      {}
func (ReadQuery) message()      {}
func (ReadReply) message()      {}

// InstanceOf is the instance a message is about; zero if it is about none or several.
func InstanceOf(message Message) InstanceID {
	switch m := message.(type) {
	case PreAccept:
		return m.ID
	case PreAcceptReply:
		return m.ID
	case Accept:
		return m.ID
	case AcceptReply:
		return m.ID
	case Commit:
		return m.ID
	case Recover:
		return m.ID
	case RecoverReply:
		return m.ID
	case Validate:
		return m.ID
	case ValidateReply:
		return m.ID
	case Waiting:
		return m.ID
	case Refusal:
		return m.ID
	default:
		return InstanceID{}
	}
}
