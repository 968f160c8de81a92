package epaxos

import (
	"math/bits"
	"time"
)

// instance is what this replica knows of one instance. The first group of fields is what a Record
// holds and survives a crash; the second is forgotten.
//
// Invariants (asserted by check):
//  1. promised >= accepted; neither ever decreases.
//  2. phase never decreases; from Accepted on, accepted is the ballot of the value.
//  3. from PreAccepted on, deps is known; initial and command never change once known.
//  4. a known command stands in the conflict index, whatever becomes of the instance.
type instance struct {
	id       InstanceID
	column   int
	phase    Phase
	noOp     bool
	promised Ballot
	accepted Ballot
	command  *Command
	initial  Dependencies
	deps     Dependencies

	saved     bool          // the command is in a record already
	record    int           // position in Ready.Records, valid while turn is the running turn
	turn      uint64        // the turn of record
	watched   bool          // stands in Replica.watch
	executed  bool          // executed here
	led       bool          // proposed here since the start: counts as in flight until executed
	since     time.Duration // when it was first heard of, or last made progress
	asked     time.Duration // when its decision was last asked for
	nominated time.Duration // when the first in line was last asked to recover it
	notBefore time.Duration // no recovery starts here earlier (back-off)
	refused   Ballot        // the highest ballot that refused one of ours
	waiting   int           // the largest count a Waiting about it carried
	round     *round        // what this replica is leading on it, if anything
	proposals []ProposalID  // of the requests of command, if it was proposed here since the start
}

// value is the current value in full.
func (in *instance) value() Value {
	switch {
	case in.noOp:
		return Value{Kind: NoOp}
	case in.command != nil:
		return Value{Kind: Full, Command: in.command}
	default:
		return Value{}
	}
}

// contradicts reports that a decision is none: from its ballot on only its value is accepted, and here is
// another. Of a command it compares only that there is one, since an instance has but one.
func (in *instance) contradicts(ballot Ballot, value Value, deps Dependencies) bool {
	return in.phase == Accepted && !in.accepted.Less(ballot) &&
		(in.noOp != (value.Kind == NoOp) || !in.deps.Equal(deps))
}

// stage is the phase of an attempt to decide an instance.
type stage uint8

const (
	preAccepting stage = iota + 1
	accepting
	recovering
	validating
	awaiting
)

// round is one attempt of this replica to decide an instance, at one ballot. It is discarded with
// its stage: replies of an older stage or attempt never count.
type round struct {
	stage    stage
	ballot   Ballot
	sent     time.Duration // when requests were last sent
	began    time.Duration
	votes    columns // who answered this stage
	refusals columns // who refused ballot 0

	union    Dependencies  // preAccepting: of all answers
	matching int           // preAccepting: answers equal to the initial dependencies
	patience time.Duration // preAccepting: when a slow quorum stops waiting for a fast one; 0 before it is one

	value Value        // accepting, validating, awaiting: what is proposed
	deps  Dependencies // likewise

	replies []*RecoverReply // recovering and later: by column
	quorum  columns         // validating, awaiting: who must assent (Q of Figure 3)
	equal   int             // validating, awaiting: |R|
	against []Conflict      // validating, awaiting: I, ascending and distinct
}

// columns is a set of voters.
type columns uint64

func (s columns) has(column int) bool         { return s&(1<<column) != 0 }
func (s columns) with(column int) columns     { return s | 1<<column }
func (s columns) count() int                  { return bits.OnesCount64(uint64(s)) }
func (s columns) contains(other columns) bool { return s&other == other }
