package node

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Sessions end when their clients have been silent for long enough. Time decides nothing here: a replica that has
// seen no request of a session for its time proposes its end, guarded by the version that it saw, and
// what becomes of that is decided by the order of commands (docs/protocol.md, O).

// SessionsMax is how many sessions a cluster has at most, roughly: replicas count what they have executed.
const SessionsMax = 1 << 16

// ErrSessions: there are as many sessions as there may be.
var ErrSessions = errors.New("too many sessions are open; close some, or wait until silent ones expire")

// sessionInterval is how often a replica looks for silent sessions.
const sessionInterval = time.Second

// ownProposal marks what a node proposes by itself; nobody waits for the answer.
const ownProposal epaxos.ProposalID = 1 << 63

// sessions is what a replica has seen of the sessions.
type sessions struct {
	open    map[epaxos.InstanceID]*patience
	looked  time.Duration // 0 after they were loaded
	last    epaxos.ProposalID
	crowded []epaxos.InstanceID // leases whose books are to be looked through
}

// patience is when a session was last heard of, by the clock of this replica.
type patience struct {
	ttl     time.Duration
	version uint64
	heard   time.Duration
	next    time.Duration // when its end is proposed, if it is not heard again

	attached int // keys put under it here since its books were last looked at
}

// againAfter is when the end of a session is proposed again that did not come: it may have been void.
const againAfter = 5 * time.Second

// booksHalf is how full the books of a lease are when a replica begins to look for keys that are not attached any
// more, and booksStale how many make it propose to take them off.
const (
	booksHalf  = wire.LeaseKeysMax / 2
	booksStale = wire.LeaseKeysMax / 16
)

// loadSessions reads which sessions there are. Their time begins anew with the next look (rule T6).
func (n *Node) loadSessions() error {
	n.sessions.open, n.sessions.looked = map[epaxos.InstanceID]*patience{}, 0
	from, to := []byte{byte(epaxos.SpaceSession)}, []byte{byte(epaxos.SpaceSession) + 1}
	return n.config.Store.Scan(from, to, func(key, _ []byte) error {
		if id, is := epaxos.ParseInstanceKey(string(key[1:])); is {
			return n.watchSession(id, wire.SessionOpen)
		}
		return nil
	})
}

// watchSession takes in what the state says of a session after an operation on it.
func (n *Node) watchSession(id epaxos.InstanceID, kind wire.SessionKind) error {
	session, found, err := n.state.Session(id)
	if err != nil {
		return err
	}
	if !found {
		delete(n.sessions.open, id)
		return nil
	}
	p, known := n.sessions.open[id]
	if !known {
		p = &patience{}
		n.sessions.open[id] = p
	}
	p.ttl = time.Duration(min(session.TTL, wire.LeaseTTLMax)) * time.Millisecond //nolint:gosec // a day
	p.version = session.Version
	switch {
	case kind == wire.SessionExpire && known:
		p.next = min(p.next, n.now) // it was proposed too early, or without a key
	case kind == wire.SessionInspect && known: // that anybody may ask for
	default:
		p.hear(n)
	}
	return nil
}

// hear puts off the end of a session. Replicas propose it one after the other, so that usually only the first has to.
func (p *patience) hear(n *Node) {
	column, _ := n.membership.Column(n.config.ID)
	p.heard = n.now
	p.next = n.now + p.ttl + p.ttl/4*time.Duration(column)
}

// hearSessions notes which sessions a command is of, and which keys it has put under leases.
func (n *Node) hearSessions(v *execution.Vertex) error {
	for i := range v.Command.Requests {
		request := &v.Command.Requests[i]
		var err error
		switch {
		case request.Opens():
			err = n.watchSession(v.ID, wire.SessionOpen)
		case request.Session.IsZero():
		case request.Number == 0:
			op, _ := wire.DecodeSessionOp(request.Payload)
			err = n.watchSession(request.Session, op.Kind)
		default:
			if p := n.sessions.open[request.Session]; p != nil {
				p.hear(n)
			}
		}
		if err != nil {
			return err
		}
	}
	if _, led := n.led[v.ID]; led {
		n.countAttached(v.Command.Footprint)
	}
	return nil
}

// expireSessions proposes the end of sessions that have been silent.
func (n *Node) expireSessions() {
	s := &n.sessions
	if n.core == nil || s.looked > 0 && n.now-s.looked < sessionInterval {
		return
	}
	if s.looked == 0 {
		//lint:ordered each for itself
		for _, p := range s.open {
			p.hear(n)
		}
	}
	s.looked = n.now
	var silent []epaxos.InstanceID
	//lint:ordered they are sorted below
	for id, p := range s.open {
		if n.now > p.next && n.now-p.heard > p.ttl {
			silent = append(silent, id)
		}
	}
	slices.SortFunc(silent, epaxos.InstanceID.Compare)
	for _, id := range silent {
		p := s.open[id]
		if !n.operate(id, wire.SessionOp{Kind: wire.SessionExpire, Version: p.version}) {
			return // the replica is overloaded: the next look will find them again
		}
		p.next = n.now + max(p.ttl/4*time.Duration(n.membership.N()), againAfter)
	}
}

// operate proposes an operation on a session, which nobody waits for.
func (n *Node) operate(id epaxos.InstanceID, op wire.SessionOp) bool {
	request := epaxos.Request{Session: id, Payload: wire.AppendSessionOp(nil, &op)}
	footprint, err := n.SessionFootprint(&request)
	if err != nil {
		n.fault = err
		return false
	}
	n.sessions.last++
	return n.Propose(n.now, ownProposal|n.sessions.last, request, footprint) == nil
}

// SessionFootprint is what an operation on a session touches as far as this replica has executed. If keys are
// attached to the session before the operation, it may end without effect and has to be proposed anew (rule T3).
func (n *Node) SessionFootprint(request *epaxos.Request) (epaxos.Footprint, error) {
	op, err := wire.DecodeSessionOp(request.Payload)
	if err != nil {
		return nil, fmt.Errorf("operation on session %v: %w", request.Session, err)
	}
	session, found, err := n.state.Session(request.Session)
	if err != nil {
		return nil, err
	}
	var keys []string
	if found && session.Keys > 0 {
		if keys, err = n.state.Books(request.Session); err != nil {
			return nil, err
		}
	}
	return execution.SessionFootprint(request, execution.BooksFootprint(op.Kind, keys)), nil
}

// countAttached counts what a command of this replica has put under leases.
func (n *Node) countAttached(footprint epaxos.Footprint) {
	for i := range footprint {
		a := &footprint[i]
		if a.Space != epaxos.SpaceSession || a.Mode != epaxos.Write {
			continue
		}
		id, _ := epaxos.ParseInstanceKey(a.Key) // which the record of a request has not
		p := n.sessions.open[id]
		if p == nil {
			continue
		}
		if p.attached++; p.attached >= booksStale {
			p.attached = 0
			n.sessions.crowded = append(n.sessions.crowded, id)
		}
	}
}

// keepBooks looks through the books of leases that this replica has put many keys under, and has them cleared of keys
// that are not attached any more: else a lease under which keys come and go would fill up.
func (n *Node) keepBooks() error {
	crowded := n.sessions.crowded
	n.sessions.crowded = crowded[:0]
	for _, id := range crowded {
		session, _, err := n.state.Session(id)
		if err != nil {
			return err
		}
		if session.Keys < booksHalf && session.KeyBytes < wire.LeaseBytesMax/2 {
			continue
		}
		stale, err := n.state.Stale(n.config.Machine, id)
		if err != nil {
			return err
		}
		if stale >= booksStale {
			n.operate(id, wire.SessionOp{Kind: wire.SessionInspect}) // if it fails, the next puts will try again
		}
	}
	return nil
}
