package server

import (
	"errors"
	"fmt"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Requests of sessions (docs/protocol.md, O).

// Why a request of a session was not executed, or why that is not known.
var (
	errSessionGone = errors.New("the session is gone: it expired, was closed, or never was; open another")
	errBelowFloor  = errors.New("a checkpoint of the session covers the number of the request")
	errWindow      = fmt.Errorf("the number of the request is %d or more above the first that the session remembers: "+
		"checkpoint the session first", execution.SessionWindow)
	errBusyLease = errors.New("keys are being attached to the session all the time: it is still open")
	errSettled   = errors.New("somebody asked what became of the request before it was executed, so it never will be")
)

// outcomeOf says what a verdict on one copy of a request means for the request.
func outcomeOf(v execution.Verdict) Outcome {
	switch v {
	case execution.Executed:
		return Applied
	case execution.NeverApplied:
		return NotApplied
	default:
		return Unknown
	}
}

func verdictError(v execution.Verdict) error {
	switch v {
	case execution.Executed:
		return nil
	case execution.SessionGone:
		return errSessionGone
	case execution.BelowFloor:
		return errBelowFloor
	case execution.BeyondWindow:
		return errWindow
	case execution.NeverApplied:
		return errSettled
	default:
		return fmt.Errorf("verdict %d", v)
	}
}

func verdictCode(v execution.Verdict) wire.Code {
	switch v {
	case execution.SessionGone:
		return wire.CodeSessionGone
	case execution.BelowFloor:
		return wire.CodeSessionCovered
	case execution.BeyondWindow:
		return wire.CodeSessionWindow
	case execution.NeverApplied:
		return wire.CodeSettled
	default:
		return wire.CodeInternal
	}
}

// checkNumber refuses a command that pretends to be an operation on a session, or to open one.
func checkNumber(r *epaxos.Request) error {
	if (r.Number == 0) != r.Session.IsZero() {
		return fmt.Errorf("%w: it has number %d in session %v: a request has both or neither", ErrInvalid,
			r.Number, r.Session)
	}
	return nil
}

// submitSession hands an operation on a session to the replica, see submit.
func (s *Server) submitSession(request epaxos.Request, deadline time.Time, done func(Reply, error)) {
	op, err := wire.DecodeSessionOp(request.Payload)
	switch {
	case err != nil:
	case op.Kind == wire.SessionExpire:
		err = errors.New("replicas alone end sessions that are silent: close it instead")
	case (op.Kind == wire.SessionOpen) != request.Session.IsZero():
		err = errors.New("all operations but open name their session")
	case op.Kind == wire.SessionOpen && op.TTL == 0:
		err = errors.New("a session needs a time of silence after which it may expire")
	case op.Kind.Format() > wire.FormatMin && s.checkLevel(op.Kind.Format()) != nil:
		err = s.checkLevel(op.Kind.Format())
	case request.Number != 0:
		err = fmt.Errorf("an operation on a session has no number, this has %d", request.Number)
	}
	if err != nil {
		done(Reply{Outcome: NotApplied}, fmt.Errorf("%w: %w", ErrInvalid, err))
		return
	}
	c := &call{request: request, deadline: deadline, done: done, session: true}
	switch op.Kind {
	case wire.SessionOpen:
		c.request.Number = epaxos.OpenSession // the leader makes the footprint when it knows the instance
		c.session = false
	case wire.SessionClose:
		c.done = s.closing(c, done)
	default:
	}
	s.hand(c)
}

// closeAttempts is how often a replica tries to close a session that keys are being attached to.
const closeAttempts = 10

// closing proposes the end of a session again as long as keys that it did not name were attached to it before.
func (s *Server) closing(c *call, done func(Reply, error)) func(Reply, error) {
	attempts := 0
	return func(reply Reply, err error) {
		if err != nil {
			done(reply, err)
			return
		}
		result, err := wire.DecodeSessionResult(reply.Result)
		if attempts++; err == nil && !result.Gone {
			if attempts < closeAttempts {
				s.hand(c)
				return
			}
			reply.Outcome, err = NotApplied, errBusyLease
		}
		done(reply, err)
	}
}
