package clients_test

import (
	"bytes"
	"context"
	"errors"
	"log"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/264bc8cf/epaxos/clients"
)

// Whoever begins faster than the cluster answers waits: no more than WithInFlight operations are open, however many are
// begun, and those that were not begun in time had no effect.
func TestBackPressure(t *testing.T) {
	const limit = 4
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t, 10*ms), newMachine()
		w.sharing(m)
		c := w.dial(clients.WithInFlight(limit))
		replica := w.replicas[1]
		replica.proposer.set(never)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var mu sync.Mutex
		var begun []*clients.Pending
		var wg sync.WaitGroup
		before := replica.proposer.count()
		wg.Go(func() {
			for range 3 * limit {
				p := c.Begin(ctx, clients.OpAdd("n", 1))
				mu.Lock()
				begun = append(begun, p)
				mu.Unlock()
			}
		})
		synctest.Wait()
		time.Sleep(500 * ms)
		mu.Lock()
		if len(begun) != limit || replica.proposer.count()-before != limit {
			t.Errorf("%d operations begun and %d sent while none was answered, want %d", len(begun),
				replica.proposer.count()-before, limit)
		}
		mu.Unlock()
		wg.Wait() // the context ends, and with it both what waits and what is open
		unknown, not := 0, 0
		for _, p := range begun {
			_, err := p.Wait()
			<-p.Done()
			switch clients.OutcomeOf(err) {
			case clients.Unknown:
				unknown++
			case clients.NotApplied:
				not++
			default:
				t.Errorf("%v", err)
			}
		}
		if unknown != limit || not != 2*limit {
			t.Errorf("%d unknown and %d not applied, want %d and %d", unknown, not, limit, 2*limit)
		}
		w.sharing(m)
		p := c.Begin(t.Context(), clients.OpIncrement("n", 1))
		if r, err := p.Wait(); err != nil || string(r.Value) != "1" {
			t.Errorf("with room again: %+v, %v", r, err)
		}
		if r, err := c.Begin(t.Context(), clients.OpGet("n"), clients.Session).Wait(); err != nil || string(r.Value) != "1" {
			t.Errorf("a read: %+v, %v", r, err)
		}
	})
}

// A batch that does not fit is slowed down likewise, and ends with its context.
func TestBackPressureOfBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := alone(t, clients.WithInFlight(2))
		r.proposer.set(never)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		b := c.Batch(ctx)
		for range 10 {
			b.Add(clients.OpAdd("n", 1))
		}
		results, err := b.Do()
		if err == nil || len(results) != 10 || r.proposer.count() != 2 {
			t.Fatalf("%d results, %v, %d reached the replica, want 10, an error and 2", len(results), err, r.proposer.count())
		}
		for i, result := range results {
			want := clients.NotApplied
			if i < 2 {
				want = clients.Unknown
			}
			if clients.OutcomeOf(result.Err) != want {
				t.Errorf("operation %d: %v, want %v", i, result.Err, want)
			}
		}
	})
}

// The answer of a pending operation is that of the machine, errors included.
func TestPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t, 10*ms), newMachine()
		w.sharing(m)
		c := w.dial(session)
		put, wrong := c.Begin(t.Context(), clients.OpPut("word", []byte("x"))), c.Begin(t.Context(), clients.OpGet("word"))
		if r, err := put.Wait(); err != nil || r.Version != 1 || put.RequestID().IsZero() {
			t.Errorf("%+v, %v, %v", r, err, put.RequestID())
		}
		if _, err := wrong.Wait(); err != nil || !wrong.RequestID().IsZero() {
			t.Errorf("%v, %v: a read has a name", err, wrong.RequestID())
		}
		bad := c.Begin(t.Context(), clients.OpIncrement("word", 1))
		for range 2 {
			if _, err := bad.Wait(); !errors.Is(err, clients.ErrWrongType) {
				t.Errorf("an increment of a word: %v", err)
			}
		}
	})
}

// A client logs where it was told to, and nowhere else, whatever happens to it.
func TestNothingIsLoggedUnasked(t *testing.T) {
	var unasked, asked bytes.Buffer
	before := slog.Default()
	flags, writer := log.Flags(), log.Writer()
	slog.SetDefault(slog.New(slog.NewTextHandler(&unasked, &slog.HandlerOptions{Level: slog.LevelDebug})))
	log.SetOutput(&unasked)
	t.Cleanup(func() {
		slog.SetDefault(before)
		log.SetFlags(flags)
		log.SetOutput(writer)
	})
	for _, options := range [][]clients.Option{
		nil, {clients.WithLogger(slog.New(slog.NewTextHandler(&asked, nil)))},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 10*ms, 20*ms)
			c := w.dial(options...)
			if _, err := c.Do(t.Context(), nil); err != nil {
				t.Error(err)
			}
			w.replicas[1].stop()
			time.Sleep(5 * time.Second)
			if _, err := c.Do(t.Context(), nil); err != nil {
				t.Error(err)
			}
			c.Close()
			if unasked.Len() > 0 {
				t.Errorf("logged unasked: %s", &unasked)
			}
		})
	}
	if asked.Len() == 0 {
		t.Error("nothing is logged where it is asked for, so this test proves nothing")
	}
}
