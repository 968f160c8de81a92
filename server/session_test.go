package server_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/epaxos"
)

// tally is what the clients of a run were told.
type tally struct{ acknowledged, applied, never, unresolved atomic.Int64 }

func (t *tally) String() string {
	return fmt.Sprintf("%d acknowledged, %d unknown and found applied, %d unknown and found not applied, %d not resolvable",
		t.acknowledged.Load(), t.applied.Load(), t.never.Load(), t.unresolved.Load())
}

// increment adds 1 to a counter, waiting for so long, and finds out what became of it.
func (t *tally) increment(ctx context.Context, client *clients.Client, key string, patience time.Duration) error {
	once, cancel := context.WithTimeout(ctx, patience)
	_, err := client.Increment(once, key, 1)
	cancel()
	switch clients.OutcomeOf(err) {
	case clients.Applied:
		t.acknowledged.Add(1)
		return nil
	case clients.NotApplied:
		return nil
	default:
	}
	failed, is := errors.AsType[*clients.Error](err)
	if !is {
		return err
	}
	for {
		r, err := client.Outcome(ctx, failed.Request)
		switch {
		case errors.Is(err, clients.ErrSessionExpired), errors.Is(err, clients.ErrOutcomeForgotten):
			t.unresolved.Add(1)
			return nil
		case ctx.Err() != nil:
			return err
		case err != nil:
		case r.Outcome == clients.Applied:
			t.applied.Add(1)
			return nil
		default:
			t.never.Add(1)
			return nil
		}
	}
}

// TestIncrementsTakeEffectOnce: clients count while replicas are killed and come back. In the end the counters are
// what was acknowledged and what was unknown and found to be applied. ONCE is for how long, by default 4 s.
func TestIncrementsTakeEffectOnce(t *testing.T) {
	length := 4 * time.Second
	if text := os.Getenv("ONCE"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), length+2*time.Minute)
	defer cancel()
	c := startCluster(t, 3)
	c.startAll()
	var told tally
	var wg sync.WaitGroup
	counting, stop := context.WithTimeout(ctx, length)
	defer stop()
	for i := range 4 {
		client := c.dial(ctx, clients.WithPolicy(clients.Policy{StallAfter: 300 * time.Millisecond}))
		for j := range 8 {
			random := rand.New(rand.NewPCG(uint64(i), uint64(j)))
			wg.Go(func() {
				for counting.Err() == nil {
					key := fmt.Sprintf("n%d", random.IntN(5))
					patience := time.Duration(20+random.IntN(600)) * time.Millisecond
					if err := told.increment(ctx, client, key, patience); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	random := rand.New(rand.NewPCG(7, 7))
	for kills := 0; counting.Err() == nil; kills++ {
		victim := random.IntN(3)
		c.servers[victim].Abort()
		rest(counting, time.Duration(100+random.IntN(500))*time.Millisecond)
		c.start(victim)
		rest(counting, time.Second)
	}
	wg.Wait()
	client := c.dial(ctx)
	sum := int64(0)
	for i := range 5 {
		r, err := client.Get(ctx, fmt.Sprintf("n%d", i))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := r.Int(); err == nil {
			sum += n
		}
	}
	if want := told.acknowledged.Load() + told.applied.Load(); sum != want || told.unresolved.Load() > 0 {
		t.Errorf("violation of once: the counters are %d, want %d", sum, want)
	}
	c.settle(ctx)
	t.Logf("counters %d: %v", sum, &told)
}

func rest(ctx context.Context, pause time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(pause):
	}
}

// TestReadsByChoice: what was written through one replica is read at another, by each consistency as it promises.
func TestReadsByChoice(t *testing.T) {
	ctx := testContext(t)
	c := startCluster(t, 3)
	c.startAll()
	writer, reader := c.dial(ctx), c.dial(ctx)
	for i := range 20 {
		value := fmt.Sprint(i)
		if _, err := writer.Put(ctx, "k", []byte(value)); err != nil {
			t.Fatal(err)
		}
		replica := epaxos.ReplicaID(1 + i%3)
		for _, option := range []clients.ReadOption{clients.Linearizable, writer.Token(), clients.Session} {
			r, err := reader.Get(ctx, "k", option, clients.At(replica))
			if err != nil || string(r.Value) != value || r.Replica != replica {
				t.Fatalf("violation of linearizability: read %d with %v: %q, %v, want %q", i, option, r.Value, err, value)
			}
		}
	}
	for {
		r, err := reader.Get(ctx, "k", clients.Stale)
		if err != nil || !r.Found {
			t.Fatalf("stale: %+v, %v", r, err)
		}
		if r.Age >= 0 {
			break // the replica has found out meanwhile
		}
	}
	page, err := reader.Range(ctx, clients.Prefix("k"), clients.Session)
	if err != nil || page.Count != 1 {
		t.Errorf("range of a session: %+v, %v", page, err)
	}
	if _, err := reader.Get(ctx, "k", clients.Consistency(77)); !errors.Is(err, clients.ErrInvalid) {
		t.Errorf("consistency 77: %v", err)
	}
}

// TestAStaleReadIsAsOldAsItSays: the age of a stale read is never less than that of a write that it does not show.
func TestAStaleReadIsAsOldAsItSays(t *testing.T) {
	ctx := testContext(t)
	c := startCluster(t, 3)
	c.startAll()
	writer, reader := c.dial(ctx), c.dial(ctx)
	written := make([]time.Time, 150) // when the write of version i+1 was answered
	var last atomic.Int64
	done := make(chan error, 1)
	go func() {
		for i := range written {
			if _, err := writer.Put(ctx, "k", nil); err != nil {
				done <- err
				return
			}
			written[i] = time.Now()
			last.Store(int64(i) + 1)
		}
		done <- nil
	}()
	known := 0
	for i := 0; last.Load() < int64(len(written)); i++ {
		answered, asked := last.Load(), time.Now()
		r, err := reader.Get(ctx, "k", clients.Stale, clients.At(epaxos.ReplicaID(1+i%3)))
		if err != nil {
			t.Fatal(err)
		}
		if r.Age < 0 || answered == 0 || r.Version >= uint64(answered) {
			continue
		}
		known++
		// The oldest write that the read lacks was answered for so long when the read began.
		if missed := asked.Sub(written[r.Version]); r.Age < missed {
			t.Errorf("violation of visibility: a read of age %v lacks a write that was answered %v before it", r.Age, missed)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Logf("%d stale reads lacked a write", known)
}
