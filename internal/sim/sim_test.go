package sim_test

import (
	"bufio"
	_ "embed"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/internal/sim"
)

var (
	runs     = flag.Int("runs", 0, "simulations to run; 0 is 200, or 40 with -short")
	seed     = flag.Uint64("seed", 1, "the first seed")
	jobs     = flag.Int("jobs", 0, "simulations at a time; 0 is one for each processor")
	all      = flag.Bool("trace", false, "with one run: print its whole trace")
	replicas = flag.Int("replicas", 0, "voters; 0 draws them from the seed")
	commands = flag.Int("commands", 0, "requests to answer; 0 draws them from the seed")
	epochs   = flag.String("epochs", "", "whether the membership changes: many or one; drawn from the seed by default")
	keep     = flag.String("keep", "", "indices of the faults of the plan to keep, as 3,7 or none; all by default")
)

//go:embed testdata/seeds.txt
var failedBefore string

// TestMain collects garbage rarely: a run is small, and many are thrown away.
func TestMain(m *testing.M) {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(256 << 20)
	os.Exit(m.Run())
}

// TestSeeds runs simulations and prints what they covered. A failure names its seed, a smaller run that
// fails likewise, and how to see it again.
func TestSeeds(t *testing.T) {
	count := *runs
	if count == 0 {
		count = 200
		if testing.Short() {
			count = 40 // the race detector makes each ten times as long
		}
	}
	if count == 1 {
		one(t)
		return
	}
	s := &soak{first: *seed, count: count, began: time.Now()}
	s.run(t)
	t.Log(s.summary())
	if failed := s.failed; failed != nil {
		t.Fatal(sim.Explain(failed.options, failed.report, failed.err, false))
	}
	if 10*s.total.Counted < 9*s.total.Seeds {
		t.Errorf("only %d of %d runs count: the generator has fallen silent", s.total.Counted, s.total.Seeds)
	}
	for kind, n := range s.total.Faults {
		if n == 0 && s.total.Seeds >= 200 {
			t.Errorf("%v never happens in %d runs", sim.FaultKind(kind), s.total.Seeds) //nolint:gosec // small
		}
	}
}

// one runs one seed as the flags say, for whoever wants to see it.
func one(t *testing.T) {
	options := sim.Options{
		Seed: *seed, Replicas: *replicas, Commands: *commands, Keep: kept(t), Epochs: epochsOf(*epochs), Log: *all,
	}
	report, err := sim.Run(options)
	if err != nil {
		options.Log = false
		t.Fatal(sim.Explain(options, report, err, *all))
	}
	if *all {
		fmt.Println(strings.Join(report.Lines, "\n"))
	}
	t.Logf("seed %d, fingerprint %016x: %v", *seed, report.Trace, report)
}

func epochsOf(word string) sim.Epochs {
	return map[string]sim.Epochs{"many": sim.EpochsMany, "one": sim.EpochsOne}[word]
}

func kept(t *testing.T) []int {
	if *keep == "" {
		return nil
	}
	indices := []int{}
	if *keep == "none" {
		return indices
	}
	for _, text := range strings.Split(*keep, ",") {
		index, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("-keep=%s: %v", *keep, err)
		}
		indices = append(indices, index)
	}
	return indices
}

// outcome is a run that failed.
type outcome struct {
	options sim.Options
	report  sim.Report
	err     error
}

// soak hands seeds to workers until they are used up, one fails or somebody interrupts.
type soak struct {
	first uint64
	count int
	began time.Time

	mu     sync.Mutex
	next   int
	stop   bool
	total  sim.Report
	failed *outcome
}

func (s *soak) run(t *testing.T) {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	progress := time.NewTicker(time.Minute)
	done := make(chan struct{})
	var watcher, workers sync.WaitGroup
	watcher.Go(func() {
		defer signal.Stop(interrupts)
		defer progress.Stop()
		for {
			select {
			case <-interrupts:
				s.mu.Lock()
				s.stop = true
				s.mu.Unlock()
			case <-progress.C:
				fmt.Fprintln(os.Stderr, s.summary())
			case <-done:
				return
			}
		}
	})
	count := *jobs
	if count == 0 {
		count = runtime.GOMAXPROCS(0)
	}
	for range count {
		workers.Go(s.work)
	}
	workers.Wait()
	close(done)
	watcher.Wait()
	if s.stop && s.failed == nil {
		t.Log("interrupted")
	}
}

func (s *soak) work() {
	for {
		s.mu.Lock()
		if s.stop || s.next == s.count {
			s.mu.Unlock()
			return
		}
		options := sim.Options{Seed: s.first + uint64(s.next), Epochs: epochsOf(*epochs)} //nolint:gosec // small
		s.next++
		s.mu.Unlock()
		report, err := sim.Run(options)
		s.mu.Lock()
		s.total.Add(report)
		if err != nil {
			s.stop = true
			if s.failed == nil || options.Seed < s.failed.options.Seed {
				s.failed = &outcome{options, report, err}
			}
		}
		s.mu.Unlock()
	}
}

// summary is the coverage so far, and how fast it came.
func (s *soak) summary() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	took := time.Since(s.began)
	return fmt.Sprintf("seeds from %d: %v\n%.0f seeds/minute, %.0f simulated commands/second, %v of simulated time in %v",
		s.first, s.total, float64(s.total.Seeds)/took.Minutes(), float64(s.total.Answered)/took.Seconds(),
		s.total.Elapsed.Round(time.Second), took.Round(time.Millisecond))
}

// TestFailedBefore runs every seed that ever failed. testdata/seeds.txt tells the story of each.
func TestFailedBefore(t *testing.T) {
	lines := bufio.NewScanner(strings.NewReader(failedBefore))
	for lines.Scan() {
		number, story, _ := strings.Cut(lines.Text(), " ")
		if number == "#" || number == "" {
			continue
		}
		number, many := strings.CutSuffix(number, "e")
		failed, err := strconv.ParseUint(number, 10, 64)
		if err != nil || story == "" {
			t.Fatalf("testdata/seeds.txt: %q is not a seed and its story", lines.Text())
		}
		options := sim.Options{Seed: failed}
		if many {
			options.Epochs = sim.EpochsMany
		}
		if report, err := sim.Run(options); err != nil {
			t.Errorf("%s: %s", story, sim.Explain(options, report, err, false))
		}
	}
}

// TestOneSeedIsOneRun: the same seed gives the same run, byte for byte, with and without a trace.
func TestOneSeedIsOneRun(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		first, err := sim.Run(sim.Options{Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		second, err := sim.Run(sim.Options{Seed: seed, Log: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(second.Lines) == 0 {
			t.Errorf("seed %d has no trace", seed)
		}
		second.Lines = nil
		if fmt.Sprintf("%+v", first) != fmt.Sprintf("%+v", second) {
			t.Errorf("seed %d: %+v, then %+v", seed, first, second)
		}
	}
}

// TestGoldenTraces: the fingerprints of some runs are those in testdata/traces.txt, whatever the machine,
// the number of processors and the race detector. A change of the protocol or of the generator changes
// them; rewrite them with UPDATE_GOLDEN=1.
func TestGoldenTraces(t *testing.T) {
	const path = "testdata/traces.txt"
	var text strings.Builder
	for seed := uint64(101); seed <= 105; seed++ {
		report, err := sim.Run(sim.Options{Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "%d %016x answered %d in %v\n", seed, report.Trace, report.Answered, report.Elapsed)
	}
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil { //nolint:gosec // a golden file
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := text.String(); got != string(want) {
		t.Errorf("these runs are no longer what they were; if that is meant, rewrite %s with UPDATE_GOLDEN=1\n%s\nwant\n%s",
			path, got, want)
	}
}
