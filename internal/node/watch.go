package node

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/watch"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Watches (docs/protocol.md, H).

// Watching bounds what a replica keeps for those who watch keys.
type Watching struct {
	JournalBytes int // of changes, for those who come back; 0 is 64 MiB
	PollsMax     int // that wait at a time; 0 is 16384
}

const (
	journalBytesDefault = 64 << 20
	pollsMaxDefault     = 1 << 14
)

var (
	// ErrWatch: what is asked for can be watched nowhere.
	ErrWatch = errors.New("this cannot be watched")
	// ErrPolls: too many watches wait at this replica.
	ErrPolls = watch.ErrCrowded
)

// Poll is one question of a client that watches keys.
type Poll struct {
	Proposal epaxos.ProposalID
	Request  wire.WatchRequest
	After    Token // of one that begins: what it shows has to show all that this names
}

// initWatches makes the journal. Where the machine tells of no changes, it stays empty.
func (n *Node) initWatches() {
	w := n.config.Watching
	n.watches = watch.New(cmp.Or(w.JournalBytes, journalBytesDefault), cmp.Or(w.PollsMax, pollsMaxDefault))
	n.watched, _ = n.config.Machine.(execution.Watched)
}

// openState is the applied state as the store has it.
func (n *Node) openState() {
	n.state = execution.NewState(n.config.Store)
	n.state.PackRecords(n.members.Format >= wire.FormatPacks)
	if n.watched != nil {
		n.state.RecordChanges()
	}
}

// Watch asks for the changes that a token does not name. The answer comes from Execute, perhaps after many turns: its
// result is a wire.WatchResult. It is Void where this replica cannot tell any more; the client may ask anyone again.
func (n *Node) Watch(now time.Duration, p Poll) error {
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
	}
	poll, err := n.poll(&p)
	if err != nil {
		return err
	}
	err = n.watches.Open(poll)
	if errors.Is(err, watch.ErrSpan) {
		return fmt.Errorf("%w: %w", ErrWatch, err)
	}
	return err
}

func (n *Node) poll(p *Poll) (watch.Poll, error) {
	r := &p.Request
	poll := watch.Poll{
		ID: p.Proposal, From: string(r.From), End: string(r.End), State: r.State,
		BytesMax: int(min(r.BytesMax, wire.WatchBytesMax)), //nolint:gosec // small
	}
	switch {
	case n.watched == nil:
		return poll, fmt.Errorf("%w: the state machine tells of no changes", ErrWatch)
	case poll.End != "" && poll.End <= poll.From:
		return poll, fmt.Errorf("%w: no key is between %q and %q", ErrWatch, poll.From, poll.End)
	case len(r.Token) > 0:
		token, err := wire.DecodeWatchToken(r.Token)
		if err != nil {
			return poll, fmt.Errorf("%w: its token: %w", ErrWatch, err)
		}
		if token.Told.Epoch > n.members.Epoch {
			return poll, ErrBehind
		}
		poll.Token = &token
		return poll, nil
	case p.After.Epoch > n.members.Epoch,
		p.After.Epoch == n.members.Epoch && len(p.After.Deps) != n.membership.N():
		return poll, ErrBehind
	}
	footprint := epaxos.Footprint{{
		Mode: epaxos.Read, Space: epaxos.SpaceState, Range: true, Key: poll.From, End: poll.End,
	}}
	poll.Ready = func() bool { return n.covers(p.After) || n.orderer.Passed(footprint, p.After.Deps) }
	return poll, nil
}

// EndWatch takes a poll back because its time is up. The result tells that nothing has changed, with a token as of now;
// it is nil if this replica cannot tell that.
func (n *Node) EndWatch(id epaxos.ProposalID) (result []byte) { return n.watches.End(id) }

// VoidWatches takes all polls back, so that their clients ask others.
func (n *Node) VoidWatches() []Answer { return voided(n.watches.Void(), nil) }

func voided(ids []epaxos.ProposalID, answers []Answer) []Answer {
	for _, id := range ids {
		answers = append(answers, Answer{Proposal: id, Void: true})
	}
	return answers
}

// serveWatches answers the polls that there is something for. Everything that can execute has.
func (n *Node) serveWatches(answers []Answer) ([]Answer, error) {
	told, err := n.watches.Serve(site{n})
	if err != nil {
		n.fault = fmt.Errorf("watch: %w", err)
	}
	for _, a := range told {
		answers = append(answers, Answer{Proposal: a.ID, Result: a.Result})
	}
	return answers, n.fault
}

// site is the node as a poll sees it.
type site struct{ n *Node }

func (s site) Event(c *execution.Change) (e execution.Event, ok bool, err error) {
	return s.n.watched.Event(c)
}

func (s site) Scan(from, to string, visit func(key string, value []byte) bool) error {
	return s.n.state.Scan(epaxos.SpaceState, from, to, visit)
}

// tellExecuted notes what was executed and has changed nothing.
func (n *Node) tellExecuted(ids []epaxos.InstanceID) {
	for _, id := range ids {
		n.watches.Executed(id.Replica, id.Slot, nil)
	}
}

// restartWatches begins the journal anew behind what is executed, and voids who waits (rule H5).
func (n *Node) restartWatches(answers []Answer) []Answer {
	executed := wire.InstanceSet{Epoch: n.members.Epoch}
	if n.orderer != nil {
		for column, slot := range n.orderer.Executed() {
			executed.AddUpTo(n.membership.Voters[column], 1, slot)
		}
		for _, id := range n.orderer.ExecutedAbove() {
			executed.Add(id.Replica, id.Slot)
		}
	}
	return voided(n.watches.Restart(executed), answers)
}

// continueWatches takes the journal into the next epoch, if this replica votes in it.
func (n *Node) continueWatches(answers []Answer) []Answer {
	if n.core == nil {
		return n.restartWatches(answers)
	}
	n.watches.Begin(n.members.Epoch)
	return answers
}
