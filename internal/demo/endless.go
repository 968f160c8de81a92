package demo

import (
	"context"
	"encoding/json"
	"runtime"
	"sync/atomic"
	"time"
)

// A run by commands lasts as long as they take, and tells on the way what the cluster needs to remember them.

// allowance is how many operations the clients may still begin. A nil one has no end.
type allowance struct {
	left  atomic.Int64
	taken atomic.Int64
}

// take takes one, if there is one left.
func (a *allowance) take() bool {
	if a == nil {
		return true
	}
	if a.left.Add(-1) < 0 {
		return false
	}
	a.taken.Add(1)
	return true
}

// footprint is one line of progress: what has happened, and what it takes to remember it.
type footprint struct {
	Commands  int64   `json:"commands"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"per_second"` // since the line before
	HeapBytes uint64  `json:"heap_bytes"` // of all replicas and clients, in use after a collection
	DiskBytes uint64  `json:"disk_bytes"` // of the largest data directory
	LogBytes  uint64  `json:"log_bytes"`  // of the longest log
	Fast      float64 `json:"fast"`       // share of the instances so far
}

// steps is how many lines of progress a run by commands prints.
const steps = 10

// accompany prints lines of progress until the clients have ended. It returns when they had.
func (r *run) accompany(ctx context.Context, loops <-chan struct{}) time.Duration {
	total := int64(r.options.Commands)
	step := max(total/steps, 1)
	last := footprint{}
	for next := step; ; {
		select {
		case <-loops:
			end := r.clock()
			if last.Commands < r.allowance.taken.Load() {
				r.tell(&last)
			}
			return end
		case <-ctx.Done():
			return r.clock()
		case <-time.After(100 * time.Millisecond):
		}
		if taken := r.allowance.taken.Load(); taken >= next {
			r.tell(&last)
			for next <= taken {
				next += step
			}
		}
	}
}

// tell prints one line.
func (r *run) tell(last *footprint) {
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	now := footprint{
		Commands: r.allowance.taken.Load(), Seconds: (r.clock() - r.window.start).Seconds(), HeapBytes: memory.HeapAlloc,
	}
	var fast, led uint64
	for _, replica := range r.cluster.Replicas {
		status := replica.StatusNow()
		now.DiskBytes, now.LogBytes = max(now.DiskBytes, status.DiskBytes), max(now.LogBytes, status.LogBytes)
		fast, led = fast+status.Fast, led+status.Fast+status.Slow
	}
	now.Fast = float64(fast) / float64(max(led, 1))
	if took := now.Seconds - last.Seconds; took > 0 {
		now.PerSecond = float64(now.Commands-last.Commands) / took
	}
	*last = now
	if r.options.ProgressJSON {
		line, err := json.Marshal(now)
		if err != nil {
			panic("demo: a line of numbers: " + err.Error())
		}
		r.printf("%s\n", line)
		return
	}
	r.printf("%9d commands %7.1f s %7.0f ops/s  heap %4d MiB  disk %4d MiB  log %4d KiB  fast %5.1f %%\n", now.Commands,
		now.Seconds, now.PerSecond, now.HeapBytes>>20, now.DiskBytes>>20, now.LogBytes>>10, 100*now.Fast)
}
