package node

import (
	"errors"
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

// ttlMax is the longest time of silence that counts, in milliseconds: a day.
const ttlMax = uint64(24 * time.Hour / time.Millisecond)

// sessionInterval is how often a replica looks for silent sessions.
const sessionInterval = time.Second

// ownProposal marks what a node proposes by itself; nobody waits for the answer.
const ownProposal epaxos.ProposalID = 1 << 63

// sessions is what a replica has seen of the sessions.
type sessions struct {
	open   map[epaxos.InstanceID]*lease
	looked time.Duration
	last   epaxos.ProposalID
}

// lease is when a session was last heard of, by the clock of this replica.
type lease struct {
	ttl      time.Duration
	version  uint64
	heard    time.Duration
	proposed bool // its end, since it was heard
}

// loadSessions reads which sessions there are. Their time begins anew.
func (n *Node) loadSessions() error {
	n.sessions.open = map[epaxos.InstanceID]*lease{}
	from, to := []byte{byte(epaxos.SpaceSession)}, []byte{byte(epaxos.SpaceSession) + 1}
	return n.config.Store.Scan(from, to, func(key, _ []byte) error {
		if id, is := epaxos.ParseInstanceKey(string(key[1:])); is {
			return n.watchSession(id)
		}
		return nil
	})
}

// watchSession takes in what the state says of a session now.
func (n *Node) watchSession(id epaxos.InstanceID) error {
	session, found, err := n.state.Session(id)
	if err != nil {
		return err
	}
	if !found {
		delete(n.sessions.open, id)
		return nil
	}
	ttl := time.Duration(min(session.TTL, ttlMax)) * time.Millisecond //nolint:gosec // a day
	n.sessions.open[id] = &lease{ttl: ttl, version: session.Version, heard: n.now}
	return nil
}

// hearSessions notes which sessions a command is of.
func (n *Node) hearSessions(v *execution.Vertex) error {
	for i := range v.Command.Requests {
		request := &v.Command.Requests[i]
		var err error
		switch {
		case request.Opens():
			err = n.watchSession(v.ID)
		case request.Session.IsZero():
		case request.Number == 0:
			err = n.watchSession(request.Session)
		default:
			if l := n.sessions.open[request.Session]; l != nil {
				l.heard, l.proposed = n.now, false
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// expireSessions proposes the end of sessions that have been silent. Replicas do so one after the other, so that
// usually only the first has to.
func (n *Node) expireSessions() {
	s := &n.sessions
	if n.core == nil || n.now-s.looked < sessionInterval {
		return
	}
	s.looked = n.now
	column, _ := n.membership.Column(n.config.ID)
	var silent []epaxos.InstanceID
	//lint:ordered they are sorted below
	for id, l := range s.open {
		if !l.proposed && n.now-l.heard > l.ttl+l.ttl/4*time.Duration(column) {
			silent = append(silent, id)
		}
	}
	slices.SortFunc(silent, epaxos.InstanceID.Compare)
	for _, id := range silent {
		l := s.open[id]
		op := wire.SessionOp{Kind: wire.SessionExpire, Version: l.version}
		request := epaxos.Request{Session: id, Payload: wire.AppendSessionOp(nil, &op)}
		s.last++
		if n.core.Propose(n.now, ownProposal|s.last, request, execution.SessionFootprint(&request, nil)) != nil {
			return // the replica is overloaded: the next look will find them again
		}
		l.proposed = true
	}
}
