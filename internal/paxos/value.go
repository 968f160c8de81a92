package paxos

import (
	"cmp"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Slot is a place in the log, counted from 1.
type Slot uint64

// Ballot names a leader's or proposer's attempt. The zero ballot belongs to nobody.
type Ballot = epaxos.Ballot

// Round is a ballot and its half. A leader's fast and classic rounds stand side by side in the order of
// rounds: no other leader's round comes between them, which is what lets its classic round take the votes of its fast
// one for promises.
type Round struct {
	Ballot  Ballot
	Classic bool
}

// Compare orders rounds by ballot; of one ballot, fast comes before classic.
func (r Round) Compare(other Round) int {
	half := func(r Round) int {
		if r.Classic {
			return 1
		}
		return 0
	}
	return cmp.Or(r.Ballot.Compare(other.Ballot), cmp.Compare(half(r), half(other)))
}

// CommandID names a command for ever. The zero id is no command: a vote for nothing.
type CommandID struct {
	Replica epaxos.ReplicaID // that proposes it
	Life    uint32           // of the replica
	Number  uint64
}

// Value is a named command: the requests of one turn of one replica.
type Value struct {
	ID      CommandID
	Command *epaxos.Command
}

// Entry is what one slot decides: commands that execute one after the other. An empty one is a no-op.
type Entry []Value

// equal compares by name.
func (e Entry) equal(other Entry) bool {
	if len(e) != len(other) {
		return false
	}
	for i := range e {
		if e[i].ID != other[i].ID {
			return false
		}
	}
	return true
}

// holds reports whether a command is in the entry.
func (e Entry) holds(id CommandID) bool {
	for i := range e {
		if e[i].ID == id {
			return true
		}
	}
	return false
}

// id is the name of the only command of an entry of a fast round; zero for a no-op.
func (e Entry) id() CommandID {
	if len(e) == 0 {
		return CommandID{}
	}
	return e[0].ID
}

// columns is a set of replicas by their column.
type columns uint64

func (c columns) has(column int) bool { return c>>column&1 == 1 }

func (c *columns) add(column int) { *c |= 1 << column }

func (c columns) count() int {
	count := 0
	for ; c != 0; c &= c - 1 {
		count++
	}
	return count
}
