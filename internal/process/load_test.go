package process

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// load is a number of writers. Each puts one new key after another and counts on a counter that all
// of them share, so that commands of all replicas interfere.
type load struct {
	t       *testing.T
	writers []writer
	acked   atomic.Int64
	stop    context.CancelFunc
	done    sync.WaitGroup
}

// writer remembers what it was told. Only its own goroutine writes its fields, while it runs.
type writer struct {
	name    string
	replica epaxos.ReplicaID // the only one it writes to; 0 is the nearest
	written []string         // acknowledged keys; the value of each is the key
	counted int64            // acknowledged increments
	unsure  int64            // increments that may have taken effect
}

const counterKey = "counter"

func startLoad(ctx context.Context, t *testing.T, client *clients.Client, writers ...writer) *load {
	ctx, stop := context.WithCancel(ctx)
	l := &load{t: t, writers: writers, stop: stop}
	for i := range l.writers {
		w := &l.writers[i]
		w.name = fmt.Sprintf("writer%d", i)
		l.done.Go(func() { l.write(ctx, client, w) })
	}
	t.Cleanup(l.end)
	return l
}

func (l *load) write(ctx context.Context, client *clients.Client, w *writer) {
	for i := 0; ctx.Err() == nil; i++ {
		key := fmt.Sprintf("%s/%d", w.name, i)
		put := wire.Op{Kind: wire.OpPut, Key: []byte(key), Value: []byte(key)}
		if _, err := start(ctx, client, w.replica, &put).wait(); err == nil {
			w.written = append(w.written, key)
			l.acked.Add(1)
		} else {
			pause(ctx)
		}
		increment := wire.Op{Kind: wire.OpIncrement, Key: []byte(counterKey), Delta: 1}
		switch _, err := start(ctx, client, w.replica, &increment).wait(); {
		case err == nil:
			w.counted++
		case clients.OutcomeOf(err) == clients.Unknown:
			w.unsure++
		}
	}
}

// operation is one under way.
type operation struct {
	future *clients.Future
	cancel context.CancelFunc
}

// start begins an operation at one replica, or at the nearest. One at a replica that was killed ends
// soon, so that its writer goes on when the replica is back.
func start(ctx context.Context, client *clients.Client, at epaxos.ReplicaID, op *wire.Op) operation {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	return operation{cancel: cancel, future: client.Start(ctx, clients.Request{
		Payload: wire.AppendOp(nil, op), ReadOnly: op.Kind == wire.OpGet, Replica: at,
	})}
}

func (o operation) wait() (wire.Result, error) {
	defer o.cancel()
	reply, err := o.future.Wait()
	if err != nil {
		return wire.Result{}, err
	}
	return wire.DecodeResult(reply.Result)
}

// await returns when n more writes have been acknowledged than before.
func (l *load) await(ctx context.Context, n int64) {
	l.t.Helper()
	for target := l.acked.Load() + n; l.acked.Load() < target; pause(ctx) {
		if ctx.Err() != nil {
			l.t.Fatalf("%d of %d writes were acknowledged in time", l.acked.Load(), target)
		}
	}
}

// end stops the writers.
func (l *load) end() {
	l.stop()
	l.done.Wait()
}

// verify reads everything that was acknowledged, at one replica.
func (l *load) verify(ctx context.Context, client *clients.Client, at epaxos.ReplicaID) {
	l.t.Helper()
	var counted, unsure int64
	for i := range l.writers {
		w := &l.writers[i]
		counted, unsure = counted+w.counted, unsure+w.unsure
		reads := make([]operation, len(w.written))
		for j, key := range w.written {
			reads[j] = start(ctx, client, at, &wire.Op{Kind: wire.OpGet, Key: []byte(key)})
		}
		for j, key := range w.written {
			result, err := reads[j].wait()
			if err != nil || string(result.Value) != key || result.Version != 1 {
				l.t.Errorf("replica %d: %s was acknowledged, but reads %+v, %v", at, key, result, err)
			}
		}
	}
	result, err := start(ctx, client, at, &wire.Op{Kind: wire.OpGet, Key: []byte(counterKey)}).wait()
	if err != nil {
		l.t.Fatal(err)
	}
	sum, err := strconv.ParseInt(string(result.Value), 10, 64)
	if err != nil || sum < counted || sum > counted+unsure {
		l.t.Errorf("replica %d: the counter is %q, %v; %d increments were acknowledged and %d may have taken effect",
			at, result.Value, err, counted, unsure)
	}
	l.t.Logf("replica %d: %d writes and %d increments were acknowledged, %d may have been; the counter is %d",
		at, l.acked.Load(), counted, unsure, sum)
}
