package server

import (
	"errors"
	"fmt"

	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// Reads at a cut (docs/protocol.md, Q5). The replica's goroutine opens the state, others read it: a long page holds up
// nobody.

// cutReaders is how many reads of cuts are carried out at a time; the others wait.
const cutReaders = 8

// atCut carries out a read once the state at its cut is open.
func (s *Server) atCut(read *node.Read, done func(Reply, error)) func(Reply, error) {
	return func(reply Reply, err error) {
		if reply.past == nil {
			done(reply, err)
			return
		}
		past := reply.past
		go func() {
			s.cutReaders <- struct{}{}
			result, err := execution.Query(past, s.machine, read.Footprint, read.Payload)
			past.Close()
			<-s.cutReaders
			if err != nil {
				done(Reply{Outcome: NotApplied}, cutError(err))
				return
			}
			done(Reply{Result: result, Outcome: Applied}, nil)
		}()
	}
}

// cutError tells a state that ended while it was read from a fault.
func cutError(err error) error {
	switch {
	case errors.Is(err, storage.ErrGone):
		return fmt.Errorf("%w: %w", node.ErrCutGone, err)
	case errors.Is(err, storage.ErrClosed):
		return fmt.Errorf("%w: %w", ErrStopped, err)
	default:
		return fmt.Errorf("read at a cut: %w", err)
	}
}

// releaseCut gives up a cut that a client needs no longer.
func (s *Server) releaseCut(payload []byte, done func(Reply, error)) {
	cut, err := wire.DecodeInstanceID(payload)
	if err != nil || cut.IsZero() {
		done(Reply{Outcome: NotApplied}, fmt.Errorf("%w: it names no cut to release", ErrInvalid))
		return
	}
	go func() { // this may be the goroutine that reads the client's requests
		if !s.inbox.do(func() { s.node.ReleaseCut(cut) }) {
			done(Reply{Outcome: NotApplied}, ErrStopped)
			return
		}
		done(Reply{Outcome: Applied}, nil)
	}()
}
