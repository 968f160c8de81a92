package bench

import (
	"context"
	"sync"
	"time"

	"github.com/264bc8cf/epaxos/internal/workload"
)

// Region is clients that see the cluster from one place.
type Region struct {
	Name    string
	Source  *workload.Source
	Targets []Target // at least one; clients take turns
}

// Config is one run.
type Config struct {
	Load     workload.Load // of each region
	Regions  []Region
	Warmup   time.Duration // nothing counts that begins before
	Duration time.Duration
	// Drain is how long after the last request fell due one is sent that could not be sent before. Answers are waited
	// for without bound: the targets have time limits of their own.
	Drain time.Duration
	// Operations is the context of all operations; when it ends they do. Nil is one without end.
	Operations context.Context
	Live       func(Second) // called each second; may be nil
}

// Second is what happened in one second of a run, warm-up included.
type Second struct {
	At       time.Duration // its end, since the start of the measured time
	Warmup   bool
	Answers  int
	Errors   int
	Open     int // operations under way
	P50, P99 time.Duration
	Max      time.Duration
}

// runner is one run under way.
type runner struct {
	Config
	began   time.Time
	regions []*region
	clients sync.WaitGroup
	open    sync.WaitGroup // operations
}

// region is a Region at work.
type region struct {
	*Region
	record  *recorder
	drawing sync.Mutex // of its Source
}

// errorPause keeps a client whose operations fail at once from failing in a tight loop.
const errorPause = 50 * time.Millisecond

// Run puts the load on its targets until Duration is over or ctx ends, waits for the answers, and tells what was
// measured. It never fails: operations do.
func Run(ctx context.Context, config Config) *Outcome {
	r := &runner{Config: config, began: time.Now()}
	if r.Operations == nil {
		r.Operations = context.Background()
	}
	for i := range r.Regions {
		g := &region{Region: &r.Regions[i], record: newRecorder(r.Warmup, r.Warmup+r.Duration)}
		r.regions = append(r.regions, g)
		if r.Load.Open() {
			r.clients.Go(func() { r.arrivals(ctx, g) })
		} else {
			r.loops(ctx, g)
		}
	}
	over := make(chan struct{})
	var watching sync.WaitGroup
	var seconds []Second
	watching.Go(func() { seconds = r.watch(over) })
	interrupted := !sleep(ctx, r.Warmup+r.Duration)
	if interrupted {
		for _, g := range r.regions {
			g.record.stop(r.now())
		}
	}
	r.clients.Wait()
	r.open.Wait()
	close(over)
	watching.Wait()
	return r.outcome(interrupted, seconds)
}

func (r *runner) now() time.Duration { return time.Since(r.began) }

// sleep reports whether the time has passed; false if ctx has ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// arrivals is the open loop of a region.
func (r *runner) arrivals(ctx context.Context, g *region) {
	end := r.Warmup + r.Duration
	due := time.Duration(0)
	for i := 0; ; i++ {
		due += g.Source.Wait()
		if due >= end || !sleep(ctx, due-r.now()) {
			return
		}
		if r.now() > end+r.Drain {
			g.record.missed(due)
			continue
		}
		r.start(g, i, due, func(Answer) {})
	}
}

// loops are the clients of a closed loop.
func (r *runner) loops(ctx context.Context, g *region) {
	for i := range r.Load.Clients {
		stagger := g.Source.Stagger()
		r.clients.Go(func() {
			answers := make(chan Answer, 1)
			for going := sleep(ctx, stagger); going && r.now() < r.Warmup+r.Duration; {
				r.start(g, i, r.now(), func(a Answer) { answers <- a })
				if a := <-answers; a.Cause != "" {
					going = sleep(ctx, errorPause)
				}
				going = going && ctx.Err() == nil
			}
		})
	}
}

// start sends the next request of a region, which was due at a time, for one of its clients.
func (r *runner) start(g *region, client int, due time.Duration, then func(Answer)) {
	g.drawing.Lock()
	op := g.Source.Draw()
	g.drawing.Unlock()
	r.open.Add(1)
	g.record.begin(due, r.now())
	name := kind(&op) // before the operation is the target's
	g.Targets[client%len(g.Targets)].Start(r.Operations, &op, func(a Answer) {
		g.record.end(name, due, r.now(), a)
		then(a)
		r.open.Done()
	})
}

// watch takes stock each second until the run is over.
func (r *runner) watch(over <-chan struct{}) []Second {
	var seconds []Second
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-over:
			return seconds
		case <-ticker.C:
			s := r.second()
			seconds = append(seconds, s)
			if r.Live != nil {
				r.Live(s)
			}
		}
	}
}

func (r *runner) second() Second {
	at := (r.now() - r.Warmup).Round(time.Second / 10)
	s := Second{At: at, Warmup: at <= 0}
	all := newHistogram()
	for _, g := range r.regions {
		g.record.second(all, &s)
	}
	s.Answers = int(all.TotalCount())
	s.P50, s.P99, s.Max = percentile(all, 50), percentile(all, 99), time.Duration(all.Max())*time.Microsecond
	return s
}
