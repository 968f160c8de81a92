package recipes

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"time"

	"github.com/264bc8cf/epaxos/clients"
)

// TTLDefault is the time to live of a session's lease where none is given.
const TTLDefault = 10 * time.Second

// NewSession makes a session whose lease has this time to live: TTLDefault if it is 0. It keeps itself alive in the
// background; what is held under it goes to others that long, at most, after this process has died. The client
// must outlive it, and should have a session of its own at the cluster, as it has by default: without one, a
// write of unknown outcome cannot be called back, and costs the lease.
func NewSession(ctx context.Context, client *clients.Client, ttl time.Duration) (*Session, error) {
	return newSession(ctx, cluster{client}, cmp.Or(ttl, TTLDefault))
}

// NewCounter names a counter.
func NewCounter(client *clients.Client, name string) *Counter {
	return &Counter{store: cluster{client}, name: name}
}

// Observe follows the election of that name without taking part, see Election.Observe.
func Observe(ctx context.Context, client *clients.Client, name string) iter.Seq2[Leader, error] {
	return observer{store: cluster{client}, name: name}.all(ctx)
}

// cluster is the store that ships.
type cluster struct{ client *clients.Client }

func (c cluster) commit(ctx context.Context, t txn) (clients.TxnResult, error) {
	return c.client.Txn(ctx).If(t.when...).Then(t.then...).Else(t.other...).Commit()
}

func (c cluster) settle(ctx context.Context, id clients.RequestID) (clients.Outcome, error) {
	r, err := c.client.Outcome(ctx, id)
	if errors.Is(err, clients.ErrSessionExpired) || errors.Is(err, clients.ErrOutcomeForgotten) {
		// Nobody remembers what became of it, and for the same reason no copy is carried out any more.
		return clients.Unknown, nil
	}
	return r.Outcome, err
}

func (c cluster) forget(ctx context.Context, span clients.Span) error {
	_, err := c.client.Forget(ctx, span)
	return err
}

func (c cluster) grant(ctx context.Context, ttl time.Duration) (lease, error) {
	return c.client.Grant(ctx, ttl)
}

// changed watches the key, from a state that shows all that this client has seen.
func (c cluster) changed(ctx context.Context, key string, version uint64) error {
	watch, err := c.client.Watch(ctx, clients.Point(key), clients.WithState())
	if err != nil {
		return err
	}
	defer watch.Close()
	shown, current := uint64(0), false
	for {
		event, err := watch.Next(ctx)
		if err != nil {
			return err
		}
		switch event.Type {
		case clients.EventState, clients.EventPut:
			shown = event.Version
		case clients.EventDelete:
			shown = 0
		case clients.EventAdd:
			return nil
		case clients.EventResync:
			shown, current = 0, false
		case clients.EventCurrent:
			current = true
		}
		if current && shown != version {
			return nil
		}
	}
}
