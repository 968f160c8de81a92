package demo

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/internal/history"
	"github.com/264bc8cf/epaxos/internal/wire"
)

const (
	// operationTimeout is when an operation without a definite result counts as an error.
	operationTimeout = 10 * time.Second
	// privateKeys is how many keys a client has to itself.
	privateKeys = 8
	valueBytes  = 64
	// errorPause keeps a client that fails at once from failing in a tight loop.
	errorPause = 50 * time.Millisecond
	hotKey     = "shared"
)

// loop is one client: a closed loop of operations.
type loop struct {
	id         int
	client     *clients.Client
	meter      *meter
	recorder   *history.Recorder // nil if nothing is recorded
	clock      func() time.Duration
	start, end time.Duration // of the window; nothing begins after it
	*allowance               // nil has no end
	conflict   float64       // probabilities
	writes     float64
	rand       *rand.Rand
	sequence   uint64
}

// run sends operations until the window ends or ctx does. An operation that has begun is waited
// for in either case: its own deadline ends it.
func (l *loop) run(ctx context.Context) {
	for ctx.Err() == nil && l.may(l.clock()) {
		if !l.one() {
			select {
			case <-ctx.Done():
			case <-time.After(errorPause):
			}
		}
	}
}

// may reports whether another operation begins at this time. Those before the window are on the house.
func (l *loop) may(now time.Duration) bool {
	return now < l.start || now < l.end && l.take()
}

// one carries out an operation; false if it failed.
func (l *loop) one() bool {
	op := l.next()
	// The deadline is the client's, not the run's: what has begun is never cancelled.
	ctx := context.Background()
	var result clients.Result
	var err error
	call := l.clock()
	if op.Kind == wire.OpPut {
		result, err = l.client.Put(ctx, string(op.Key), op.Value)
	} else {
		result, err = l.client.Get(ctx, string(op.Key))
	}
	now := l.clock()
	l.meter.end(call, now, err == nil)
	if l.recorder != nil {
		l.recorder.Add(history.Operation{
			Client: l.id, Op: op, Call: call, Return: now, Outcome: outcome(err),
			Result: wire.Result{
				Status: wire.OpOK, Found: result.Found, Value: result.Value, Version: result.Version,
			},
		})
	}
	return err == nil
}

// outcome is what the history may assume. An effect whose result nobody has read is as good as
// unknown.
func outcome(err error) wire.Outcome {
	switch {
	case err == nil:
		return wire.OutcomeApplied
	case clients.OutcomeOf(err) == clients.NotApplied:
		return wire.OutcomeNotApplied
	default:
		return wire.OutcomeUnknown
	}
}

// next draws an operation.
func (l *loop) next() wire.Op {
	op := wire.Op{Kind: wire.OpGet}
	if l.rand.Float64() < l.conflict {
		op.Key = []byte(hotKey)
	} else {
		op.Key = fmt.Appendf(nil, "client %d key %d", l.id, l.rand.IntN(privateKeys))
	}
	if l.rand.Float64() < l.writes {
		op.Kind, op.Value = wire.OpPut, l.value()
	}
	return op
}

// value is different each time and for each client.
func (l *loop) value() []byte {
	l.sequence++
	value := make([]byte, valueBytes)
	binary.BigEndian.PutUint64(value, uint64(l.id))
	binary.BigEndian.PutUint64(value[8:], l.sequence)
	for i := 16; i < len(value); i += 8 {
		binary.BigEndian.PutUint64(value[i:], l.rand.Uint64())
	}
	return value
}
