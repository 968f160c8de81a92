package node

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// receiver takes the state of a peer: all of it, staged in the store until it is whole, or as a learner what has
// changed since the last round, which waits in memory.
type receiver struct {
	source   epaxos.ReplicaID // 0: nothing is under way
	since    uint64           // group of the source whose state is there already; 0 takes all
	note     wire.Note        // whose state it is, as of when, and how much of it has come
	begun    bool             // the source has chosen a state
	waiting  bool             // for an answer
	asked    time.Duration
	answered time.Duration      // by the source, last
	patience time.Duration      // with the source
	chunk    *epaxos.StateChunk // has come and is to be kept by the next Save
	writes   []storage.Write    // of a round
	pending  int                // bytes of them
	staged   bool               // the store holds what has come
	discard  bool               // which is of no use any more
	checked  checked            // how much of what is whole was read back

	next  time.Duration    // nothing begins before
	avoid epaxos.ReplicaID // the source that failed last
	full  bool             // a learner cannot go on from where it is

	position    *wire.Origin  // of a learner: the state that it has
	asOf        time.Duration // when that was asked for
	provisional bool          // the newest group is of an installation on probation

	executed epaxos.Slot   // of an epoch that is over elsewhere, all columns together
	moved    time.Duration // when it last became more

	started, ended time.Duration
	bytes, keys    uint64
	rounds         uint64
	failed         string
}

const (
	requestTimeout      = time.Second // at least, and twice as long as the last answer took
	requestTimeoutMax   = 16 * time.Second
	sourcePatience      = 3 * time.Second  // with one that is silent
	sourcePatienceBegun = 15 * time.Second // likewise, with a part of its state here
	transferRetry       = time.Second
	roundInterval       = 250 * time.Millisecond
	roundIntervalMax    = 10 * time.Second
	roundRest           = 10       // a learner rests so many times as long as its last round took
	roundBytesMax       = 64 << 20 // more than that goes through the store
	decisionsHeard      = time.Second
	decisionsPatience   = 3 * time.Second
)

// restoreTransfer goes on with what was staged before a restart.
func (n *Node) restoreTransfer() error {
	body, err := n.config.Store.Staged()
	if err != nil || body == nil {
		return err
	}
	r := &n.receiver
	note, err := wire.DecodeNote(body)
	if err != nil { // its checksum is right, so that is how it was written
		return fmt.Errorf("note of the staged state: %w: %w", storage.ErrFormat, err)
	}
	r.staged, r.begun, r.source, r.note = true, true, note.Origin.Replica, note
	return nil
}

// settleReceiver begins what is due and repeats what was lost.
func (n *Node) settleReceiver() {
	r := &n.receiver
	if r.source != 0 && r.started == 0 { // before a restart
		r.started, r.answered = n.now, n.now
	}
	n.watchProgress()
	switch {
	case r.source == 0:
		if n.now >= r.next && n.wantsState() {
			n.beginTransfer()
		}
	case n.useless(r.note.Epoch):
		n.startOver("")
	case !r.note.Whole && r.chunk == nil && (!r.waiting || n.now-r.asked >= r.patience):
		n.remind()
	case r.note.Whole && n.now-r.asked >= askerPatience/4:
		n.ask() // the answer is of no use, but the source must not believe that nobody follows it
		r.waiting = false
	}
}

// watchProgress notes when something was last executed of an epoch that is over elsewhere.
func (n *Node) watchProgress() {
	r := &n.receiver
	switch {
	case n.ahead <= n.members.Epoch || n.role != Voter && n.role != Learner:
		r.executed, r.moved = 0, n.now
		return
	case n.role == Learner:
		return // it moves with whom it follows
	}
	sum := epaxos.Slot(1)
	for _, slot := range n.orderer.Executed() {
		sum += slot
	}
	if sum != r.executed {
		r.executed, r.moved = sum, n.now
	}
}

// wantsState reports whether nothing but another replica's state helps this one.
func (n *Node) wantsState() bool {
	behind := n.ahead > n.members.Epoch && (n.admitted || !n.receiver.provisional)
	switch n.role {
	case Joining:
		return true
	case Learner:
		return n.admitted || behind
	case Voter:
		patience := decisionsHeard
		for _, p := range n.peers {
			if p.decided && p.epoch == n.members.Epoch+1 && !p.suspected {
				patience = decisionsPatience
			}
		}
		return behind && n.now-n.receiver.moved >= patience
	default:
		return false
	}
}

// useless reports whether a state of an epoch would not bring this replica on.
func (n *Node) useless(e epaxos.Epoch) bool {
	switch n.role {
	case Joining:
		return false
	case Learner:
		return e > 0 && e < n.members.Epoch
	case Voter:
		if e == 0 { // the source has not chosen a state, and perhaps it is dead
			return n.ahead <= n.members.Epoch
		}
		return e <= n.members.Epoch
	default:
		return true
	}
}

// beginTransfer asks a source for the beginning.
func (n *Node) beginTransfer() {
	r := &n.receiver
	p := n.pickSource()
	if p == nil {
		return
	}
	*r = receiver{
		source: p.Replica, note: wire.Note{Origin: wire.Origin{Replica: p.Replica, Incarnation: p.Incarnation}},
		discard: r.discard, full: r.full, patience: max(r.patience, requestTimeout),
		position: r.position, asOf: r.asOf, provisional: r.provisional,
		executed: r.executed, moved: r.moved, started: n.now, answered: n.now, rounds: r.rounds, failed: r.failed,
	}
	if n.follows(p) {
		r.since = r.position.Group
	}
	n.ask()
}

// follows reports whether this replica is a learner that goes on with the state of a peer that it has.
func (n *Node) follows(p *peer) bool {
	o := n.receiver.position
	return n.role == Learner && !n.receiver.full && o != nil && o.Replica == p.Replica && o.Incarnation == p.Incarnation
}

// pickSource is the peer whose state to take: the one that is followed, or else the first that is not
// suspected, in the order of a ring that begins behind this replica, or behind the source that failed last.
func (n *Node) pickSource() *peer {
	r := &n.receiver
	var best *peer
	worth, first, behind := 0, 0, n.config.ID
	if r.avoid > 0 {
		behind = r.avoid
	}
	for first < len(n.peers) && n.peers[first].Replica <= behind {
		first++
	}
	for i := range n.peers {
		p := n.peers[(first+i)%len(n.peers)]
		if !n.mayHelp(p) {
			continue
		}
		w := 1
		if !p.suspected {
			w += 4
		}
		late := n.role == Learner && n.ahead > n.members.Epoch && n.now-r.moved >= decisionsPatience
		if !late && n.follows(p) || late && p.epoch > n.members.Epoch { // whom it follows may never hear of the end
			w += 2
		}
		if p.Replica == r.avoid {
			w = 1
		}
		if w > worth {
			best, worth = p, w
		}
	}
	return best
}

// mayHelp reports whether a peer may have a state that brings this replica on. A learner follows no
// learner: two could follow each other.
func (n *Node) mayHelp(p *peer) bool {
	switch {
	case p.Replica == n.config.ID:
		return false
	case n.role == Joining:
		return p.epoch > 0
	case n.role == Learner:
		return p.epoch > n.members.Epoch || p.votes && p.epoch == n.members.Epoch && n.admitted
	default:
		return p.epoch > n.members.Epoch
	}
}

// ask sends the request for the next part.
func (n *Node) ask() {
	r := &n.receiver
	r.waiting, r.asked = true, n.now
	request := epaxos.StateRequest{Epoch: n.stateEpoch(), Since: r.since}
	if r.begun {
		request.At, request.After, request.Sum = r.note.Origin.Group, r.note.After, r.note.Sum
	}
	n.say(r.source, request)
}

// remind asks again, or changes the source if another has what this replica needs.
func (n *Node) remind() {
	r := &n.receiver
	p := n.peer(r.source)
	if p == nil || p.Incarnation != r.note.Origin.Incarnation {
		n.startOver(fmt.Sprintf("replica %d is no peer any more", r.source))
		return
	}
	most := sourcePatience
	if (r.begun || r.since > 0) && !p.suspected { // to begin anew elsewhere costs a whole transfer
		most = sourcePatienceBegun
	}
	if n.now-r.answered >= most {
		avoid := r.avoid
		r.avoid = r.source
		other := n.pickSource()
		r.avoid = avoid
		if other != nil && other.Replica != r.source {
			r.full = true
			n.startOver(fmt.Sprintf("replica %d does not answer", r.source))
			return
		}
		r.answered = n.now
	}
	r.patience = min(2*r.patience, requestTimeoutMax)
	n.ask()
}

// startOver gives up what is under way. The next attempt prefers another source.
func (n *Node) startOver(why string) {
	r := &n.receiver
	if why != "" {
		r.failed = why
	}
	r.avoid, r.next, r.ended = r.source, n.now+transferRetry, n.now
	r.discard = r.discard || r.staged
	r.source, r.since, r.note, r.begun, r.waiting = 0, 0, wire.Note{}, false, false
	r.chunk, r.writes, r.pending, r.staged, r.checked = nil, nil, 0, false, checked{}
}

// hearChunk takes in a part that was asked for. What does not fit the request is a repetition, or of an older
// attempt; what does not fit its own checksum has been changed on the way, and is asked for again.
func (n *Node) hearChunk(p *peer, m epaxos.StateChunk) {
	r := &n.receiver
	if r.source != p.Replica || !r.waiting || m.Since != r.since || !bytes.Equal(m.After, r.note.After) ||
		r.begun && m.At != r.note.Origin.Group {
		return
	}
	if m.Gone {
		n.sourceGone(p)
		return
	}
	if m.At == 0 || m.Epoch == 0 || r.begun && (m.Epoch != r.note.Epoch || m.Boundary != r.note.Boundary) {
		return
	}
	sum := r.note.Sum
	if !r.begun {
		sum = chainStart(m.Since, m.At, m.Epoch, m.Boundary)
	}
	after := r.note.After
	for _, w := range m.Writes {
		if after != nil && bytes.Compare(w.Key, after) <= 0 || w.Delete && r.since == 0 {
			return
		}
		after, sum = w.Key, chain(sum, w)
	}
	if m.Last {
		sum = chainEnd(sum)
	}
	if sum != m.Sum || len(m.Writes) == 0 && !m.Last {
		return
	}
	n.hearEpoch(p, m.Epoch)
	r.patience = min(max(requestTimeout, 2*(n.now-r.asked)), requestTimeoutMax)
	r.waiting, r.answered, r.chunk = false, n.now, &m
}

// sourceGone handles that a source has not, or has no more, what was asked for. A learner whose position it
// has forgotten takes the whole state, of the same source.
func (n *Node) sourceGone(p *peer) {
	r := &n.receiver
	learns := r.since > 0 || n.role == Learner && r.begun
	r.full = r.full || r.since > 0
	n.startOver(fmt.Sprintf("replica %d does not have the state any more", p.Replica))
	if learns {
		r.avoid, r.next = 0, n.now
	}
}

// receive keeps the part that has come, and asks for the next. It is a part of Save.
func (n *Node) receive() error {
	r := &n.receiver
	if r.discard {
		if err := n.config.Store.DropStaged(); err != nil {
			return fmt.Errorf("drop a staged state: %w", err)
		}
		r.discard = false
	}
	if r.chunk == nil {
		return nil
	}
	c := r.chunk
	note := r.note
	note.Origin.Group, note.Epoch, note.Boundary, note.Sum, note.Whole = c.At, c.Epoch, c.Boundary, c.Sum, c.Last
	size := 0
	writes := make([]storage.Write, len(c.Writes))
	for i, w := range c.Writes {
		writes[i] = storage.Write(w)
		size += len(w.Key) + len(w.Value)
		note.After = w.Key
	}
	switch {
	case r.since == 0:
		err := n.config.Store.Stage(writes, wire.AppendNote(nil, &note))
		if errors.Is(err, storage.ErrBatchTooLarge) {
			n.startOver(fmt.Sprintf("replica %d: %v", r.source, err))
			return nil
		}
		if err != nil {
			return fmt.Errorf("stage a part of the state: %w", err)
		}
		r.staged = true
	case r.pending+size > roundBytesMax:
		r.full = true
		n.startOver("a round is too large")
		r.avoid, r.next = 0, n.now
		return nil
	default:
		r.writes, r.pending = append(r.writes, writes...), r.pending+size
	}
	r.note, r.begun, r.chunk = note, true, nil
	r.bytes, r.keys = r.bytes+uint64(size), r.keys+uint64(len(writes)) //nolint:gosec // counts
	if !note.Whole {
		n.ask()
	}
	return nil
}
