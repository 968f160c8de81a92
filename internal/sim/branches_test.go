package sim

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

var branchRuns = flag.Int("branches", 0, "runs over which TestEveryBranchIsTaken prints how often each was taken")

// untaken are the branches that no simulation takes, and why.
var untaken = map[string]string{
	"S8 own slot forgotten": "the node stops before it proposes, unless it hears of the slot in the same turn; " +
		"a script of the core takes it",
	"K6 forgotten elsewhere, lost here":     "it takes a disk that has lost what the replica told; watermark_test.go",
	"order: X1 decision before its command": "the core tells a command before its decision; tests of the graph take it",
}

// TestEveryBranchIsTaken: a branch of recovery, validation or execution that no simulation takes any more
// is one that this package proves nothing about. Seeds take most; schedules take those that chance seldom
// does.
func TestEveryBranchIsTaken(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes as many seeds as it takes")
	}
	var total Report
	if *branchRuns == 0 {
		for _, schedule := range append(schedules, longGapSchedule) {
			total.Add(schedule.play(t, 0).finish(t))
		}
	}
	missing := func() []string {
		return slices.DeleteFunc(total.NeverTaken(), func(name string) bool { return untaken[name] != "" })
	}
	for seed := uint64(1); seed <= 400 && len(missing()) > 0 || seed <= uint64(*branchRuns); seed++ { //nolint:gosec // small
		report, err := Run(Options{Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		total.Add(report)
	}
	if *branchRuns > 0 {
		t.Logf("%d runs:\n%s", total.Seeds, total.Branches())
		return
	}
	for _, name := range missing() {
		t.Errorf("never taken in %d runs: %s", total.Seeds, name)
	}
	for name := range untaken {
		if !slices.Contains(total.NeverTaken(), name) {
			t.Errorf("taken after all: %s", name)
		}
	}
}

var longGapSchedule = schedule{"long gap", longGap, []epaxos.Branch{epaxos.BranchCatchUp}}

func TestLongGap(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a thousand instances")
	}
	longGap(t, 0).finish(t, longGapSchedule.branches...)
}

// longGap: a replica hears nothing while others decide more than one Fetch may ask for.
func longGap(t *testing.T, number int) *stage {
	s := newStage(t, 2, number)
	s.lost = func(_, to int, _ epaxos.Message) bool { return to == 4 }
	c := s.newClient(stream(s.options.Seed, streamWork, 0))
	c.rush = &trouble{} // it goes by itself
	for i := 0; s.hosts[0].core.Tops()[0] < 1100 && s.err == nil; s.runUntil(s.now + 50*time.Millisecond) {
		for range 40 {
			i++
			key := fmt.Appendf(nil, "k%d", i)
			if i%3 == 0 {
				key = []byte("hot") // of which many are pending at once in the end
			}
			c.ask(0, wire.Op{Kind: wire.OpPut, Key: key, Value: c.value()})
			s.turn(0)
		}
	}
	return s
}
