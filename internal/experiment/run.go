package experiment

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// Run plays all runs of an experiment, several at a time, and shows and writes what came out. What it writes into
// Out depends on nothing but the options, run.json apart.
func Run(ctx context.Context, o Options) (Report, error) {
	points, err := o.plan()
	if err != nil {
		return Report{}, err
	}
	began := time.Now()
	report, results, err := o.play(ctx, points)
	if err != nil {
		return Report{}, err
	}
	report.print(o.Terminal)
	if o.Out == "" {
		return report, nil
	}
	return report, o.Write(report, results, time.Since(began))
}

func (o *Options) play(ctx context.Context, points []Point) (Report, []Result, error) {
	if o.Both {
		return o.both(ctx, points)
	}
	results, err := o.runAll(ctx, points)
	if err != nil {
		return Report{}, nil, err
	}
	return find(o.Name).show(o, results), results, nil
}

// Validate reports why the experiment cannot be run, or nil.
func (o *Options) Validate() error {
	_, err := o.plan()
	return err
}

// plan lists the runs.
func (o *Options) plan() ([]Point, error) {
	e := find(o.Name)
	if e == nil {
		return nil, fmt.Errorf("experiment %q is unknown: take one of %v", o.Name, Names())
	}
	points, err := e.points(o)
	if err != nil {
		return nil, err
	}
	if len(points) == 0 {
		return nil, errors.New("nothing to run: name at least one conflict rate or exponent")
	}
	for i := range points {
		if err := points[i].validate(); err != nil {
			return nil, err
		}
	}
	return o.repeat(points), nil
}

// Runner plays one point.
type Runner func(context.Context, Point) (Result, error)

// virtual is the Runner of virtual time.
func virtual(ctx context.Context, p Point) (Result, error) {
	m, err := run(ctx, p)
	if err != nil {
		return Result{}, err
	}
	return m.Summary(), nil
}

// runAll keeps the order of the points, whoever ends first.
func (o *Options) runAll(ctx context.Context, points []Point) ([]Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	workers := o.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	play := o.Real
	if play == nil {
		play = virtual
	} else {
		workers = 1 // runs that share processors would measure each other
	}
	results := make([]Result, len(points))
	next := make(chan int)
	var wait sync.WaitGroup
	progress := newProgress(o.Progress, len(points))
	var mu sync.Mutex
	var failed error
	for range min(workers, len(points)) {
		wait.Go(func() {
			for i := range next {
				result, err := play(ctx, points[i])
				mu.Lock()
				if err == nil {
					results[i] = result
					progress.step(&points[i])
				} else if failed == nil {
					failed = fmt.Errorf("run %d of %d, %s with %d replicas: %w",
						i+1, len(points), points[i].Protocol.Name, points[i].Replicas, err)
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	for i := range points {
		next <- i
	}
	close(next)
	wait.Wait()
	progress.end()
	return results, failed
}
