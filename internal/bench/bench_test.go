package bench

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/internal/experiment"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/internal/workload"
)

// fake answers after a time, and perhaps only while it is not stopped.
type fake struct {
	took    time.Duration
	stopped func() time.Duration // how long it stands still from now on; nil is never
	answer  func(n int64) Answer // to the n-th operation; nil is that all are carried out
	started atomic.Int64
}

func (f *fake) Start(ctx context.Context, _ *wire.Op, done func(Answer)) {
	n := f.started.Add(1)
	took := f.took
	if f.stopped != nil {
		took += f.stopped()
	}
	go func() {
		select {
		case <-time.After(took):
		case <-ctx.Done():
			done(Answer{Cause: "cancelled", Outcome: clients.Unknown})
			return
		}
		a := Answer{Outcome: clients.Applied, Command: true, Fast: n%2 == 0}
		if f.answer != nil {
			a = f.answer(n)
		}
		done(a)
	}()
}

func config(load workload.Load, targets ...Target) Config {
	spec := &workload.Spec{Load: load, Writes: 50}
	c := Config{Load: load, Warmup: time.Second, Duration: 10 * time.Second, Drain: time.Second}
	for i, target := range targets {
		c.Regions = append(c.Regions, Region{
			Name: []string{"A", "B", "C"}[i], Targets: []Target{target},
			Source: workload.NewSource(spec, i, workload.Streams{
				Arrivals: rand.New(rand.NewPCG(1, uint64(i))), Keys: rand.New(rand.NewPCG(2, uint64(i))),
			}),
		})
	}
	return c
}

// within asserts about a number of milliseconds, or of operations.
func within(t *testing.T, what string, got, low, high float64) {
	t.Helper()
	if got < low || got > high {
		t.Errorf("%s: %v, want %v to %v", what, got, low, high)
	}
}

func TestClosedLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(workload.Load{Clients: 4}, &fake{took: 20 * time.Millisecond}, &fake{took: 50 * time.Millisecond})
		var seconds []Second
		c.Live = func(s Second) { seconds = append(seconds, s) }
		o := Run(context.Background(), c)
		// Four clients at 20 ms make 200 a second, at 50 ms 80.
		within(t, "rate of A", o.Rate(&o.Regions[0]), 199, 201)
		within(t, "rate of B", o.Rate(&o.Regions[1]), 79, 81)
		within(t, "median of B", o.Regions[1].Summary().P50, 50, 50.1)
		within(t, "share of the fast path", float64(o.Total.Fast)/float64(o.Total.Commands), 0.49, 0.51)
		if o.Interrupted || len(o.Failures) > 0 || o.Total.Begun != o.Total.Answered || o.Measured != 10*time.Second {
			t.Errorf("%+v", o)
		}
		if get, put := o.Kinds["get"], o.Kinds["put"]; get.Answered+put.Answered != o.Total.Answered || get.Answered == 0 {
			t.Errorf("%d gets and %d puts of %d", get.Answered, put.Answered, o.Total.Answered)
		}
		if len(seconds) < 10 || !seconds[0].Warmup || seconds[1].Warmup || seconds[5].Answers < 270 {
			t.Errorf("seconds: %+v", seconds)
		}
	})
}

// TestNoCoordinatedOmission: a cluster that stands still for two seconds of ten owes a fifth of the requests of an
// open loop more than their own time, a second on average, although few of them were sent in those two seconds.
func TestNoCoordinatedOmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		still := func() time.Duration {
			now := time.Since(began)
			if now < 5*time.Second || now > 7*time.Second {
				return 0
			}
			return 7*time.Second - now
		}
		o := Run(context.Background(), config(workload.Load{Rate: 100}, &fake{took: time.Millisecond, stopped: still}))
		l := o.Total.Summary()
		within(t, "begun", float64(o.Total.Begun), 900, 1100)
		within(t, "median", l.P50, 1, 1.1)
		within(t, "90th percentile", l.P90, 700, 1300)
		within(t, "worst", l.Max, 1900, 2010)
		within(t, "longest gap", float64(o.Total.Gap.Milliseconds()), 1900, 2010)
	})
}

// blocking lets nothing in for a time, as a client whose slots are taken.
type blocking struct {
	fake
	until time.Time
}

func (b *blocking) Start(ctx context.Context, op *wire.Op, done func(Answer)) {
	time.Sleep(time.Until(b.until))
	b.fake.Start(ctx, op, done)
}

// TestBlockedStartCounts: an operation is measured from when it was due, not from when the client had room for it.
func TestBlockedStartCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blocking{fake: fake{took: time.Millisecond}, until: time.Now().Add(4 * time.Second)}
		o := Run(context.Background(), config(workload.Load{Rate: 100}, b))
		within(t, "90th percentile", o.Total.Summary().P90, 1700, 2300) // three seconds of ten waited, up to three
		within(t, "sent late", o.Late.Max, 2900, 3010)
	})
}

// TestNeverSent: what a client had no room for until long after the end is counted, as not applied.
func TestNeverSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &blocking{until: time.Now().Add(time.Minute)}
		o := Run(context.Background(), config(workload.Load{Rate: 10}, b))
		missed := o.Failures[Failure{"not sent in time", clients.NotApplied}]
		if o.Total.Begun < 80 || missed != o.Total.Begun || o.Total.Refused != missed || o.Total.Answered != 0 {
			t.Errorf("%d of %d not sent", missed, o.Total.Begun)
		}
	})
}

func TestOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		truths := []func() (clients.Outcome, error){
			func() (clients.Outcome, error) { return clients.Applied, nil },
			func() (clients.Outcome, error) { return clients.NotApplied, nil },
			func() (clients.Outcome, error) { return clients.Unknown, errors.New("the session is gone") },
		}
		f := &fake{took: time.Millisecond}
		f.answer = func(n int64) Answer {
			switch {
			case n%10 == 1:
				return Answer{Cause: "overloaded", Outcome: clients.NotApplied}
			case n%10 == 2:
				return Answer{Cause: "deadline exceeded", Outcome: clients.Unknown,
					Resolve: func(context.Context) (clients.Outcome, error) { return truths[n/10%3]() }}
			case n%10 == 3:
				return Answer{Cause: "deadline exceeded", Outcome: clients.Unknown}
			}
			return Answer{Outcome: clients.Applied}
		}
		o := Run(context.Background(), config(workload.Load{Rate: 100}, f))
		p := &o.Total
		if p.Begun != p.Answered+p.Errors() || p.Errors() != p.Refused+p.Unknown {
			t.Errorf("operations get lost: %+v", *p)
		}
		if unknown := o.Failures[Failure{"deadline exceeded", clients.Unknown}]; unknown != p.Unknown || unknown < 150 {
			t.Errorf("%d unknown", unknown)
		}
		list := o.FailureList()
		if len(list) != 2 || list[0].Outcome != clients.Unknown || !strings.Contains(list[1].String(), "overloaded (not applied)") {
			t.Errorf("failures: %v", list)
		}
		r := o.Resolve(context.Background())
		if r.Applied < 25 || r.NotApplied < 25 || r.Applied+r.NotApplied+r.Unknown != p.Unknown || r.Unknown < p.Unknown/2 {
			t.Errorf("resolved %+v of %d", r, p.Unknown)
		}
		late, cancel := context.WithCancel(context.Background())
		cancel()
		if r := o.Resolve(late); r.Unknown != p.Unknown {
			t.Errorf("resolved %+v without time", r)
		}
	})
}

// TestInterrupt: the load ends at once, what is under way is waited for, and the time measured is what has passed.
func TestInterrupt(t *testing.T) {
	for _, load := range []workload.Load{{Rate: 100}, {Clients: 5}} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
			defer cancel()
			o := Run(ctx, config(load, &fake{took: 1500 * time.Millisecond}))
			if !o.Interrupted || o.Measured != 3*time.Second || o.Total.Begun != o.Total.Answered || o.Total.Begun == 0 {
				t.Errorf("%v: %+v", load, o)
			}
		})
	}
}

// TestSecondInterrupt: operations end with their context, as unknown.
func TestSecondInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(workload.Load{Clients: 5}, &fake{took: time.Hour})
		operations, cancel := context.WithTimeout(context.Background(), 12*time.Second)
		defer cancel()
		c.Operations = operations
		c.Warmup = 0
		o := Run(context.Background(), c)
		if o.Total.Unknown != 5 || o.Total.Begun != 5 {
			t.Errorf("%+v", o.Total)
		}
	})
}

func TestFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Run(context.Background(), config(workload.Load{Rate: 50}, &fake{took: 10 * time.Millisecond},
			&fake{took: 30 * time.Millisecond}))
		var r experiment.Result
		o.Fill(&r)
		if len(r.Regions) != 2 || r.Begun != o.Total.Begun || r.FastShare == nil || r.DurationS != 10 {
			t.Errorf("%+v", r)
		}
		within(t, "median of B", r.Regions[1].Execution.P50, 30, 30.1)
		if len(r.ExecCDF) != len(experiment.Quantiles) || r.ExecCDF[0] > r.ExecCDF[len(r.ExecCDF)-1] {
			t.Errorf("distribution %v", r.ExecCDF)
		}
		lines := strings.Split(strings.TrimSpace(experiment.CSV([]experiment.Result{r})), "\n")
		if len(lines) != 4 || strings.Count(lines[0], ",") != strings.Count(lines[1], ",") {
			t.Errorf("%d lines of CSV", len(lines))
		}
		var text bytes.Buffer
		if err := o.Total.WriteHDR(&text); err != nil || !strings.Contains(text.String(), "Percentile") {
			t.Errorf("%v: %s", err, text.String())
		}
		if tail := o.Total.Tail(); len(tail.X) == 0 || tail.Y[0] != 100 {
			t.Errorf("tail %+v", tail)
		}
		empty := Run(context.Background(), Config{Load: workload.Load{Rate: 1}})
		empty.Fill(&experiment.Result{})
		if tail := empty.Total.Tail(); len(tail.X) != 0 {
			t.Errorf("tail of nothing %+v", tail)
		}
	})
}
