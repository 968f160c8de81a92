package recipes

import (
	"context"
	"fmt"
	"strconv"

	"github.com/264bc8cf/epaxos/clients"
)

// Counter is a number that anybody adds to, from everywhere at once: adds do not wait for each other. The key of
// that name holds it, in decimal. Its methods are safe for concurrent use. It needs no session of this package.
type Counter struct {
	store store
	name  string
}

// Add adds delta, modulo 2^64, once. It takes one round trip to the nearest quorum. If the error matches
// clients.ErrOutcomeUnknown, it may have been added, or may yet be; otherwise it was not.
func (c *Counter) Add(ctx context.Context, delta int64) error {
	if err := c.add(ctx, delta); err != nil {
		return fmt.Errorf("add to counter %q: %w", c.name, err)
	}
	return nil
}

func (c *Counter) add(ctx context.Context, delta int64) error {
	for pause := pauseMin; ; pause = min(2*pause, pauseMax) {
		_, err := c.store.commit(ctx, txn{then: []clients.Op{clients.OpAdd(c.name, delta)}})
		if err == nil {
			return nil
		}
		outcome := clients.OutcomeOf(err)
		if outcome == clients.Unknown {
			found, reason := settle(ctx, c.store, err)
			if reason == nil && found == clients.Unknown {
				reason = clients.ErrOutcomeForgotten
			}
			if reason != nil {
				return &unknown{cause: err, reason: reason}
			}
			outcome = found
		} else if !clients.IsRetryable(err) {
			return err
		}
		if outcome == clients.Applied {
			return nil
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// Value is the sum of all that was added before it was read: the read is linearizable. An absent key counts as 0.
func (c *Counter) Value(ctx context.Context) (int64, error) {
	r, err := commit(ctx, c.store, txn{then: []clients.Op{clients.OpGet(c.name)}})
	if err != nil {
		return 0, fmt.Errorf("read counter %q: %w", c.name, err)
	}
	if !r.Results[0].Found {
		return 0, nil
	}
	value, err := strconv.ParseInt(string(r.Results[0].Value), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read counter %q: %w", c.name, clients.ErrWrongType)
	}
	return value, nil
}
