package clients

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// LeaseID names a lease at the cluster for ever. It is the id of a session that keys are attached to.
type LeaseID = SessionID

// ParseLeaseID reads what LeaseID.String wrote, as in "2.300".
func ParseLeaseID(text string) (LeaseID, error) { return ParseSessionID(text) }

const (
	// LeaseTTLMax is the longest time to live of a lease.
	LeaseTTLMax = wire.LeaseTTLMax * time.Millisecond
	// LeaseKeysMax is how many keys may be attached to one lease, and LeaseBytesMax how many bytes their names may have.
	LeaseKeysMax  = wire.LeaseKeysMax
	LeaseBytesMax = wire.LeaseBytesMax

	// leaseMargin is the part of its time to live by which a client gives a lease up before a replica may: clocks may
	// run at rates that differ by as much.
	leaseMargin = 10
	// keepsPerTTL is how often a lease is kept alive within its time to live.
	keepsPerTTL = 3
)

var (
	// ErrLeaseGone: there is no such lease (any more). It expired, was revoked, or never was. A put under it wrote
	// nothing.
	ErrLeaseGone = errors.New("the lease is gone: it expired, was revoked, or never was")
	// ErrLeaseUnsure: no keep-alive was acknowledged for so long that the lease may have expired.
	ErrLeaseUnsure = errors.New("no keep-alive of the lease was acknowledged in time: it may have expired")
	// ErrLeaseClosed: this process has closed or revoked the lease.
	ErrLeaseClosed = errors.New("the lease was closed here")
)

// Lease is a lease that this process keeps alive. Keys that are put under it (WithLease) are deleted when it ends, all
// in one moment.
//
// A lease ends at one place in the order of all commands, the same on every replica. The clock of this process says
// when that may have come. It is right if clocks run at rates that differ by less than a tenth, and while the process
// runs: a machine that was suspended notices late. What must be right all the same is to be guarded by the version of
// a leased key, which no two holders share. All methods may be called by several goroutines at a time.
type Lease struct {
	client *Client
	id     LeaseID
	ttl    time.Duration
	ctx    context.Context
	stop   context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	until time.Time // it is known to live until then
	lapse *time.Timer
	err   error // why done is closed
}

// Grant makes a lease that lives for ttl, from 1 ms to a day, after it was last kept alive, and keeps it alive in the
// background until it is closed, revoked or lost, or the client is closed. It takes what a write takes. With an
// unknown outcome a lease may be there that nobody keeps alive.
func (c *Client) Grant(ctx context.Context, ttl time.Duration) (*Lease, error) {
	if ttl < time.Millisecond || ttl > LeaseTTLMax {
		return nil, &Error{
			Code: CodeInvalid, Outcome: NotApplied,
			Detail: fmt.Sprintf("a lease of %v: from 1ms to %v is possible", ttl, LeaseTTLMax),
		}
	}
	sent := time.Now()
	op := wire.SessionOp{Kind: wire.SessionOpen, TTL: uint64(ttl.Milliseconds())} //nolint:gosec // positive
	_, result, err := c.operate(ctx, SessionID{}, &op)
	if err != nil {
		return nil, err
	}
	return c.lease(result.ID, &result.Session, sent)
}

// ResumeLease keeps a lease alive that was granted elsewhere, perhaps by a process that has ended.
func (c *Client) ResumeLease(ctx context.Context, id LeaseID) (*Lease, error) {
	sent := time.Now()
	result, err := c.leaseOp(ctx, id, wire.SessionKeep)
	if err != nil {
		return nil, err
	}
	return c.lease(id, &result.Session, sent)
}

// KeepAliveOnce keeps a lease alive, from the moment of the call on for the time that it returns, and not in the
// background.
func (c *Client) KeepAliveOnce(ctx context.Context, id LeaseID) (ttl time.Duration, err error) {
	result, err := c.leaseOp(ctx, id, wire.SessionKeep)
	if err != nil {
		return 0, err
	}
	return ttlOf(&result.Session), nil
}

// RevokeLease ends a lease and deletes its keys, all in one moment. A lease that is gone already is no error.
func (c *Client) RevokeLease(ctx context.Context, id LeaseID) error { return c.CloseSession(ctx, id) }

// LeaseInfo is what the cluster knows of a lease.
type LeaseInfo struct {
	ID   LeaseID
	TTL  time.Duration
	Keys []string // attached to it, ascending
}

// LeaseInfo tells which keys are attached to a lease. It does not keep it alive. It takes what a write takes.
func (c *Client) LeaseInfo(ctx context.Context, id LeaseID) (LeaseInfo, error) {
	result, err := c.leaseOp(ctx, id, wire.SessionInspect)
	if err != nil {
		return LeaseInfo{}, err
	}
	return LeaseInfo{ID: id, TTL: ttlOf(&result.Session), Keys: result.Keys}, nil
}

func (c *Client) leaseOp(ctx context.Context, id LeaseID, kind wire.SessionKind) (wire.SessionResult, error) {
	f, result, err := c.operate(ctx, id, &wire.SessionOp{Kind: kind})
	if err == nil && result.Gone {
		err = &Error{
			Code: CodeSessionGone, Outcome: NotApplied, Replica: ReplicaID(f.replica.Load()), Detail: ErrLeaseGone.Error(),
			causes: []error{ErrLeaseGone},
		}
	}
	return result, err
}

func ttlOf(s *wire.Session) time.Duration {
	return time.Duration(min(s.TTL, wire.LeaseTTLMax)) * time.Millisecond //nolint:gosec // a day
}

// lease begins to keep a lease alive that lived at some time after sent.
func (c *Client) lease(id LeaseID, s *wire.Session, sent time.Time) (*Lease, error) {
	l := &Lease{client: c, id: id, ttl: ttlOf(s), done: make(chan struct{})}
	l.ctx, l.stop = context.WithCancel(c.ctx)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		l.stop()
		return nil, &Error{Code: CodeClosed, Outcome: Applied, Detail: "the client was closed", causes: []error{ErrClosed}}
	}
	c.wg.Add(1)
	c.mu.Unlock()
	l.mu.Lock()
	l.until = sent.Add(l.certain())
	l.lapse = time.AfterFunc(time.Until(l.until), l.check)
	l.mu.Unlock()
	go l.tend(sent)
	return l, nil
}

// ID names the lease, for WithLease and for other processes.
func (l *Lease) ID() LeaseID { return l.id }

// TTL is how long the lease lives after it was last kept alive.
func (l *Lease) TTL() time.Duration { return l.ttl }

// Done is closed when the lease is lost, or can no longer be known to live, or was closed or revoked here: never
// later, by the clock of this process, than any replica could have ended it for want of a keep-alive.
func (l *Lease) Done() <-chan struct{} { return l.done }

// Err is nil until Done is closed, and then says why: ErrLeaseGone, ErrLeaseUnsure, ErrLeaseClosed, or ErrClosed if the
// client was closed.
func (l *Lease) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Until is when Done will be closed, unless a keep-alive is acknowledged before.
func (l *Lease) Until() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until
}

// Close ends Done and keeps the lease alive no longer. Its keys stay until its time is over, or another process resumes
// it.
func (l *Lease) Close() { l.end(ErrLeaseClosed) }

// Revoke closes the lease, and ends it at the cluster: its keys are deleted, all in one moment. With an error it
// may still be there, until its time is over. Repeated, it tries again.
func (l *Lease) Revoke(ctx context.Context) error {
	l.Close() // before anybody else can have what it guards
	return l.client.RevokeLease(ctx, l.id)
}

// certain is how long the lease lives for certain after a keep-alive was sent that is acknowledged: replicas count from
// when they execute it, which is later.
func (l *Lease) certain() time.Duration { return l.ttl - l.ttl/leaseMargin }

// check ends the lease here when its time is over.
func (l *Lease) check() {
	l.mu.Lock()
	left := time.Until(l.until)
	if left > 0 && l.err == nil {
		l.lapse.Reset(left)
	}
	l.mu.Unlock()
	if left <= 0 {
		l.end(ErrLeaseUnsure)
	}
}

// end closes Done. Of several reasons the first is told.
func (l *Lease) end(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	l.err = reason
	close(l.done)
	l.lapse.Stop()
	l.stop()
}

// kept takes in that a keep-alive was acknowledged.
func (l *Lease) kept(sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if until := sent.Add(l.certain()); until.After(l.until) {
		l.until = until
	}
}

// tend keeps the lease alive.
func (l *Lease) tend(sent time.Time) {
	defer l.client.wg.Done()
	every := l.ttl / keepsPerTTL
	next, failures := sent.Add(every), 0
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	for {
		select {
		case <-l.ctx.Done():
			l.end(ErrClosed) // unless it has ended before
			return
		case <-timer.C:
		}
		sent = time.Now()
		ctx, cancel := context.WithTimeout(l.ctx, max(every, retryMin))
		_, err := l.client.leaseOp(ctx, l.id, wire.SessionKeep)
		cancel()
		switch {
		case err == nil:
			l.kept(sent)
			next, failures = sent.Add(every), 0
		case errors.Is(err, ErrLeaseGone):
			l.end(ErrLeaseGone)
			return
		default: // other replicas may answer: there is time for a few attempts
			failures++
			next = time.Now().Add(min(retryMin<<min(failures-1, 16), every/2, retryMax))
		}
		timer.Reset(max(time.Until(next), 0))
	}
}

// PutOption changes what a put does.
type PutOption interface{ put(op *wire.Op) }

type withLease LeaseID

func (l withLease) put(op *wire.Op) { op.Lease = LeaseID(l) }

// WithLease puts a key under a lease: it is deleted when the lease ends, unless it was put again before, under another
// lease or without one. Append, Increment and Add leave a key under the lease that it has. If there is no such lease,
// nothing is written: ErrLeaseGone; in a transaction that operation alone has no effect (Result.LeaseGone). A lease has
// at most LeaseKeysMax keys, with names of LeaseBytesMax bytes; more is ErrLimit.
func WithLease(id LeaseID) PutOption { return withLease(id) }

func putOp(op wire.Op, options []PutOption) wire.Op {
	for _, option := range options {
		option.put(&op)
	}
	return op
}

// CompareLease compares the lease that a key is under; the zero id is that of a key without one, or that does not
// exist. Only Equal and NotEqual mean something.
func CompareLease(key string, relation Relation, lease LeaseID) Compare {
	compare := wire.Compare{
		Key: []byte(key), Target: wire.CompareLease, Relation: wire.CompareRelation(relation), Value: []byte{},
	}
	if !lease.IsZero() {
		compare.Value = []byte(lease.Key())
	}
	return Compare{compare}
}
