package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/264bc8cf/epaxos/storage"
)

// condemn makes it durable that a directory must not be used again, whatever a next start would find. It returns
// the fault.
func (s *Server) condemn(fault error) error {
	if !errors.Is(fault, ErrForgot) && !errors.Is(fault, ErrDamaged) {
		return fault
	}
	return errors.Join(fault, storage.Condemn(s.config.Dir, fault.Error()))
}

// A scrub is cut into steps that do not disturb, and aims at half the period, since the store grows meanwhile.
const (
	scrubStepBytes = 512 << 10
	scrubPauseMin  = 20 * time.Millisecond
)

// scrub reads all that the store has, again and again, each time within the period. Damage ends the replica: what
// it would answer from, or tell others, may be wrong.
func (s *Server) scrub(ctx context.Context) {
	var at storage.ScrubPosition
	for {
		steps := time.Duration(s.store.Usage().DiskBytes/scrubStepBytes + 8)
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(scrubPauseMin, s.config.ScrubPeriod/(2*steps))):
		}
		next, done, err := s.store.Scrub(at, scrubStepBytes)
		switch {
		case errors.Is(err, storage.ErrClosed):
			return
		case err != nil:
			s.inbox.do(func() { s.fault = fmt.Errorf("read what was saved: %w", err) })
			return
		case done:
			at = storage.ScrubPosition{}
			s.scrubs.Add(1)
			s.scrubbed.Store(int64(s.now()))
		default:
			at = next
		}
	}
}
