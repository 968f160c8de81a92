package sim_test

import (
	"flag"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/internal/sim"
)

var increments = flag.Int("increments", 0, "how many increments TestCounting counts; 0 is 2500, or 300 with -short")

// TestCounting: clients in five regions count in sessions, ordinary increments and ones that commute, while replicas are
// killed, messages are lost, and clients ask elsewhere and restart. In the end each counter is what was acknowledged
// and what was unknown and found to be applied, exactly.
func TestCounting(t *testing.T) {
	began, printed := time.Now(), time.Now()
	wanted := atLeast(*increments, 2500)
	var total sim.Report
	done := func() int { return total.Tally.Acknowledged + total.Tally.Resolved }
	told := func() string {
		tally := total.Tally
		return fmt.Sprintf("%d increments in %d clusters: %d acknowledged, %d resolved as applied, %d as not applied, "+
			"%d unresolved; %d commute; %d further answers to copies, %d crashes of replicas, %d restarts of clients, "+
			"%d frames lost; %v of simulated time, %v, %v of processor", done(), total.Seeds, tally.Acknowledged,
			tally.Resolved, tally.Refuted, tally.Unresolved, tally.Commuting, total.Repeated, total.Crashes, total.Restarts,
			total.Lost, total.Elapsed.Round(time.Second), time.Since(began).Round(time.Second), processor())
	}
	for at := *seed; done() < wanted; at++ {
		options := sim.Options{
			Seed: at, Replicas: *replicas, Commands: *commands, Keep: kept(t), Epochs: epochsOf(*epochs), Counting: true,
		}
		report, err := sim.Run(options)
		if err != nil {
			t.Fatal(sim.Explain(options, report, err, false))
		}
		total.Add(report)
		if time.Since(printed) > time.Minute {
			printed = time.Now()
			fmt.Fprintln(os.Stderr, told())
		}
	}
	t.Log(told())
	tally := total.Tally
	if wanted > 1000 && (tally.Resolved == 0 || tally.Refuted == 0 || tally.Commuting == 0 || total.Restarts == 0 || total.Repeated == 0) {
		t.Errorf("it shows too little")
	}
}

// atLeast is how much a test has to do: what a flag says, or else as much as suits a test, or the race detector.
func atLeast(said, usual int) int {
	switch {
	case said > 0:
		return said
	case testing.Short():
		return usual / 8
	default:
		return usual
	}
}

// processor is the processor time of this process.
func processor() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return (time.Duration(usage.Utime.Nano()) + time.Duration(usage.Stime.Nano())).Round(time.Second)
}
