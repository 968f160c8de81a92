package recipes

import (
	"context"
	"sync"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// simLease keeps itself alive as clients.Lease does: it is over for the process as soon as a replica may end it,
// counted from when the last keep-alive that was acknowledged was sent.
type simLease struct {
	p    *process
	id   epaxos.InstanceID
	ttl  time.Duration
	over chan struct{}
	once sync.Once

	mu    sync.Mutex
	until time.Time
	err   error
}

func (p *process) grant(ctx context.Context, ttl time.Duration) (lease, error) {
	began := time.Now()
	r, err := p.operate(ctx, epaxos.InstanceID{}, wire.SessionOp{
		Kind: wire.SessionOpen, TTL: uint64(ttl.Milliseconds()), //nolint:gosec // positive
	})
	if err != nil {
		return nil, err
	}
	l := &simLease{p: p, id: r.ID, ttl: ttl, over: make(chan struct{})}
	l.until = began.Add(ttl * 9 / 10)
	go l.keep()
	go l.doubt()
	return l, nil
}

func (l *simLease) ID() clients.LeaseID { return l.id }

func (l *simLease) Done() <-chan struct{} { return l.over }

func (l *simLease) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *simLease) end(err error) {
	l.once.Do(func() {
		l.mu.Lock()
		l.err = err
		l.mu.Unlock()
		close(l.over)
	})
}

// keep tells the cluster that the process lives, and the session that names its requests too.
func (l *simLease) keep() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-l.over:
		case <-l.p.dead:
			l.end(clients.ErrClosed)
		}
		cancel()
	}()
	for {
		select {
		case <-time.After(l.ttl / 3):
		case <-ctx.Done():
			return
		}
		l.p.gate([]byte("keep"))
		sent := time.Now()
		r, err := l.p.operate(ctx, l.id, wire.SessionOp{Kind: wire.SessionKeep})
		switch {
		case err != nil:
		case r.Gone:
			l.end(clients.ErrLeaseGone)
			return
		default:
			l.mu.Lock()
			l.until = sent.Add(l.ttl * 9 / 10)
			l.mu.Unlock()
		}
		l.p.w.mu.Lock()
		names := l.p.session
		l.p.w.mu.Unlock()
		if !names.IsZero() {
			if r, err := l.p.operate(ctx, names, wire.SessionOp{Kind: wire.SessionKeep}); err == nil && r.Gone {
				l.p.forgetSession(names)
			}
		}
	}
}

// doubt ends the lease when nobody can know any more that it lives. A paused process does not notice.
func (l *simLease) doubt() {
	for {
		l.mu.Lock()
		left := time.Until(l.until)
		l.mu.Unlock()
		if left <= 0 {
			l.p.gate([]byte("doubt"))
			l.end(clients.ErrLeaseUnsure)
			return
		}
		select {
		case <-time.After(left):
		case <-l.over:
			return
		}
	}
}

func (l *simLease) Revoke(ctx context.Context) error {
	l.end(clients.ErrClosed)
	for {
		r, err := l.p.operate(ctx, l.id, wire.SessionOp{Kind: wire.SessionClose})
		if err == nil && r.Gone || ctx.Err() != nil || l.p.killed() {
			return err
		}
	}
}
