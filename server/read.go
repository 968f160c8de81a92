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
	if read.Consistency == node.Stale {
		done = s.aged(done)
	}
	read.Proposal = s.calls.next()
	if !s.inbox.call(&call{id: read.Proposal, read: read, deadline: r.Deadline, done: done}) {
		done(Reply{Outcome: NotApplied}, ErrStopped)
	}
}

func (s *Server) readOf(r *gateway.Request) (*node.Read, error) {
	read := &node.Read{Payload: r.Payload}
	var err error
	if read.Footprint, err = s.machine.Footprint(r.Payload); err != nil {
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
	default:
		return nil, fmt.Errorf("this replica knows no consistency %d: upgrade it", r.Consistency)
	}
	return read, nil
}

func isPoint(f epaxos.Footprint) bool { return len(f) == 1 && !f[0].Range }

// read hands a read to the node.
func (s *Server) read(now time.Duration, c *call) {
	if err := s.node.Read(now, *c.read); err != nil {
		s.calls.refuse(c.id, err)
	}
}

// aged adds to the answer of a stale read how old what it shows may be.
func (s *Server) aged(done func(Reply, error)) func(Reply, error) {
	return func(reply Reply, err error) {
		reply.age = wire.AgeUnknown
		done(reply, err)
	}
}

// takeBack ends the work for a request whose time is up. It reports whether that was possible.
func (s *Server) takeBack(c *call) bool {
	if c.read == nil {
		return s.node.Cancel(c.id)
	}
	s.node.CancelRead(c.id)
	return true
}
