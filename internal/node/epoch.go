package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// The change from one epoch to the next (docs/protocol.md, M).

// Role is what a replica is in the epoch that it is in.
type Role uint8

const (
	// Joining: it has no state yet.
	Joining Role = iota + 1
	// Voter: it proposes, votes and executes.
	Voter
	// Learner: it follows one member's executed order, and votes never.
	Learner
	// Removed: it belonged to an earlier epoch. What it knows of that it still tells.
	Removed
)

var roleNames = [...]string{Joining: "joining", Voter: "voter", Learner: "learner", Removed: "removed"}

// String is for people.
func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return fmt.Sprintf("role(%d)", uint8(r))
}

// epoch is what a node runs in one epoch. The core, the executor and what they know of the log are of that
// epoch alone, so that no id, vote or watermark of an earlier one can be taken for one of this (rule M4).
type epoch struct {
	role       Role
	members    wire.Members
	membership epaxos.Membership
	core       Core                             // nil but in a voter
	orderer    Orderer                          // likewise
	led        map[epaxos.InstanceID]epaxos.Led // decided here and not executed

	next  *wire.Members       // of the Reconfigure that was executed; the switch is not saved yet
	ended []epaxos.InstanceID // executed up to and with it, and not told to the core
	void  []execution.Vertex  // of its component, which the orderer counts as executed
	ahead epaxos.Epoch        // the newest that a peer was heard to be in
}

// former is the epoch before. Its core still tells what was decided in it, and nothing else.
type former struct {
	core   Core // nil where nobody needs it any more
	gossip epaxos.Gossip
	since  time.Duration
}

// formerMax is how long the decisions of an ended epoch are kept at most. Who comes later takes the state.
const formerMax = time.Minute

// removedInterval is how often one that was removed asks who has begun the epoch without it.
const removedInterval = time.Second

// endedInterval is how often a peer is told at most that an epoch is over.
const endedInterval = 200 * time.Millisecond

// membersKey is where the applied state holds its members, from the first Reconfigure on.
const membersKey = "members"

// savedMembers is who the members are, as far as the store knows.
func (n *Node) savedMembers() (wire.Members, error) {
	body, found, err := n.state.Get(epaxos.SpaceControl, membersKey)
	if err != nil {
		return wire.Members{}, err
	}
	if !found {
		return n.config.Members, nil
	}
	members, err := wire.DecodeMembers(body)
	if err != nil { // its checksum is right, so that is how it was written
		return members, fmt.Errorf("saved members: %w: %w", storage.ErrFormat, err)
	}
	n.hasState = true
	return members, nil
}

// begin starts an epoch, with a fresh core if this replica votes in it.
func (n *Node) begin(members wire.Members) error {
	if err := members.Validate(); err != nil {
		return err
	}
	if members.Format < wire.FormatMin || members.Format > n.formatMax() {
		return fmt.Errorf("the cluster is at format level %d, and this program knows %d to %d: run a version that knows "+
			"it: %w", members.Format, wire.FormatMin, n.formatMax(), storage.ErrFormat)
	}
	e := epoch{
		members: members, membership: members.Membership(), ahead: n.ahead, led: map[epaxos.InstanceID]epaxos.Led{},
	}
	self, votes, found := members.Find(n.config.ID)
	switch {
	case found && self.Incarnation != n.config.Incarnation:
		return fmt.Errorf("the membership admits incarnation %x of replica %d, this directory is of %x: %w",
			self.Incarnation, n.config.ID, n.config.Incarnation, ErrForgot)
	case found && !votes:
		e.role = Learner
	case votes && (n.hasState || members.Epoch == 1):
		e.role = Voter
		core, err := n.config.NewCore(e.membership)
		if err != nil {
			return err
		}
		e.core, e.orderer = core, n.config.NewOrderer(e.membership)
	case n.hasState:
		e.role = Removed
	}
	if !n.hasState && e.role != Voter {
		e.role = Joining
	}
	n.epoch = e
	n.state.PackRecords(members.Format >= wire.FormatPacks) // a Reconfigure stands at one place of the order
	n.history.restart(e.membership)
	n.meet()
	if n.admitted {
		n.tellSuspicions()
	}
	return nil
}

// meet lists the peers anew. Those of the epoch before stay for another, since they may not know of its end.
func (n *Node) meet() {
	before := n.peers
	n.peers = nil
	for _, m := range n.members.All() {
		p := &peer{}
		if i := slices.IndexFunc(before, func(p *peer) bool {
			return p.Replica == m.Replica && p.Incarnation == m.Incarnation
		}); i >= 0 {
			p = before[i]
			p.former = p.member
			before = slices.Delete(before, i, i+1)
		}
		_, votes := n.membership.Column(m.Replica)
		p.Member, p.votes, p.member = m, votes, true
		n.peers = append(n.peers, p)
	}
	for _, p := range before {
		if p.member {
			p.former, p.member, p.votes = true, false, false
			n.peers = append(n.peers, p)
		}
	}
	slices.SortFunc(n.peers, func(a, b *peer) int { return int(int64(a.Replica) - int64(b.Replica)) })
}

// Members is who belongs to the cluster as far as this replica has executed, and what it is among them.
func (n *Node) Members() (members wire.Members, role Role) { return n.members, n.role }

// Known is every replica that this one talks to: the members, and those of the epoch before, who may not have
// heard of its end.
func (n *Node) Known() []wire.Member {
	known := make([]wire.Member, len(n.peers))
	for i, p := range n.peers {
		known[i] = p.Member
	}
	return known
}

// control executes a request to the service itself. What does not fit is refused, alike everywhere.
func (n *Node) control(v *execution.Vertex, payload []byte) []byte {
	result := wire.ControlResult{Members: n.members}
	c, err := wire.DecodeControl(payload)
	switch {
	case err != nil:
		result.Refused = "a request that cannot be read"
	case c.Kind == wire.ControlBarrier:
	case c.Kind == wire.ControlCut:
		n.cuts.owe(v.ID, c.TTL)
		return wire.AppendInstanceID(nil, v.ID)
	case n.next != nil || !v.Command.Footprint.EndsEpoch():
		result.Refused = "a Reconfigure within a command of another kind"
	default:
		if err := n.members.Succeed(c.Members); err != nil {
			result.Refused = err.Error()
			break
		}
		n.state.Put(epaxos.SpaceControl, membersKey, wire.AppendMembers(nil, c.Members))
		n.next, result.Members = c.Members, *c.Members
	}
	return wire.AppendControlResult(nil, &result)
}

// cutOff marks what was executed of a component up to its Reconfigure; the rest of it is void.
func (n *Node) cutOff(void []execution.Vertex) {
	n.ended = slices.DeleteFunc(n.orderer.TakeExecuted(), func(id epaxos.InstanceID) bool {
		return slices.ContainsFunc(void, func(v execution.Vertex) bool { return v.ID == id })
	})
	n.void = void
	n.tellExecuted(n.ended)
	n.unsaved.executed = append(n.unsaved.executed, n.ended...)
	n.unsaved.hold = storage.HoldThis // whichever group takes this to the disk (rule M9)
	n.unsaved.touch(n.now)
	if p := n.history.plan; p != nil && !p.sealed {
		n.history.plan = nil // in a moment nothing of this epoch has to be kept
	}
}

// endEpoch saves what was executed together with the new members, and begins their epoch. Where the disk is
// full it is tried again with the next turn.
func (n *Node) endEpoch(answers []Answer) ([]Answer, error) {
	n.stamp(answers) // first: they are given though the disk may have no room for what follows
	n.takeReady()    // what is decided must be durable before it is told, by the former core too
	if err := n.flush(true); err != nil {
		return answers, n.settle(err)
	}
	n.pinBoundary(n.next.Epoch)
	n.pin(answers) // of what comes before the Reconfigure in its component
	n.receiver.position = nil
	old, marks := n.core, n.core.Watermarks()
	left := old.End(n.now, n.ended)
	n.former = former{
		core: old, since: n.now,
		gossip: epaxos.Gossip{
			Epoch: n.members.Epoch, Executed: marks.Executed, Tops: old.Tops(), Stable: marks.Stable,
		},
	}
	n.pending, n.hasState, n.held = epaxos.Ready{}, true, true
	if err := n.begin(*n.next); err != nil {
		n.fault = fmt.Errorf("begin epoch %d: %w", n.next.Epoch, err)
		return answers, n.fault
	}
	for _, u := range left {
		if n.core != nil && !u.Command.Footprint.EndsEpoch() {
			n.core.Adopt(n.now, u)
			continue
		}
		for _, proposal := range u.Proposals {
			if proposal&ownProposal != 0 {
				continue
			}
			answers = append(answers, Answer{Proposal: proposal, Void: true})
		}
	}
	answers = append(answers, n.moveReads()...)
	answers = n.continueWatches(answers)
	for _, p := range n.peers {
		n.tellEnded(p, true)
	}
	n.hearEarly()
	return answers, nil
}

// say adds a message of the node itself to the running turn.
func (n *Node) say(to epaxos.ReplicaID, m epaxos.Message) {
	if to != n.config.ID {
		n.pending.Messages = append(slices.Clip(n.pending.Messages), epaxos.Envelope{From: n.config.ID, To: to, Message: m})
	}
}

// tellEnded says that every epoch before this one is over, and what was heard of in the last.
func (n *Node) tellEnded(p *peer, decided bool) {
	p.told = n.now
	n.say(p.Replica, epaxos.Ended{Epoch: n.members.Epoch, Decided: decided})
	if decided {
		n.say(p.Replica, n.former.gossip)
	}
}

// step hands a message to whom it concerns.
func (n *Node) step(p *peer, m epaxos.Message) {
	e := epaxos.EpochOf(m)
	switch m := m.(type) {
	case epaxos.Ended:
		n.hearEpoch(p, m.Epoch)
		p.decided = m.Decided
		if !p.member && n.admitted && n.now-p.told >= endedInterval {
			n.tellEnded(p, false) // it was removed, and waits to hear this (rule M12)
		}
		return
	default:
	}
	if n.hearTransfer(p, m) {
		return
	}
	switch {
	case !n.admitted:
	case e > n.members.Epoch:
		n.keepEarly(p, m) // and the peer says itself that it is ahead once it hears from this replica
	case n.next != nil:
	case e > 0 && e < n.members.Epoch:
		n.answerEnded(p, m)
	case n.core == nil:
	default: // a vote too, even if the epoch is known to be over elsewhere (rule M8)
		if e == n.members.Epoch {
			n.hearEpoch(p, e)
		}
		n.core.Step(n.now, epaxos.Envelope{From: p.Replica, To: n.config.ID, Message: m})
	}
}

// hearEpoch takes in that a peer has executed the Reconfigure that began an epoch.
func (n *Node) hearEpoch(p *peer, e epaxos.Epoch) {
	p.epoch = max(p.epoch, e)
	n.ahead = max(n.ahead, e)
}

// answerEnded handles a message of an epoch that is over: it gets decisions, or the answer that it is over,
// never a vote and never silence for ever, and never that something was not known (rule M7).
func (n *Node) answerEnded(p *peer, m epaxos.Message) {
	if p.epoch >= n.members.Epoch {
		return // it was on its way for long: two that answered each other's would never end
	}
	f := &n.former
	decided := f.core != nil && epaxos.EpochOf(m)+1 == n.members.Epoch
	if ids := concerns(m); decided && len(ids) > 0 {
		f.core.Step(n.now, epaxos.Envelope{From: p.Replica, To: n.config.ID, Message: epaxos.Fetch{IDs: ids}})
		for _, e := range f.core.Ready().Messages {
			n.say(e.To, e.Message)
		}
	}
	if p.told == 0 || n.now-p.told >= endedInterval {
		n.tellEnded(p, decided)
	}
}

// concerns is the instances whose decisions end what a message asks for (rule C2).
func concerns(m epaxos.Message) []epaxos.InstanceID {
	switch m := m.(type) {
	case epaxos.Fetch:
		return m.IDs
	case epaxos.TryRecover:
		return m.IDs
	case epaxos.PreAccept, epaxos.Accept, epaxos.Recover, epaxos.Validate:
		return []epaxos.InstanceID{epaxos.InstanceOf(m)}
	default:
		return nil
	}
}

// settleFormer lets go of the epoch before when nobody needs it any more: its decisions when all who voted in
// it are beyond it, the state at its end when all who vote in this one have begun (rule M9).
func (n *Node) settleFormer() {
	behind, absent := false, false
	for _, p := range n.peers {
		if p.Replica == n.config.ID || p.epoch >= n.members.Epoch {
			continue
		}
		behind = behind || p.former
		absent = absent || p.votes
	}
	n.askWhoBegan()
	if n.former.core != nil && (!behind || n.now-n.former.since >= formerMax) {
		n.former = former{}
	}
	if n.held && !absent && n.admitted && n.next == nil {
		n.held, n.unsaved.hold = false, storage.HoldNone
		n.unsaved.touch(n.now)
	}
}

// askWhoBegan has the voters of the epoch without this replica say that they have begun it: what they said before may
// have been lost, and this replica sends nothing else that they would answer.
func (n *Node) askWhoBegan() {
	if n.role != Removed || !n.admitted {
		return
	}
	for _, p := range n.peers {
		if p.votes && p.epoch < n.members.Epoch && n.now-p.told >= removedInterval {
			n.tellEnded(p, n.former.core != nil)
		}
	}
}

// Dispensable reports whether the others can do without a replica that was removed: enough of them to decide have
// begun the epoch without it (rule M12).
func (n *Node) Dispensable() bool {
	begun := 0
	for _, p := range n.peers {
		if p.votes && p.epoch >= n.members.Epoch {
			begun++
		}
	}
	return n.role == Removed && begun >= n.membership.SlowQuorum()
}

// stateEpoch is the epoch of the applied state, 0 if there is none yet.
func (n *Node) stateEpoch() epaxos.Epoch {
	if n.role == Joining {
		return 0
	}
	return n.members.Epoch
}

// floor is what need not be kept in the log.
func (n *Node) floor() epaxos.Dependencies {
	if n.core == nil {
		return make(epaxos.Dependencies, n.membership.N())
	}
	return n.core.Truncated()
}

func (n *Node) executedPrefix() epaxos.Dependencies {
	if n.orderer == nil {
		return nil
	}
	prefix := n.orderer.Executed()
	for _, v := range n.void {
		column, _ := n.membership.Column(v.ID.Replica)
		prefix[column] = min(prefix[column], v.ID.Slot-1)
	}
	return prefix
}

func (n *Node) executedAbove() []epaxos.InstanceID {
	if n.orderer == nil {
		return nil
	}
	return n.orderer.ExecutedAbove()
}
