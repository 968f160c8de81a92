package recipes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/264bc8cf/epaxos/clients"
)

// store is what recipes need of a cluster. *clients.Client is behind the one that ships (cluster); the tests put
// an executor alone, and whole simulated clusters, behind others.
type store interface {
	// commit carries out a transaction. It may answer with an *clients.Error of any outcome.
	commit(ctx context.Context, t txn) (clients.TxnResult, error)
	// settle finds out what became of a change. When it returns no error, no copy of the change takes effect any
	// more, whatever the outcome: it is Unknown if nobody remembers.
	settle(ctx context.Context, id clients.RequestID) (clients.Outcome, error)
	// changed returns when the key shows another version than this one; 0 is that of an absent key.
	changed(ctx context.Context, key string, version uint64) error
	// forget drops what deleted keys of a span have left.
	forget(ctx context.Context, span clients.Span) error
	// grant makes a lease that keeps itself alive.
	grant(ctx context.Context, ttl time.Duration) (lease, error)
}

// lease is what holds keys as long as its owner lives; *clients.Lease is one.
type lease interface {
	ID() clients.LeaseID
	// Done is closed when the lease is over, or can no longer be known to live; Err tells why.
	Done() <-chan struct{}
	Err() error
	// Revoke ends the lease, which deletes its keys at one moment. With an error it ends by itself, in its time.
	Revoke(ctx context.Context) error
}

// txn is a transaction: if all conditions hold it does one thing, else the other.
type txn struct {
	when  []clients.Compare
	then  []clients.Op
	other []clients.Op
}

// Pauses between attempts, while the cluster cannot serve.
const (
	pauseMin = 20 * time.Millisecond
	pauseMax = time.Second
)

// answer is that of a transaction which was sent until its outcome was known.
type answer struct {
	clients.TxnResult
	// repeated: an earlier copy may have taken effect, before this one; nil if none has.
	repeated *unknown
}

// commit carries out a transaction that does no harm when it takes effect twice, one copy after the other. When
// it returns an answer, no copy is on its way any more (F4). It goes on until the context ends. An error is
// *unknown if a copy may have taken effect, or may yet; otherwise none has, and none will.
func commit(ctx context.Context, s store, t txn) (answer, error) {
	var open *unknown
	for pause := pauseMin; ; pause = min(2*pause, pauseMax) {
		result, err := s.commit(ctx, t)
		if err == nil {
			return answer{result, open}, nil
		}
		switch clients.OutcomeOf(err) {
		case clients.Unknown:
			outcome, reason := settle(ctx, s, err)
			if reason != nil {
				return answer{}, &unknown{cause: err, reason: reason}
			}
			if outcome != clients.NotApplied {
				open = &unknown{cause: err}
			}
		case clients.NotApplied:
			if !clients.IsRetryable(err) {
				return answer{}, open.with(err)
			}
		default: // the answer cannot be read, so another cannot be either
			return answer{}, &unknown{cause: err, reason: err}
		}
		if err := sleep(ctx, pause); err != nil {
			return answer{}, open.with(err)
		}
	}
}

// errUnnamed: the cluster knows a change by no name, so nobody can call it back.
var errUnnamed = errors.New("the client has no session at the cluster, so nobody can find out")

// settle sees to it that a change takes effect no more, whose outcome an error left open.
func settle(ctx context.Context, s store, cause error) (clients.Outcome, error) {
	e, ok := errors.AsType[*clients.Error](cause)
	if !ok || e.Request.IsZero() {
		return clients.Unknown, errUnnamed
	}
	for pause := pauseMin; ; pause = min(2*pause, pauseMax) {
		outcome, err := s.settle(ctx, e.Request)
		if err == nil || errors.Is(err, clients.ErrClosed) {
			return outcome, err
		}
		if err := sleep(ctx, pause); err != nil {
			return clients.Unknown, err
		}
	}
}

// unknown is the end of a change that may have taken effect, or may yet.
type unknown struct {
	cause  error // names the request
	reason error // why nobody found out
}

func (u *unknown) Error() string { return fmt.Sprintf("%v; %v", u.reason, u.cause) }

func (u *unknown) Unwrap() []error { return []error{u.reason, u.cause} }

// with tells the reason for which an attempt ended after others whose effect is unknown.
func (u *unknown) with(reason error) error {
	if u == nil {
		return reason
	}
	return &unknown{cause: u.cause, reason: reason}
}

// await returns when a key shows another version. It may return early, or late.
func await(ctx context.Context, s store, r rival) error {
	for pause := pauseMin; ; pause = min(2*pause, pauseMax) {
		err := s.changed(ctx, r.key, r.version)
		if err == nil || ctx.Err() == nil && !clients.IsRetryable(err) {
			return err
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// rival is a key in the way, as it was seen.
type rival struct {
	key     string
	version uint64
}

// sleep returns the reason for which the context ended, if it does first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
