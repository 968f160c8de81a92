package experiment

import (
	"context"
	"math"
	"testing"
	"time"
)

// TestPrediction: what plan reckons is what a run measures, with and without conflicts.
func TestPrediction(t *testing.T) {
	if raceDetector {
		t.Skip("a run is one thread")
	}
	o, err := Defaults("plan")
	if err != nil {
		t.Fatal(err)
	}
	o.RTT, o.Duration = "sosp13", 15*time.Second
	for _, c := range []struct{ conflict, within50, within99 float64 }{{0, 0.05, 0.1}, {10, 0.05, 0.35}} {
		p, err := o.base(3)
		if err != nil {
			t.Fatal(err)
		}
		protocols, err := ParseProtocols("epaxos", 3)
		if err != nil {
			t.Fatal(err)
		}
		p.Protocol, p.Workload.Conflict = protocols[0], c.conflict
		m, err := run(context.Background(), p)
		if err != nil {
			t.Fatal(err)
		}
		r, predicted := m.Summary(), predict(p)
		for i := range r.Regions {
			got := r.Regions[i].Execution
			off50, off99 := math.Abs(predicted.p50[i]/got.P50-1), math.Abs(predicted.p99[i]/got.P99-1)
			if off50 > c.within50 || off99 > c.within99 {
				t.Errorf("%s at %g %%: predicted %.1f and %.1f, measured %.1f and %.1f", r.Regions[i].Site, c.conflict,
					predicted.p50[i], predicted.p99[i], got.P50, got.P99)
			}
		}
	}
}
