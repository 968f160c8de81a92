package clients_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/264bc8cf/epaxos/clients"
)

// A batch is sent in one flush, more than are in flight too, and each operation has an end of its own.
func TestBatch(t *testing.T) {
	for _, limit := range []int{1, 7, 1024} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, m := newWorld(t, 10*ms), newMachine()
				w.sharing(m)
				c := w.dial(session, clients.WithInFlight(limit))
				if _, err := c.Put(t.Context(), "word", []byte("x")); err != nil {
					t.Fatal(err)
				}
				b := c.Batch(t.Context())
				for i := range 50 {
					b.Add(clients.OpIncrement(fmt.Sprint(i%5), 1))
				}
				b.Add(clients.OpIncrement("word", 1), clients.OpGet("word"))
				results, err := b.Do()
				if !errors.Is(err, clients.ErrWrongType) || len(results) != 52 {
					t.Fatalf("%d results, %v", len(results), err)
				}
				for i := range 50 {
					if n, err := results[i].Int(); results[i].Err != nil || err != nil || n != int64(1+i/5) {
						t.Errorf("operation %d: %+v", i, results[i])
					}
				}
				if results[50].Err == nil || string(results[51].Value) != "x" {
					t.Errorf("%+v", results[50:])
				}
			})
		})
	}
}

// Batches that wait for each other's slots come to an end.
func TestBatchesSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t, 10*ms), newMachine()
		w.sharing(m)
		c := w.dial(session, clients.WithInFlight(4))
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				b := c.Batch(t.Context())
				for range 40 {
					b.Add(clients.OpIncrement("n", 1))
				}
				if _, err := b.Do(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := counter(t, c, "n"); got != 200 {
			t.Errorf("violation of once: the counter is %d, want 200", got)
		}
	})
}

// An observer hears of each operation, once of its beginning and once of its end.
func TestObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t, 10*ms, 20*ms), newMachine()
		w.sharing(m)
		var mu sync.Mutex
		begun, ended := map[clients.Kind]int{}, map[clients.Kind]int{}
		var last clients.Report
		c := w.dial(session, clients.WithObserver(func(_ context.Context, kind clients.Kind) func(clients.Report) {
			mu.Lock()
			begun[kind]++
			mu.Unlock()
			return func(r clients.Report) {
				mu.Lock()
				ended[r.Kind]++
				last = r
				mu.Unlock()
			}
		}))
		if _, err := c.Increment(t.Context(), "n", 1); err != nil {
			t.Fatal(err)
		}
		if last.Kind != clients.KindCommand || last.Copies != 1 || last.Request.IsZero() || last.Took <= 0 || last.Err != nil {
			t.Errorf("%+v", last)
		}
		w.replicas[nearest(c)].proposer.set(never)
		if _, err := c.Increment(t.Context(), "n", 1); err != nil || last.Copies != 2 {
			t.Errorf("%v, %+v, want 2 copies", err, last)
		}
		counter(t, c, "n")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Increment(ctx, "n", 1); err == nil || last.Err == nil || last.Copies != 0 {
			t.Errorf("%v, %+v of an operation that was never sent", err, last)
		}
		c.Close()
		for _, kind := range []clients.Kind{clients.KindCommand, clients.KindRead, clients.KindSession, clients.KindOther} {
			if begun[kind] != ended[kind] || kind != clients.KindOther && begun[kind] == 0 {
				t.Errorf("%d of kind %v began, %d ended", begun[kind], kind, ended[kind])
			}
		}
	})
}
