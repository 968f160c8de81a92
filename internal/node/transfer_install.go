package node

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// errUnfit is wrapped by the reasons why a state that has come whole is not taken over.
var errUnfit = errors.New("the state is not taken over")

// install takes over the state that has come whole, in one transaction, if it is what it claims to be and brings
// this replica on (rule M10). It returns what became of proposals.
func (n *Node) install(answers []Answer) ([]Answer, error) {
	r := &n.receiver
	members, err := n.arrived()
	if err == nil {
		err = n.fits(&members)
	}
	switch {
	case errors.Is(err, errEnough):
		return answers, nil
	case errors.Is(err, errUnfit):
		n.startOver(err.Error())
		return answers, nil
	}
	if err != nil {
		n.fault = err
		return answers, err
	}
	_, votes, _ := members.Find(n.config.ID)
	whole, changed := r.since == 0, r.since == 0 || members.Epoch != n.members.Epoch
	if whole || len(r.writes) > 0 {
		if err := n.takeOver(votes); err != nil {
			return answers, n.settle(err)
		}
	}
	n.arrive()
	if changed {
		return n.enter(members, votes, answers)
	}
	n.openState()
	return answers, nil
}

// checked is how far a staged state was read back. A turn takes a part, since the whole may be large.
type checked struct {
	after   []byte
	sum     uint64
	members []byte
}

// checkChunks is how many parts' worth of a staged state a turn reads back: 8 MiB, unless parts are smaller.
const checkChunks = 32

// arrived checks what has come as a whole, and reads the members that it names. An error of errEnough is the end
// of what one turn may do.
func (n *Node) arrived() (wire.Members, error) {
	r := &n.receiver
	for _, w := range r.writes {
		r.checked.see(w)
	}
	if r.since > 0 && r.checked.members == nil {
		return n.members, nil
	}
	if r.since == 0 {
		if err := n.readBack(); err != nil {
			return wire.Members{}, err
		}
	}
	members, err := wire.DecodeMembers(r.checked.members)
	if err == nil {
		err = members.Validate()
	}
	if err != nil {
		return members, fmt.Errorf("%w: its members: %w", errUnfit, err)
	}
	return members, nil
}

func (c *checked) see(w storage.Write) {
	if len(w.Key) == 1+len(membersKey) && w.Key[0] == byte(epaxos.SpaceControl) && string(w.Key[1:]) == membersKey {
		c.members = bytes.Clone(w.Value)
	}
}

// readBack reads on in what was staged, and compares it in the end with the checksum of what was sent.
func (n *Node) readBack() error {
	note, c, size := &n.receiver.note, &n.receiver.checked, 0
	if c.after == nil {
		c.sum = chainStart(0, note.Origin.Group, note.Epoch, note.Boundary)
	}
	err := n.config.Store.ScanStaged(c.after, func(key, value []byte) error {
		if size >= checkChunks*n.sender.config.ChunkBytes {
			return errEnough
		}
		w := storage.Write{Key: key, Value: value}
		c.sum, c.after = chain(c.sum, epaxos.StateWrite(w)), append(c.after[:0], key...)
		c.see(w)
		size += len(key) + len(value)
		return nil
	})
	switch {
	case errors.Is(err, errEnough):
		return errEnough
	case err != nil:
		return fmt.Errorf("read the staged state: %w", err)
	case chainEnd(c.sum) != note.Sum:
		return fmt.Errorf("%w: what is staged is not what replica %d has sent", errUnfit, note.Origin.Replica)
	default:
		return nil
	}
}

// fits checks that the state brings this replica on, as who it is.
func (n *Node) fits(members *wire.Members) error {
	r := &n.receiver
	self, votes, found := members.Find(n.config.ID)
	learns := n.role == Learner && n.admitted && !votes
	switch {
	case members.Epoch != r.note.Epoch:
		return fmt.Errorf("%w: it was said to be of epoch %d and is of %d", errUnfit, r.note.Epoch, members.Epoch)
	case members.Epoch < n.stateEpoch(), members.Epoch == n.stateEpoch() && !learns:
		return fmt.Errorf("%w: it is of epoch %d, the own of %d", errUnfit, members.Epoch, n.stateEpoch())
	case !n.admitted && r.provisional:
		return fmt.Errorf("%w: nobody has greeted this replica since the last one", errUnfit)
	case !found && n.role == Joining:
		return fmt.Errorf("%w: replica %d is no member of epoch %d", errUnfit, n.config.ID, members.Epoch)
	case found && self.Incarnation != n.config.Incarnation:
		return fmt.Errorf("%w: epoch %d admits incarnation %x of replica %d, this directory is of %x", errUnfit,
			members.Epoch, self.Incarnation, n.config.ID, n.config.Incarnation)
	case votes && !r.note.Boundary:
		return fmt.Errorf("%w: this replica votes in epoch %d, and it is not of its beginning", errUnfit, members.Epoch)
	default:
		return nil
	}
}

// takeOver saves the state together with where it came from.
func (n *Node) takeOver(votes bool) error {
	r := &n.receiver
	origin := r.note.Origin
	origin.Probation = !n.admitted
	group := wire.Group{Origin: &origin}
	for _, p := range n.peers {
		if p.group > 0 { // what waits in memory to be said is dropped with the epoch
			group.Heard = append(group.Heard, wire.Heard{Replica: p.Replica, Incarnation: p.Incarnation, Group: p.group})
		}
	}
	batch := storage.Batch{Group: wire.AppendGroup(nil, &group), Writes: r.writes, Adopt: r.since == 0}
	switch {
	case votes:
		batch.Hold = storage.HoldThis
	case n.held:
		batch.Hold = storage.HoldNone // it is no voter's any more
	}
	if batch.Adopt {
		n.settleAskers(true)
		n.giveUpCuts(errCutAdopted)
	}
	if err := n.config.Store.Save(batch); err != nil {
		return fmt.Errorf("take over the state of replica %d: %w", origin.Replica, err)
	}
	n.held = votes
	for _, p := range n.peers {
		p.unsaved = false
	}
	n.history.add(n.config.Store.LastGroup(), len(batch.Group), 0)
	r.provisional = origin.Probation
	origin.Probation = false
	r.position = &origin
	return nil
}

// arrive ends a transfer that was taken over.
func (n *Node) arrive() {
	r := &n.receiver
	r.asOf, r.ended = r.started, n.now
	r.next = n.now + min(max(roundInterval, roundRest*(n.now-r.started)), roundIntervalMax)
	if r.since == 0 || r.note.Boundary || n.ahead > r.note.Epoch { // there is more already
		r.next = n.now
	}
	r.source, r.since, r.note, r.begun, r.waiting = 0, 0, wire.Note{}, false, false
	r.writes, r.pending, r.staged, r.full, r.avoid, r.failed, r.checked = nil, 0, false, false, 0, "", checked{}
	r.rounds++
}

// enter begins the epoch of a state that was taken over. What was under way here in an earlier one may have
// been executed in it, or be void (rule M6): only who executed its end knows.
func (n *Node) enter(members wire.Members, votes bool, answers []Answer) ([]Answer, error) {
	if n.core != nil {
		for _, u := range n.core.End(n.now, n.ended) {
			for _, proposal := range u.Proposals {
				if proposal&ownProposal == 0 {
					answers = append(answers, Answer{Proposal: proposal, Unknown: true})
				}
			}
		}
	}
	n.openState()
	n.pending, n.former = epaxos.Ready{}, former{}
	n.unsaved = unsaved{spare: n.unsaved.spare}
	n.hasState, n.held, n.receiver.moved = true, votes, n.now
	if err := n.begin(members); err != nil {
		n.fault = fmt.Errorf("begin epoch %d: %w", members.Epoch, err)
		return answers, n.fault
	}
	if n.role != Learner {
		n.receiver.position = nil
	}
	if err := n.loadSessions(); err != nil {
		n.fault = fmt.Errorf("read the sessions: %w", err)
		return answers, n.fault
	}
	answers = append(answers, n.moveReads()...)
	answers = n.restartWatches(answers)
	n.judge()
	if n.admitted {
		for _, p := range n.peers {
			n.tellEnded(p, false)
		}
		n.hearEarly()
	}
	return answers, nil
}
