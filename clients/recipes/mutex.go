package recipes

import (
	"context"
	"fmt"
)

// Mutex is a lock that at most one holds at a time, first come, first served. Its methods are safe for concurrent
// use; two calls of Lock exclude each other though they come from one process, or use one Mutex.
//
//	NAME/holder              the identity of the holder: its version is the fencing token
//	NAME/tickets             how many tickets were given out
//	NAME/waiters/TICKET-ID   one for each that waits
type Mutex struct {
	session *Session
	name    string
}

// NewMutex names a lock. All keys that begin with name and a slash are its own.
func NewMutex(s *Session, name string) *Mutex { return &Mutex{session: s, name: name} }

// Lock waits until the lock is free and everybody has had it who came before, and takes it. It takes one command if
// nobody has it. If ctx or the session ends first, the error matches that of ctx, ErrLost or ErrClosed, and the
// caller neither has the lock nor stands in its queue: what is still to be removed of it, the session removes.
func (m *Mutex) Lock(ctx context.Context) (*Lock, error) { return m.attempt().lock(ctx, "lock", true) }

// TryLock takes the lock if nobody has it or waits for it. Otherwise the error is ErrHeld.
func (m *Mutex) TryLock(ctx context.Context) (*Lock, error) {
	return m.attempt().lock(ctx, "try to lock", false)
}

func (m *Mutex) attempt(beside ...pair) *attempt {
	holder := m.name + "/holder"
	return &attempt{
		session: m.session, name: m.name, id: m.session.identity(), mine: holder, beside: beside,
		free: []obstacle{{key: holder}}, queues: []string{"waiters"}, queue: "waiters",
	}
}

// Lock is a lock that was taken.
type Lock struct {
	attempt *attempt
	token   uint64
}

func (a *attempt) lock(ctx context.Context, act string, wait bool) (*Lock, error) {
	token, err := a.enter(ctx, wait)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", act, a.name, err)
	}
	return &Lock{attempt: a, token: token}, nil
}

// Token is the fencing token: greater than that of everybody who had the lock before. Send it along with all that
// is done under the lock, to something that refuses tokens smaller than it has seen, as a Fence does. Nothing
// else keeps out a holder that has slept through the end of its lease.
func (l *Lock) Token() uint64 { return l.token }

// Lost is closed when another may hold the lock, because the session has ended. A process that was paused learns of
// it late: that is what the token is for.
func (l *Lock) Lost() <-chan struct{} { return l.attempt.session.Done() }

// Unlock gives the lock up, and nothing that anybody else has taken meanwhile. The error matches ErrLost if the
// lock was lost before: what was done under it may have overlapped with what another did. If ctx ends first, the
// session goes on trying in the background. Unlock must be called once.
func (l *Lock) Unlock(ctx context.Context) error {
	if err := l.attempt.leave(ctx); err != nil {
		return fmt.Errorf("unlock %q: %w", l.attempt.name, err)
	}
	return nil
}
