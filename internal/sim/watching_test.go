package sim_test

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/internal/sim"
)

var reconnects = flag.Int("reconnects", 0, "how many reconnects of watchers TestWatching sees; 0 is 2500, or 300 with -short")

// TestWatching: watchers go from replica to replica, lose answers or parts of them, and find crashed replicas, short
// journals and new epochs. Each is told of each change once, in the order of its key, or told to look anew; and then of
// what all its keys hold as of one point.
func TestWatching(t *testing.T) {
	began, printed := time.Now(), time.Now()
	wanted := atLeast(*reconnects, 2500)
	var total sim.Report
	told := func() string {
		return fmt.Sprintf("%d reconnects of %d watches in %d clusters: %d events, %d times to look anew; %d crashes, "+
			"%d frames lost, %d epochs ended, %d states taken over; %v of simulated time, %v, %v of processor",
			total.Reconnects, total.Watches, total.Seeds, total.Events, total.Resyncs, total.Crashes, total.Lost, total.Epochs,
			total.Installed, total.Elapsed.Round(time.Second), time.Since(began).Round(time.Second), processor())
	}
	for at := *seed; total.Reconnects < wanted; at++ {
		options := sim.Options{
			Seed: at, Replicas: *replicas, Commands: *commands, Keep: kept(t), Epochs: epochsOf(*epochs), Watching: true,
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
	if wanted > 1000 && (total.Events < total.Reconnects/2 || total.Resyncs == 0 || total.Resyncs > total.Reconnects/2) {
		t.Errorf("it shows too little")
	}
}
