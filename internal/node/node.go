package node

import (
	"errors"
	"fmt"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// Config is what a node is made of.
type Config struct {
	ID         epaxos.ReplicaID
	Cluster    [16]byte
	Membership epaxos.Membership
	Members    []Member // every voter, this replica included
	Core       Core     // fresh
	Orderer    Orderer  // fresh
	Store      Store    // as the last run left it
	Machine    execution.StateMachine
	WriteBack  time.Duration     // what nobody waits for is saved at the latest after this
	Compaction Compaction        // zero values are defaults
	Trace      func(line string) // one line per message and record; nil is none
}

// Member is a voter and the incarnation of it that the membership admits.
type Member struct {
	Replica     epaxos.ReplicaID
	Incarnation uint64
}

// writeBackBytes is how much applied state may wait in memory, with its executed marks in the log.
const writeBackBytes = 512 << 10

var (
	// ErrProbation: the replica does not yet know whether it may vote.
	ErrProbation = errors.New("the replica has not yet heard from a quorum since it started")
	// ErrNoRoom: the disk is almost full, so the replica takes no work.
	ErrNoRoom = errors.New("the disk of the replica is almost full")
	// ErrForgot: peers remember more of this replica than its disk does.
	ErrForgot = errors.New("the disk has lost what this replica promised; it must come back under a new incarnation")
)

// Node is one replica. It is not safe for concurrent use.
type Node struct {
	config  Config
	state   *execution.State
	now     time.Duration
	pending epaxos.Ready // messages and decisions of the running turn
	led     map[epaxos.InstanceID]epaxos.Led
	unsaved unsaved
	history history
	fault   error // why this replica must stop
	noRoom  error // why it takes no work for now

	peers    []peer // by position in Config.Members
	admitted bool   // off probation
}

// Answer is the result of a proposal that was executed.
type Answer struct {
	Proposal epaxos.ProposalID
	Result   []byte
	Fast     bool
}

// New replays the store into a fresh core and executor.
func New(config Config) (*Node, error) {
	n := &Node{
		config: config,
		state:  execution.NewState(config.Store),
		led:    map[epaxos.InstanceID]epaxos.Led{},
		peers:  make([]peer, len(config.Members)),
	}
	n.history.init(config.Compaction, config.Membership)
	for i, m := range config.Members {
		n.peers[i].Member = m
	}
	self := n.peer(config.ID)
	if self == nil {
		return nil, fmt.Errorf("replica %d is not a member", config.ID)
	}
	if err := n.replay(); err != nil {
		return nil, err
	}
	self.greeted = true
	n.judge()
	return n, nil
}

// replay restores marks before records, so that nothing executed before the crash is ordered again.
func (n *Node) replay() error {
	floor := make(epaxos.Dependencies, n.config.Membership.N())
	err := n.groups(func(_ uint64, g *wire.Group) error {
		for _, id := range g.Executed {
			n.config.Orderer.Restore(id)
		}
		if g.Truncated == nil {
			return nil
		}
		if len(g.Truncated) != len(floor) || len(g.Prefix) != len(floor) {
			return fmt.Errorf("it was saved with %d voters, now there are %d", len(g.Truncated), len(floor))
		}
		n.config.Orderer.RestorePrefix(g.Prefix)
		floor.Raise(g.Truncated)
		return nil
	})
	if err != nil {
		return err
	}
	if err := n.config.Core.RestoreTruncated(floor); err != nil {
		return err
	}
	err = n.groups(func(number uint64, g *wire.Group) error {
		for _, record := range g.Records {
			n.history.touch(record.ID)
			if err := n.config.Core.Restore(record); err != nil {
				return err
			}
		}
		for _, h := range g.Heard {
			n.hear(h.Replica, h.Incarnation, h.Group)
		}
		n.history.add(number, n.history.replayed, 0)
		n.history.close()
		return nil
	})
	if err != nil {
		return err
	}
	for i := range n.peers {
		n.peers[i].unsaved = false
	}
	if err := n.config.Core.Restored(0); err != nil {
		return err
	}
	n.config.Core.ExecutedDurably(n.config.Orderer.Executed())
	n.takeReady()
	_, err = n.Execute(0)
	return err
}

func (n *Node) groups(visit func(uint64, *wire.Group) error) error {
	return n.config.Store.Groups(func(number uint64, body []byte) error {
		group, err := wire.DecodeGroup(body)
		if err != nil { // its checksum is right, so that is how it was written
			return fmt.Errorf("log group %d: %w: %w", number, storage.ErrFormat, err)
		}
		n.history.replayed = len(body)
		if err := visit(number, &group); err != nil {
			return fmt.Errorf("log group %d: %w", number, err)
		}
		return nil
	})
}

// Propose asks for a request with this footprint to be executed. An error means that it was not
// proposed and never will be.
func (n *Node) Propose(now time.Duration, id epaxos.ProposalID, request epaxos.Request, f epaxos.Footprint) error {
	n.advance(now)
	switch {
	case !n.admitted:
		return ErrProbation
	case n.noRoom != nil:
		return ErrNoRoom
	}
	return n.config.Core.Propose(n.now, id, request, f)
}

// Cancel takes back a proposal that no instance holds. It reports whether the request is now
// certain never to be applied.
func (n *Node) Cancel(id epaxos.ProposalID) bool { return n.config.Core.Cancel(id) }

// Deliver takes the messages of one frame of a greeted peer. On probation and while the disk is
// full they are dropped, as the network might have done.
func (n *Node) Deliver(now time.Duration, from epaxos.ReplicaID, header wire.FrameHeader, messages []epaxos.Message) {
	n.advance(now)
	peer := n.peer(from)
	if peer == nil || from == n.config.ID {
		return
	}
	n.hear(from, peer.Incarnation, header.Group)
	if !n.admitted || n.noRoom != nil {
		return
	}
	for _, m := range messages {
		n.config.Core.Step(n.now, epaxos.Envelope{From: from, To: n.config.ID, Message: m})
	}
}

// Tick lets time pass.
func (n *Node) Tick(now time.Duration) {
	n.advance(now)
	if !n.admitted || n.noRoom != nil {
		return
	}
	if blocked := n.config.Orderer.Blocked(); len(blocked) > 0 {
		n.config.Core.Blocked(n.now, blocked)
	}
	n.config.Core.Tick(n.now)
	n.considerCompaction()
}

// Suspect tells that a member seems to be dead, or alive again. On probation that is only remembered:
// the core would begin recoveries, at ballots that a lost disk may have used before.
func (n *Node) Suspect(now time.Duration, id epaxos.ReplicaID, suspected bool) {
	n.advance(now)
	if p := n.peer(id); p != nil {
		p.suspected = suspected
	}
	if n.admitted {
		n.config.Core.Suspect(n.now, id, suspected)
	}
}

// Busy reports whether Save and Execute have something to do without further input.
func (n *Node) Busy() bool { return n.config.Core.HasReady() }

// Quiet reports whether nothing is left to do but to wait for inputs, so that ticks may be rare.
func (n *Node) Quiet() bool {
	return n.config.Core.Quiet() && !n.unsaved.dirty && len(n.unsaved.batches) == 0 && n.noRoom == nil &&
		n.history.plan == nil
}

func (n *Node) advance(now time.Duration) { n.now = max(n.now, now) }
