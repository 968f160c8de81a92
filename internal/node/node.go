package node

import (
	"errors"
	"fmt"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/watch"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// Config is what a node is made of.
type Config struct {
	ID          epaxos.ReplicaID
	Incarnation uint64 // of the directory
	Cluster     [16]byte
	// Members are those of the first epoch. What the store holds of a later one goes before it. A replica that
	// is not among them and has no state yet joins: they are whom it asks.
	Members    wire.Members
	NewCore    func(epaxos.Membership) (Core, error) // makes a fresh one for an epoch in which this replica votes
	NewOrderer func(epaxos.Membership) Orderer       // likewise
	Store      Store                                 // as the last run left it
	Machine    execution.StateMachine
	WriteBack  time.Duration     // what nobody waits for is saved at the latest after this
	Compaction Compaction        // zero values are defaults
	Transfer   Transfer          // likewise
	Cuts       Cuts              // likewise
	Watching   Watching          // likewise
	FormatMax  uint32            // the highest format level that this replica takes part at; 0 is wire.Format
	Trace      func(line string) // one line per message and record; nil is none
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
	// ErrNotVoter: the replica proposes nothing, since it does not vote in this epoch.
	ErrNotVoter = errors.New("the replica does not vote in this epoch")
	// ErrBehind: the epoch of the replica is over, and it has not yet caught up with the next.
	ErrBehind = errors.New("the replica has not yet executed the end of its epoch")
)

// Node is one replica. It is not safe for concurrent use.
type Node struct {
	config  Config
	state   *execution.State
	now     time.Duration
	pending epaxos.Ready // messages and decisions of the running turn
	epoch
	former   former // the epoch before, as long as somebody may ask about it
	early    early  // of the next epoch
	hasState bool   // the applied state is of a later epoch than the first
	held     bool   // the store holds the state with which the epoch began
	unsaved  unsaved
	history  history
	sessions sessions
	cuts     cuts
	reading  []reading // in the order they came
	watches  *watch.Watches
	watched  execution.Watched // the machine, nil if it tells of no changes
	fault    error             // why this replica must stop
	noRoom   error             // why it takes no work for now

	sender   sender
	receiver receiver

	peers    []*peer // members of this epoch and of the one before, this replica too, ascending
	admitted bool    // off probation
}

// Answer is the result of a proposal that was executed.
type Answer struct {
	Proposal epaxos.ProposalID
	Result   []byte
	Verdict  execution.Verdict // of a request of a session
	Token    Token             // names all that the answer may show
	Fast     bool
	// Void: the epoch ended before the request was executed, and this replica may not propose it again. It has
	// not been and will not be applied.
	Void bool
	// Unknown: the replica missed the end of the epoch in which it proposed the request, and took over the state
	// of another. The request may have been applied, or be void.
	Unknown bool
	Cut     uint64 // of a barrier: the group whose state is pinned, 0 where there was no room for it
	// Past is of a read of a cut: the state to read, which whoever takes the answer closes. Gone is why there is none;
	// it is ErrCutGone or ErrCutAwaited.
	Past storage.Past
	Gone error

	barrier bool
}

// New replays the store into a fresh core and executor.
func New(config Config) (*Node, error) {
	n := &Node{config: config}
	n.initWatches()
	n.openState()
	n.history.init(config.Compaction)
	n.cuts.config = config.Cuts.withDefaults()
	n.sender.config = config.Transfer.withDefaults()
	n.sender.credit = n.sender.config.ChunkBytes
	n.held = config.Store.Held() != 0
	members, err := n.savedMembers()
	if err != nil {
		return nil, err
	}
	if err := n.begin(members); err != nil {
		return nil, err
	}
	if err := n.loadSessions(); err != nil {
		return nil, err
	}
	if err := n.replay(); err != nil {
		return nil, err
	}
	if err := n.restoreTransfer(); err != nil {
		return nil, err
	}
	n.judge()
	return n, nil
}

// replay restores marks before records, so that nothing executed before the crash is ordered again.
func (n *Node) replay() error {
	if n.core == nil {
		return n.replayHistory()
	}
	floor := make(epaxos.Dependencies, n.membership.N())
	err := n.groups(func(_ uint64, g *wire.Group) error {
		for _, id := range g.Executed {
			n.orderer.Restore(id) // which leaves other epochs alone
		}
		if g.Truncated == nil || g.Epoch != n.members.Epoch {
			return nil
		}
		if len(g.Truncated) != len(floor) || len(g.Prefix) != len(floor) {
			return fmt.Errorf("it was saved with %d voters, now there are %d", len(g.Truncated), len(floor))
		}
		n.orderer.RestorePrefix(g.Prefix)
		floor.Raise(g.Truncated)
		return nil
	})
	if err != nil {
		return err
	}
	if err := n.core.RestoreTruncated(floor); err != nil {
		return err
	}
	if err := n.replayHistory(); err != nil {
		return err
	}
	if err := n.core.Restored(0); err != nil {
		return err
	}
	n.restartWatches(nil)
	n.core.ExecutedDurably(n.orderer.Executed())
	n.core.Executed(0, n.orderer.ExecutedAbove())
	n.takeReady()
	_, err = n.Execute(0)
	return err
}

// replayHistory gives the core its records, and the log and the peers their past. Records of an epoch that is
// over concern nobody any more (rule M7).
func (n *Node) replayHistory() error {
	err := n.groups(func(number uint64, g *wire.Group) error {
		for _, record := range g.Records {
			if record.ID.Epoch < n.members.Epoch {
				continue
			}
			if n.core == nil {
				return fmt.Errorf("it holds a record of %v, and this replica does not vote in epoch %d",
					record.ID, n.members.Epoch)
			}
			n.history.touch(record.ID)
			if err := n.core.Restore(record); err != nil {
				return err
			}
		}
		for _, h := range g.Heard {
			n.hear(h.Replica, h.Incarnation, h.Group)
		}
		if g.Origin != nil {
			n.receiver.position = g.Origin
		}
		n.receiver.provisional = g.Origin != nil && g.Origin.Probation
		n.history.add(number, n.history.replayed, 0)
		n.history.close()
		return nil
	})
	for _, p := range n.peers {
		p.unsaved = false
	}
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
	case n.core == nil:
		return ErrNotVoter
	case !n.admitted:
		return ErrProbation
	case n.noRoom != nil:
		return ErrNoRoom
	case n.ahead > n.members.Epoch:
		return ErrBehind
	case request.Opens() && len(n.sessions.open) >= SessionsMax:
		return ErrSessions
	case asksCut(&request, f) && len(n.cuts.kept) >= n.cuts.config.Max:
		return ErrCuts
	}
	return n.core.Propose(n.now, id, request, f)
}

// Cancel takes back a proposal that no instance holds. It reports whether the request is now
// certain never to be applied.
func (n *Node) Cancel(id epaxos.ProposalID) bool { return n.core != nil && n.core.Cancel(id) }

// Deliver takes the messages of one frame of a greeted peer. On probation and while the disk is
// full they are dropped, as the network might have done.
func (n *Node) Deliver(now time.Duration, from epaxos.ReplicaID, header wire.FrameHeader, messages []epaxos.Message) {
	n.advance(now)
	peer := n.peer(from)
	if peer == nil || from == n.config.ID {
		return
	}
	n.hear(from, peer.Incarnation, header.Group)
	if n.noRoom != nil {
		return
	}
	for _, m := range messages {
		n.step(peer, m)
	}
}

// Tick lets time pass.
func (n *Node) Tick(now time.Duration) {
	n.advance(now)
	if n.noRoom != nil {
		return
	}
	n.settleCuts()
	n.settleFormer()
	n.settleAskers(false)
	n.settleReceiver()
	if !n.admitted {
		return
	}
	if n.core != nil && n.next == nil {
		if blocked := n.orderer.Blocked(); len(blocked) > 0 {
			n.core.Blocked(n.now, blocked)
		}
		n.core.Tick(n.now)
		n.expireSessions()
	}
	n.considerCompaction()
}

// Suspect tells that a member seems to be dead, or alive again. On probation that is only remembered:
// the core would begin recoveries, at ballots that a lost disk may have used before.
func (n *Node) Suspect(now time.Duration, id epaxos.ReplicaID, suspected bool) {
	n.advance(now)
	if p := n.peer(id); p != nil {
		p.suspected = suspected
	}
	if n.admitted && n.core != nil {
		n.core.Suspect(n.now, id, suspected)
	}
}

// Busy reports whether Save and Execute have something to do without further input.
func (n *Node) Busy() bool {
	return n.core != nil && n.core.HasReady() || len(n.pending.Messages) > 0 || n.next != nil && n.admitted ||
		n.receiver.note.Whole && n.receiver.checked.after == nil
}

// Quiet reports whether nothing is left to do but to wait for inputs, so that ticks may be rare.
func (n *Node) Quiet() bool {
	return (n.core == nil || n.core.Quiet()) && !n.unsaved.dirty && len(n.unsaved.batches) == 0 && n.noRoom == nil &&
		n.history.plan == nil && !n.transferring() && !n.watches.Due()
}

func (n *Node) advance(now time.Duration) { n.now = max(n.now, now) }
