package sim_test

import (
	"flag"
	"testing"

	"github.com/264bc8cf/epaxos/internal/sim"
)

var (
	runs = flag.Int("runs", 0, "simulations to run; 0 is 200, or 40 with -short")
	seed = flag.Uint64("seed", 1, "the first seed")
	all  = flag.Bool("trace", false, "with one run: print its whole trace")
)

// TestSeeds runs simulations and prints what they covered. A failure names its seed.
func TestSeeds(t *testing.T) {
	if *runs == 0 {
		*runs = 200
		if testing.Short() {
			*runs = 40 // the race detector makes each ten times as long
		}
	}
	var total sim.Report
	for i := range *runs {
		options := sim.Options{Seed: *seed + uint64(i)}
		options.Log = *all && *runs == 1
		report, err := sim.Run(options)
		if err != nil {
			t.Fatal(err)
		}
		total.Add(report)
	}
	t.Logf("%d seeds from %d: %v", *runs, *seed, total)
}

// TestOneSeedIsOneRun: the same seed gives the same run, line by line.
func TestOneSeedIsOneRun(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		first, err := sim.Run(sim.Options{Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		second, err := sim.Run(sim.Options{Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		if first != second {
			t.Errorf("seed %d: %+v, then %+v", seed, first, second)
		}
	}
}
