package process

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/process/cluster"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// writers puts 64-byte values on many keys through two replicas, as fast as they take them.
type writers struct {
	done atomic.Int64
	stop context.CancelFunc
	all  sync.WaitGroup
}

func startWriters(ctx context.Context, t *testing.T, client *clients.Client, load int) *writers {
	w := &writers{}
	ctx, w.stop = context.WithCancel(ctx)
	for i := range load {
		w.all.Go(func() {
			value := make([]byte, 64)
			for ctx.Err() == nil {
				put := wire.Op{Kind: wire.OpPut, Key: fmt.Appendf(nil, "k%07d", rand.IntN(100_000)), Value: value}
				request := clients.Request{Payload: wire.AppendOp(nil, &put), Replica: epaxos.ReplicaID(i%2 + 1)}
				if _, err := client.Start(context.WithoutCancel(ctx), request).Wait(); err != nil {
					t.Error(err)
					return
				}
				w.done.Add(1)
			}
		})
	}
	return w
}

// await waits for n more puts and returns how many there were in a second.
func (w *writers) await(ctx context.Context, n int64) (perSecond float64) {
	began, before := time.Now(), w.done.Load()
	for w.done.Load()-before < n && cluster.Sleep(ctx) {
	}
	return float64(w.done.Load()-before) / time.Since(began).Seconds()
}

// TestCatchUp lets a replica fall behind by many commands and come back while the others go on, and tells how long
// it took and what that cost the others.
func TestCatchUp(t *testing.T) {
	commands := int64(10_000)
	if *lifeFlag > 0 {
		commands = 1_000_000
	} else if testing.Short() {
		t.Skip("takes its time: make life")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience+30*time.Minute)
	defer cancel()
	c := startCluster(t, 3)
	client, err := c.Dial(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close() //nolint:errcheck // every answer is here
	w := startWriters(ctx, t, client, 256)
	w.await(ctx, commands/10)
	healthy := w.await(ctx, commands/10)
	if err := c.Replica(3).Kill(); err != nil {
		t.Fatal(err)
	}
	w.await(ctx, commands/10) // until the dead one is suspected
	began := w.done.Load()
	absent := w.await(ctx, commands)
	behindBy := w.done.Load() - began

	back, before := time.Now(), w.done.Load()
	if err := c.Replica(3).Start(ctx); err != nil {
		t.Fatal(err)
	}
	for {
		all, err := c.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if caughtUp(all) {
			break
		}
		if !cluster.Sleep(ctx) {
			t.Fatalf("violation of progress: the replica does not catch up: %+v", all)
		}
	}
	took := time.Since(back)
	during := float64(w.done.Load()-before) / took.Seconds()
	after := w.await(ctx, commands/10)
	w.stop()
	w.all.Wait()
	t.Logf("%d commands behind, and %d more meanwhile: caught up in %.1fs; puts in a second: %.0f with all, %.0f without "+
		"it, %.0f while it caught up, %.0f after", behindBy, w.done.Load()-before, took.Seconds(), healthy, absent, during, after)
	if _, err := c.AwaitEqual(ctx); err != nil {
		t.Error(err)
	}
}

// caughtUp reports whether the third replica lacks no more than a moment of load.
func caughtUp(all []cluster.ReplicaStatus) bool {
	if len(all) != 3 || !all[2].Reachable || !all[2].Status.Admitted {
		return false
	}
	for column, top := range all[0].Status.Executed {
		if all[2].Status.Executed[column]+1000 < top {
			return false
		}
	}
	return true
}
