package node

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Reads without a command (docs/protocol.md, Q).

// Consistency says what a read may show.
type Consistency uint8

const (
	// Linearizable: everything that was answered anywhere before the read began.
	Linearizable Consistency = iota + 1
	// Session: everything that its token names.
	Session
	// Stale: what this replica has executed.
	Stale
	// AtCut: what is behind a cut, and nothing else.
	AtCut
)

// Token names what a client has seen: everything that interferes with what it read or wrote, up to Deps. All of
// an epoch comes before the next.
type Token struct {
	Epoch epaxos.Epoch
	Deps  epaxos.Dependencies
}

// Read is one read of one key, or of what one footprint names, that changes nothing.
type Read struct {
	Proposal    epaxos.ProposalID
	Payload     []byte
	Footprint   epaxos.Footprint // all of it Read
	Consistency Consistency
	Token       Token             // with Session
	Cut         epaxos.InstanceID // with AtCut
	Point       bool              // nothing is read: the answer tells that a read would be served now
}

// readsWaiting bounds the reads under way at a replica.
const readsWaiting = 1 << 14

// ErrReads: too many reads are under way.
var ErrReads = errors.New("too many reads are under way; try again later")

// reading is a read that waits for its point, or to execute up to it.
type reading struct {
	Read
	point bool          // Token is what has to be executed
	since time.Duration // of a read of a cut
}

// Read asks for a read. Its answer comes from Execute, perhaps after many turns. It is Void where this replica
// cannot tell any more; the client may ask anyone again, since a read changes nothing.
func (n *Node) Read(now time.Duration, r Read) error {
	n.advance(now)
	for i := range r.Footprint {
		if !r.Point && (r.Footprint[i].Mode != epaxos.Read || r.Footprint[i].Space != epaxos.SpaceState) {
			return fmt.Errorf("a read may only read, and only keys of the state machine: %v", r.Footprint[i].Mode)
		}
	}
	switch {
	case len(n.reading) >= readsWaiting:
		return ErrReads
	case n.role == Joining:
		return ErrNotVoter
	case r.Consistency == AtCut && n.noRoom != nil:
		return ErrNoRoom
	case r.Consistency == AtCut:
		one := reading{Read: r}
		if err := n.awaitCut(&one); err != nil {
			return err
		}
		n.reading = append(n.reading, one)
		return nil
	// Only who votes can name what it has shown. A session that read elsewhere could go back behind that.
	case r.Consistency == Stale, r.Consistency == Session && n.core != nil && n.covers(r.Token):
		n.reading = append(n.reading, reading{Read: r, point: true})
		return nil
	case n.core == nil:
		return ErrNotVoter
	case !n.admitted:
		return ErrProbation
	case n.ahead > n.members.Epoch:
		return ErrBehind
	case r.Consistency == Linearizable:
		n.core.Read(n.now, r.Proposal, r.Footprint)
	case r.Token.Epoch > n.members.Epoch || len(r.Token.Deps) != n.membership.N():
		return ErrBehind
	}
	n.reading = append(n.reading, reading{Read: r, point: r.Consistency == Session})
	return nil
}

// covers reports whether all that a token can name was executed here.
func (n *Node) covers(t Token) bool { return t.Epoch < n.members.Epoch }

// CancelRead forgets a read, which is never answered then.
func (n *Node) CancelRead(id epaxos.ProposalID) {
	n.reading = slices.DeleteFunc(n.reading, func(r reading) bool { return r.Proposal == id })
}

// pointReads takes in how far to execute before reads are served.
func (n *Node) pointReads(points []epaxos.ReadPoint) {
	// Points come in the order in which reads asked for them, mostly, so each is found where the search goes on.
	at := 0
	for _, p := range points {
		for range n.reading {
			r := &n.reading[at%len(n.reading)]
			at++
			if r.Proposal == p.Proposal {
				r.point, r.Token = true, Token{Epoch: n.members.Epoch, Deps: p.Deps}
				break
			}
		}
	}
}

// serveReads answers the reads that may be served now. Everything that can execute has.
func (n *Node) serveReads(answers []Answer) ([]Answer, error) {
	waiting := n.reading[:0]
	for i := range n.reading {
		r := n.reading[i]
		if r.Consistency == AtCut {
			if answer, ready := n.readsCut(&r); !ready {
				waiting = append(waiting, r)
			} else {
				answers = append(answers, answer)
			}
			continue
		}
		if !r.point || r.Consistency != Stale && !n.covers(r.Token) && !n.orderer.Passed(r.Footprint, r.Token.Deps) {
			waiting = append(waiting, r)
			continue
		}
		if r.Point {
			answers = append(answers, Answer{Proposal: r.Proposal})
			continue
		}
		result, err := n.state.Run(n.config.Machine, r.Footprint, r.Payload)
		if err != nil {
			n.fault = fmt.Errorf("read: %w", err)
			return answers, n.fault
		}
		answers = append(answers, Answer{Proposal: r.Proposal, Result: result})
	}
	clear(n.reading[len(waiting):])
	n.reading = waiting
	return answers, n.fault
}

// stamp gives answers the token of what they may show: all that was executed here, but for reads of a cut.
func (n *Node) stamp(answers []Answer) {
	if len(answers) == 0 || n.orderer == nil {
		return
	}
	token := Token{Epoch: n.members.Epoch, Deps: n.orderer.ExecutedTops()}
	for i := range answers {
		if answers[i].Past == nil { // or it would show what was executed long ago
			answers[i].Token = token
		}
	}
}

// moveReads takes the reads into the next epoch.
func (n *Node) moveReads() (void []Answer) {
	waiting := n.reading[:0]
	for _, r := range n.reading {
		switch {
		case r.Consistency == Session && n.core == nil:
			void = append(void, Answer{Proposal: r.Proposal, Void: true})
		case r.Consistency != Linearizable:
			waiting = append(waiting, r) // what its token names is executed
		case n.core != nil:
			// The point of the epoch before may lack what was answered in this one (rule Q3).
			r.point = false
			n.core.Read(n.now, r.Proposal, r.Footprint)
			waiting = append(waiting, r)
		default:
			void = append(void, Answer{Proposal: r.Proposal, Void: true})
		}
	}
	n.reading = waiting
	return void
}
