package recipes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/264bc8cf/epaxos/clients"
)

// Session is what locks, elections, barriers and queues of one process have in common: a lease under which they
// hold what they hold. All its methods are safe for concurrent use.
type Session struct {
	store store
	lease lease

	ctx  context.Context // ends with the lease
	stop context.CancelCauseFunc
	wg   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	names  uint64 // how many identities were given out
}

func newSession(ctx context.Context, s store, ttl time.Duration) (*Session, error) {
	lease, err := s.grant(ctx, ttl)
	if err != nil {
		return nil, fmt.Errorf("open a session: %w", err)
	}
	session := &Session{store: s, lease: lease}
	session.ctx, session.stop = context.WithCancelCause(context.Background())
	session.wg.Go(func() {
		select {
		case <-lease.Done():
			session.lost(lease.Err())
		case <-session.ctx.Done():
		}
	})
	return session, nil
}

// Done is closed when the session has ended: its lease is over, or can no longer be known to live, or Close was
// called. What was held under it may be held by another from then on.
func (s *Session) Done() <-chan struct{} { return s.ctx.Done() }

// Err is nil as long as the session lasts. Then it matches ErrLost or ErrClosed.
func (s *Session) Err() error { return context.Cause(s.ctx) }

// Close ends the session and gives up all that is held under it, at one moment. Operations under way end with
// ErrClosed. If the cluster cannot be told before ctx ends, Close returns an error, and the lease ends by itself
// after its time to live.
func (s *Session) Close(ctx context.Context) error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	s.stop(ErrClosed)
	s.wg.Wait()
	if !first {
		return nil
	}
	// What is still on its way and would write under the lease finds it gone, so nothing is left behind.
	if err := s.lease.Revoke(ctx); err != nil {
		return fmt.Errorf("close the session: %w", err)
	}
	return nil
}

func (s *Session) lost(reason error) { s.stop(errors.Join(ErrLost, reason)) }

// nameMax leaves room for what recipes add to a name: keys have at most 4 KiB.
const nameMax = 3 << 10

// admits tells why nothing of this name is to be begun.
func (s *Session) admits(ctx context.Context, name string) error {
	if name == "" || len(name) > nameMax {
		return fmt.Errorf("a name of %d bytes: need 1 to %d", len(name), nameMax)
	}
	return cmp.Or(s.Err(), context.Cause(ctx))
}

// bind returns a context that ends with ctx and with the session.
func (s *Session) bind(ctx context.Context) (context.Context, func()) {
	bound, cancel := context.WithCancelCause(ctx)
	unbind := context.AfterFunc(s.ctx, func() { cancel(s.Err()) })
	return bound, func() {
		unbind()
		cancel(nil)
	}
}

// identity names one attempt, and no other ever.
func (s *Session) identity() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names++
	return fmt.Sprintf("%v-%d", s.lease.ID(), s.names)
}

// put is an operation that writes a key which goes when the lease does. Where the lease is gone it writes nothing.
func (s *Session) put(key string, value []byte) clients.Op {
	return clients.OpPut(key, value, clients.WithLease(s.lease.ID()))
}

// refused tells why an operation of put has written nothing.
func refused(r clients.Result) error {
	switch {
	case r.Succeeded:
		return nil
	case r.LeaseGone:
		return ErrLost
	}
	return clients.ErrLimit // the lease has as many keys as a lease may have
}

// cleanUp settles what an attempt has left open, whose last error is given, and then carries out a transaction that
// removes its traces: in the background, until that is done or the lease has ended, which removes them too. It
// returns what to tell the caller, to whom it makes no difference any more what was open: why the context ended, if
// it did.
func (s *Session) cleanUp(ctx context.Context, end error, t txn) error {
	if errors.Is(end, errUnnamed) {
		s.lost(end) // at once, for nobody can settle it
		s.revoke()
		return s.Err()
	}
	s.background(func(ctx context.Context) {
		if open, ok := errors.AsType[*unknown](end); ok {
			if _, err := settle(ctx, s.store, open.cause); err != nil {
				s.giveUp(err)
				return
			}
		}
		if _, err := commit(ctx, s.store, t); err != nil {
			s.giveUp(err)
		}
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return end
}

// giveUp ends the lease of a session that cannot settle a change: whatever is still on its way then finds no
// lease to write under. A session that has ended needs nothing more.
func (s *Session) giveUp(cause error) {
	if s.ctx.Err() == nil {
		s.lost(fmt.Errorf("what is on its way cannot be called back: %w", cause))
		s.revoke()
	}
}

// revoke ends the lease of a session that was lost, in the background. An error leaves it to its time to live:
// nobody keeps it alive any more.
func (s *Session) revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return // Close does that
	}
	s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), revokeTimeout)
		defer cancel()
		_ = s.lease.Revoke(ctx)
	})
}

const revokeTimeout = 5 * time.Second

// tidy lets the store forget deleted keys of a span. Whoever comes next does the same, so an error is of no
// interest.
func (s *Session) tidy(span clients.Span) {
	s.background(func(ctx context.Context) { _ = s.store.forget(ctx, span) })
}

// background runs a chore until it ends, with the session at the latest.
func (s *Session) background(chore func(context.Context)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed && s.ctx.Err() == nil {
		s.wg.Go(func() { chore(s.ctx) })
	}
}
