package paxos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Core is a protocol as a machine of values, with the inputs and outputs of epaxos.Replica as far as they make
// sense for a log. The caller saves Ready.Records before it sends Ready.Messages, and executes Ready.Execute
// in its order. A Core is not safe for concurrent use.
type Core interface {
	// Propose asks for a request to be executed. An error means that it was not proposed.
	Propose(now time.Duration, id epaxos.ProposalID, request epaxos.Request, footprint epaxos.Footprint) error
	// Cancel takes back a request of this turn; false if it is under way already, or unknown.
	Cancel(id epaxos.ProposalID) bool
	Step(now time.Duration, e Envelope)
	Tick(now time.Duration)
	Suspect(now time.Duration, id epaxos.ReplicaID, suspected bool)
	HasReady() bool
	// Ready returns what is to be done because of the inputs since the last call, and forgets it.
	Ready() Ready
	// Restore replays one saved record; all come in the order they were saved, before any other input.
	Restore(Record)
	// Restored ends the replay.
	Restored(now time.Duration)
	Stats() Stats
	// Whole is what must be saved of a slot if what was saved of it before is to be deleted: with slot 1 also what is
	// of no slot. Nil if there is nothing.
	Whole(Slot) []Record
	// Lacks counts the slots that others are known to have decided and that cannot be executed here yet.
	Lacks() int
	// Leads reports whether this replica leads now.
	Leads() bool
}

// Kind is a protocol.
type Kind uint8

// The protocols.
const (
	KindBasic Kind = iota + 1
	KindMulti
	KindFast
)

// Quorums are the numbers of replicas, the own included, that each step waits for.
type Quorums struct {
	Prepare int // phase 1
	Accept  int // phase 2, and the classic half of a round of Fast Paxos
	Fast    int // equal votes of a fast round; Fast Paxos only
}

// Majority is the usual choice for n replicas.
func Majority(n int) Quorums { return Quorums{Prepare: n/2 + 1, Accept: n/2 + 1} }

// Flexible has phase 2 decided by accept replicas, and phase 1 by as many as meet each such quorum.
func Flexible(n, accept int) Quorums { return Quorums{Prepare: n - accept + 1, Accept: accept} }

// FastQuorums is the choice of Fast Paxos: majorities, and ⌈3n/4⌉ for the fast path.
func FastQuorums(n int) Quorums {
	return Quorums{Prepare: n/2 + 1, Accept: n/2 + 1, Fast: (3*n + 3) / 4}
}

// Config is what a core is made of.
type Config struct {
	Kind       Kind
	ID         epaxos.ReplicaID
	Membership epaxos.Membership  // F and E are not looked at
	Life       uint32             // how often the replica has started; never the same twice
	Succession []epaxos.ReplicaID // who leads, and who follows if that one fails; Multi and Fast
	Quorums    Quorums
	Rand       *rand.Rand // source of all jitter
	Limits     Limits
	Timing     Timing
	Unchecked  bool // allow quorums that do not meet, so that a test can see its checks fail
}

// Limits bound what is under way. All are at least 1.
type Limits struct {
	InFlight int // slots that a leader has proposed and not decided
	Pack     int // requests of one turn that share a command, and commands that share a slot
	Queue    int // own requests that have not been executed; more are refused
}

// DefaultLimits has the numbers of epaxos.DefaultLimits.
func DefaultLimits() Limits { return Limits{InFlight: 1024, Pack: 32, Queue: 16384} }

// Timing holds the delays that drive progress. None of them matters for safety.
type Timing struct {
	Resend   time.Duration // what was not answered is sent again
	Fetch    time.Duration // a decision that others know is asked for
	Stagger  time.Duration // the next in line waits so much longer before it stands for leader
	Gossip   time.Duration // between two heartbeats
	Backoff  time.Duration // at most so long, at first, a proposer of Basic Paxos waits after a refusal
	Patience time.Duration // so long a coordinator of Fast Paxos waits for the votes of a slot
}

// DefaultTiming has the numbers of epaxos.DefaultTiming where there are such.
func DefaultTiming() Timing {
	return Timing{
		Resend: 700 * time.Millisecond, Fetch: 400 * time.Millisecond, Stagger: 700 * time.Millisecond,
		Gossip: 250 * time.Millisecond, Backoff: 100 * time.Millisecond, Patience: 400 * time.Millisecond,
	}
}

// Record is what must outlive a crash. Slot 0 is the promise for the whole log.
type Record struct {
	Slot     Slot
	Promised Ballot
	Voted    bool
	Round    Round // of the vote
	Entry    Entry // of the vote; with Decided, the decision
	Known    bool  // Entry is that of an earlier record of the slot, so only a few bytes are written
	Decided  bool
}

// Execution is a decided command in its place in the order. Proposals are those of this life of
// this replica, one for each request, or none.
type Execution struct {
	Slot      Slot
	Value     Value
	Proposals []epaxos.ProposalID
}

// Decision is a slot that has become known as decided, in any order.
type Decision struct {
	Slot  Slot
	Entry Entry
}

// Chosen tells of proposals of this replica that they are decided, before they can be executed perhaps.
type Chosen struct {
	Proposals []epaxos.ProposalID
	Fast      bool // by a fast quorum
}

// Ready is what a core wants done.
type Ready struct {
	Records  []Record
	MustSync bool // a message or a decision relies on a record
	Messages []Envelope
	Chosen   []Chosen
	Decided  []Decision
	Execute  []Execution
}

// Stats counts what happened since the start.
type Stats struct {
	Elections  uint64 // begun here
	Attempts   uint64 // phases 1 begun for one slot
	Refusals   uint64 // own ballots that met a higher one
	Collisions uint64 // slots that the coordinator had to settle
	Queued     int    // own requests that are not executed, now
}

// ErrOverloaded: too many requests wait. The request was not proposed.
var ErrOverloaded = errors.New("too many requests wait for room; try again later")

// New makes a core that has never run. Call Restored before any other input, after Restore of what was saved.
func New(config Config) (Core, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	switch config.Kind {
	case KindBasic:
		return newBasic(config), nil
	case KindMulti, KindFast:
		return newMulti(config), nil
	default:
		return nil, fmt.Errorf("paxos: protocol %d is unknown", config.Kind)
	}
}

func (c *Config) validate() error {
	if err := c.Membership.Validate(); err != nil {
		return fmt.Errorf("paxos: %w", err)
	}
	n, q := c.Membership.N(), c.Quorums
	if _, votes := c.Membership.Column(c.ID); !votes || c.Rand == nil {
		return fmt.Errorf("paxos: replica %d needs to be a voter and to have a source of randomness", c.ID)
	}
	if c.Unchecked {
		return nil
	}
	if min(q.Prepare, q.Accept) < 1 || max(q.Prepare, q.Accept, q.Fast) > n || q.Prepare+q.Accept <= n {
		return fmt.Errorf("paxos: quorums %+v of %d replicas: phases 1 and 2 must have a replica in common", q, n)
	}
	// Any two fast quorums and a phase 1 quorum must meet ("Fast Paxos", section 3.3).
	if c.Kind == KindFast && (2*q.Fast+q.Prepare <= 2*n || 2*q.Fast+q.Accept <= 2*n) {
		return fmt.Errorf("paxos: quorums %+v of %d replicas: two fast ones and a classic one must meet", q, n)
	}
	if c.Kind != KindBasic && len(c.Succession) != n {
		return fmt.Errorf("paxos: the succession %v must name each of %d replicas", c.Succession, n)
	}
	for _, id := range c.Membership.Voters {
		if c.Kind != KindBasic && c.rank(id) < 0 {
			return fmt.Errorf("paxos: the succession %v lacks replica %d", c.Succession, id)
		}
	}
	l, t := c.Limits, c.Timing
	if min(l.InFlight, l.Pack, l.Queue) < 1 ||
		min(t.Resend, t.Fetch, t.Stagger, t.Gossip, t.Backoff, t.Patience) <= 0 {
		return fmt.Errorf("paxos: limits %+v and timing %+v must be positive", l, t)
	}
	return nil
}

// rank is the position of a replica in the succession, or -1.
func (c *Config) rank(id epaxos.ReplicaID) int {
	for i, other := range c.Succession {
		if other == id {
			return i
		}
	}
	return -1
}
