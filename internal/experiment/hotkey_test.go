package experiment

import (
	"context"
	"math"
	"testing"
	"time"
)

// TestHotKey: adds of all regions to one key are as quick as to keys of their own; puts to one key are not, and then no
// component exceeds what the windows allow, and requests that wait go together.
func TestHotKey(t *testing.T) {
	if raceDetector {
		t.Skip("a run is one thread")
	}
	o, err := Defaults("hot-key")
	if err != nil {
		t.Fatal(err)
	}
	o.Protocols, o.Load, o.Warmup, o.Duration = "epaxos", "closed:20", time.Second, 2*time.Second
	points, err := hotPoints(&o)
	if err != nil {
		t.Fatal(err)
	}
	results := map[string]Result{}
	for _, p := range points {
		if p.Experiment == hotStream {
			continue
		}
		m, err := run(context.Background(), p)
		if err != nil {
			t.Fatal(err)
		}
		r := m.Summary()
		results[p.Experiment+", "+hotTuning(&r)] = r
		if window := p.Tuning.Window; window > 0 && window < unlimited && *r.Largest > window*p.Replicas {
			t.Errorf("%s: a component of %d with %d commands in flight", hotTuning(&r), *r.Largest, window)
		}
	}
	apart, adds := results[hotAddsApart+", as it ships"], results[hotAdds+", as it ships"]
	if *adds.FastShare < 0.99 || math.Abs(adds.Execution.P50/apart.Execution.P50-1) > 0.1 {
		t.Errorf("adds to one key: %.3f on the fast path, median %.1f ms for %.1f apart", *adds.FastShare,
			adds.Execution.P50, apart.Execution.P50)
	}
	ships, single := results[hotPuts+", as it ships"], results[hotPuts+", 1 in flight, one by one"]
	if ships.Throughput < 5*single.Throughput || *ships.FastShare > 0.5 {
		t.Errorf("puts to one key: %.1f a second, %.1f one by one, %.3f on the fast path", ships.Throughput,
			single.Throughput, *ships.FastShare)
	}
}
