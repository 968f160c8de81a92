package paxos

import "github.com/264bc8cf/epaxos/epaxos"

// Message is one message between replicas. The set is sealed: every type is declared in this file.
type Message interface{ message() }

// Envelope is a message on its way.
type Envelope struct {
	From, To epaxos.ReplicaID
	Message  Message
	Same     bool // as the message of the envelope before, in one Ready
}

// Forward hands commands to the leader, to be proposed.
type Forward struct {
	Values []Value
}

// Prepare is phase 1a. With One set it is about slot From alone, else about From and all that follow.
type Prepare struct {
	Ballot Ballot
	From   Slot
	One    bool
}

// Report is what a replica knows of one slot.
type Report struct {
	Slot    Slot
	Round   Round // of its vote
	Entry   Entry
	Decided bool
}

// Promise is phase 1b: nothing below Ballot will be voted for, and this is what was.
type Promise struct {
	Ballot  Ballot
	From    Slot
	Reports []Report // ascending by slot
}

// Accept is phase 2a.
type Accept struct {
	Round Round
	Slot  Slot
	Entry Entry
}

// Accepted is phase 2b, a vote for what the proposer of the round proposed.
type Accepted struct {
	Round Round
	Slot  Slot
}

// Decide tells that a slot is decided: with what was voted for in Round, or, if Full is set, with Entry.
type Decide struct {
	Slot  Slot
	Round Round
	Full  bool
	Entry Entry
}

// Refusal tells the owner of a lower ballot what was promised. Slot is zero if it holds for the whole log.
type Refusal struct {
	Slot     Slot
	Promised Ballot
}

// Heartbeat tells who leads, and how far the log is decided at the sender without a gap. Those that do
// not lead send it with the zero ballot.
type Heartbeat struct {
	Ballot  Ballot
	Decided Slot
	Fast    Slot // from here on the replicas may vote for what they like, in the fast round; zero is nowhere
}

// Fetch asks for decisions, bounds included.
type Fetch struct {
	From, To Slot
}

// Propose asks everyone to vote for a command in the fast round.
type Propose struct {
	Value Value
}

// Vote is phase 2b of a fast round.
type Vote struct {
	Ballot Ballot
	Slot   Slot
	ID     CommandID
}

// Fill asks the receiver to vote for nothing where it has not voted in the fast round, up to Slot.
type Fill struct {
	Ballot Ballot
	Slot   Slot
}

// Want asks for the bytes of a command.
type Want struct {
	ID CommandID
}

func (Forward) message()   {}
func (Prepare) message()   {}
func (Promise) message()   {}
func (Accept) message()    {}
func (Accepted) message()  {}
func (Decide) message()    {}
func (Refusal) message()   {}
func (Heartbeat) message() {}
func (Fetch) message()     {}
func (Propose) message()   {}
func (Vote) message()      {}
func (Fill) message()      {}
func (Want) message()      {}
