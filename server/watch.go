package server

import (
	"errors"
	"fmt"
	"time"

	"github.com/264bc8cf/epaxos/clients/gateway"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Watches (docs/protocol.md, H). A client that watches keys polls: its request stays open until something has changed,
// or for a while. Where it stands is in its token, so any replica may answer the next one.

const (
	watchWait    = 10 * time.Second // unless the client says otherwise
	watchWaitMax = 30 * time.Second
)

var (
	errDraining  = errors.New("the replica is draining: use another")
	errWatchVoid = errors.New("this replica cannot tell changes any more: ask another with the same token")
)

// submitWatch hands a poll to the replica, see submit.
func (s *Server) submitWatch(r *gateway.Request, done func(Reply, error)) {
	request, err := wire.DecodeWatchRequest(r.Payload)
	poll := &node.Poll{Request: request}
	if err == nil && len(r.Token) > 0 {
		var token wire.Token
		token, err = wire.DecodeToken(r.Token)
		poll.After = node.Token{Epoch: token.Epoch, Deps: token.Deps}
	}
	if err != nil {
		done(Reply{Outcome: NotApplied}, fmt.Errorf("%w: %w", ErrInvalid, err))
		return
	}
	wait := watchWait
	if request.Wait > 0 {
		most := uint64(watchWaitMax.Milliseconds())
		wait = time.Duration(min(request.Wait, most)) * time.Millisecond //nolint:gosec // half a minute
	}
	deadline := time.Now().Add(wait)
	if r.Deadline.Before(deadline) {
		deadline = r.Deadline
	}
	poll.Proposal = s.calls.next()
	if !s.inbox.call(&call{id: poll.Proposal, poll: poll, deadline: deadline, done: done}) {
		done(Reply{Outcome: NotApplied}, ErrStopped)
	}
}

// watch hands a poll to the node.
func (s *Server) watch(now time.Duration, c *call) {
	err := errDraining
	if !s.draining.Load() {
		err = s.node.Watch(now, *c.poll)
	}
	if err != nil {
		s.calls.refuse(c.id, err)
	}
}

// endWatch answers a poll whose time is up: nothing has changed.
func (s *Server) endWatch(c *call) {
	result := s.node.EndWatch(c.id)
	if result == nil {
		s.calls.refuse(c.id, node.ErrBehind)
		return
	}
	s.calls.answer([]node.Answer{{Proposal: c.id, Result: result}}, s.store.Unpin)
}

// sendWatchesAway ends all polls, so that their clients go on elsewhere. None begins while the replica is draining.
func (s *Server) sendWatchesAway() {
	s.inbox.do(func() { s.calls.answer(s.node.VoidWatches(), s.store.Unpin) })
}
