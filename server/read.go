package server

import (
	"errors"
	"fmt"
	"time"

	"github.com/264bc8cf/epaxos/clients/gateway"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Reads without a command (docs/protocol.md, Q).

// submitRead hands a read to the replica, see submit. A linearizable read of more than one key has to stand in one
// place of the order, so it becomes a command.
func (s *Server) submitRead(r *gateway.Request, done func(Reply, error)) {
	read, err := s.readOf(r)
	if err != nil {
		done(Reply{Outcome: NotApplied}, fmt.Errorf("%w: %w", ErrInvalid, err))
		return
	}
	if read.Consistency == node.Linearizable && !isPoint(read.Footprint) {
		s.hand(&call{
			request: epaxos.Request{Payload: r.Payload}, footprint: read.Footprint, deadline: r.Deadline, done: done,
		})
		return
	}
	switch read.Consistency {
	case node.Stale:
		done = s.aged(done)
	case node.AtCut:
		done = s.atCut(read, done)
	default:
	}
	read.Proposal = s.calls.next()
	if !s.inbox.call(&call{id: read.Proposal, read: read, deadline: r.Deadline, done: done}) {
		done(Reply{Outcome: NotApplied}, ErrStopped)
	}
}

func (s *Server) readOf(r *gateway.Request) (*node.Read, error) {
	read := &node.Read{Payload: r.Payload}
	var err error
	if read.Footprint, err = s.footprint(r.Payload); err != nil {
		return nil, err
	}
	for i := range read.Footprint {
		if a := &read.Footprint[i]; a.Mode != epaxos.Read || a.Space != epaxos.SpaceState {
			return nil, errors.New("it may change the state: send it as a command")
		}
	}
	switch r.Consistency {
	case wire.Linearizable:
		read.Consistency = node.Linearizable
	case wire.SessionConsistency:
		token, err := wire.DecodeToken(r.Token)
		if err != nil {
			return nil, fmt.Errorf("its token: %w", err)
		}
		read.Consistency, read.Token = node.Session, node.Token{Epoch: token.Epoch, Deps: token.Deps}
	case wire.Stale:
		read.Consistency = node.Stale
	case wire.CutConsistency:
		cut, err := wire.DecodeInstanceID(r.Token)
		if err != nil || cut.IsZero() {
			return nil, errors.New("it is to be read at a cut, and names none")
		}
		read.Consistency, read.Cut = node.AtCut, cut
	default:
		return nil, fmt.Errorf("this replica knows no consistency %d: upgrade it", r.Consistency)
	}
	return read, nil
}

func isPoint(f epaxos.Footprint) bool { return len(f) == 1 && !f[0].Range }

// read hands a read to the node.
func (s *Server) read(now time.Duration, c *call) {
	if c.read.Consistency == node.Stale {
		s.freshen(now)
	}
	if err := s.node.Read(now, *c.read); err != nil {
		s.calls.refuse(c.id, err)
	}
}

// freshness is what is known of the age of the applied state. It is asked for while there are stale reads.
type freshness struct {
	asOf   time.Duration // everything that was answered anywhere before is executed here; 0 is unknown
	asking bool
}

const (
	// freshEvery is how often a replica finds out how old its state is.
	freshEvery = 100 * time.Millisecond
	// freshWithin is when it gives up to, and tries again.
	freshWithin = 5 * time.Second
)

// freshen asks how old the state is: once a read of everything could be served, all that was answered before it began
// is executed here.
func (s *Server) freshen(now time.Duration) {
	f := &s.fresh
	if f.asking || now-f.asOf < freshEvery && f.asOf > 0 {
		return
	}
	began := max(now, 1)
	c := &call{
		id: s.calls.next(), deadline: time.Now().Add(freshWithin),
		read: &node.Read{
			Footprint: epaxos.Footprint{{Mode: epaxos.Everything}}, Consistency: node.Linearizable, Point: true,
		},
		done: func(_ Reply, err error) {
			f.asking = false
			if err == nil {
				f.asOf = began
			}
		},
	}
	c.read.Proposal = c.id
	f.asking = true
	s.calls.add(c)
	if err := s.node.Read(now, *c.read); err != nil { // a learner can ask nobody
		s.calls.refuse(c.id, err)
	}
}

// aged adds to the answer of a stale read how old what it shows may be. The replica's goroutine answers.
func (s *Server) aged(done func(Reply, error)) func(Reply, error) {
	return func(reply Reply, err error) {
		if err == nil {
			reply.age = wire.AgeUnknown
			if s.fresh.asOf > 0 {
				reply.age = uint64((s.now() - s.fresh.asOf).Microseconds()) //nolint:gosec // time does not go back
			}
		}
		done(reply, err)
	}
}

// takeBack ends the work for a request whose time is up. It reports whether that was possible.
func (s *Server) takeBack(c *call) bool {
	switch {
	case c.poll != nil:
		s.endWatch(c)
		return false // it is answered
	case c.read == nil:
		return s.node.Cancel(c.id)
	}
	s.node.CancelRead(c.id)
	return true
}
