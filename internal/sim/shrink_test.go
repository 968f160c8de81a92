package sim

import (
	"errors"
	"strings"
	"sync"
	"testing"
)

// planted is a run that fails once two kinds of fault have happened and some requests are answered.
func planted(seed uint64) Options {
	return Options{Seed: seed, Epochs: EpochsOne, plant: func(r *Report) string {
		if r.Faults[Loss] > 0 && r.Faults[Pause] > 0 && r.Answered >= 10 {
			return "instance 1.3 is wrong"
		}
		return ""
	}}
}

// failing is a seed whose plan lets the planted violation happen among many other faults.
var failing = sync.OnceValues(func() (Options, Report) {
	for seed := uint64(1); ; seed++ {
		o := planted(seed)
		if report, err := Run(o); err != nil && len(everyFault(o)) >= 12 {
			return o, report
		}
	}
})

func plantedSeed(t *testing.T) (Options, Report, *Violation) {
	t.Helper()
	options, report := failing()
	_, err := Run(options)
	var found *Violation
	if !errors.As(err, &found) {
		t.Fatalf("seed %d failed once: now %v", options.Seed, err)
	}
	return options, report, found
}

// TestShrink: what is left of a planted failure is the two faults that it takes, few requests and few
// replicas.
func TestShrink(t *testing.T) {
	options, _, found := plantedSeed(t)
	small := Shrink(options, found, 300)
	if len(small.Options.Keep) != 2 {
		t.Errorf("faults %v are left of %d, want 2", small.Options.Keep, len(everyFault(options)))
	}
	if small.Options.Commands > 30 || small.Options.Replicas > 2 {
		t.Errorf("%d requests and %d replicas are left", small.Options.Commands, small.Options.Replicas)
	}
	if small.Found.Invariant != "planted" {
		t.Errorf("the smaller run violates %s", small.Found.Invariant)
	}
}

// TestShrinkStops: attempts are bounded, and what was found so far still fails.
func TestShrinkStops(t *testing.T) {
	options, _, found := plantedSeed(t)
	small := Shrink(options, found, 5)
	if small.Attempts > 5 {
		t.Errorf("%d attempts", small.Attempts)
	}
	if _, err := Run(small.Options); err == nil {
		t.Errorf("%+v does not fail", small.Options)
	}
}

// TestExplain: a failure names the invariant and the replay, and its trace is short and to the point.
func TestExplain(t *testing.T) {
	options, report, found := plantedSeed(t)
	text := Explain(options, report, found, false)
	t.Log(text)
	for _, part := range []string{"violation of planted: ", "-args -runs=1 -seed=", "-keep=", "-replicas=", "fault ", " 1.3 "} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
	if whole := Explain(options, report, found, true); len(whole) < 2*len(text) {
		t.Errorf("the whole trace has %d bytes, the useful part %d", len(whole), len(text))
	}
}

// TestExplainTellsChance: a failure that does not come again is a failure of determinism.
func TestExplainTellsChance(t *testing.T) {
	options, report, found := plantedSeed(t)
	options.plant = nil
	if text := Explain(options, report, found, false); !strings.Contains(text, "not deterministic") {
		t.Errorf("a run that fails by chance is explained as:\n%s", text)
	}
}
