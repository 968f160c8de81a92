package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
)

// Report tells what a run did, so that a generator that has fallen silent is noticed.
type Report struct {
	Trace      uint64 // fingerprint of everything that happened
	Seeds      int
	Counted    int // runs that count, see Counts
	Answered   int
	Unknown    int // requests whose replica crashed
	Refused    int
	OfSession  int // reads with a token
	Stale      int // stale reads
	Named      int // answered requests of sessions
	Repeated   int // answers to copies that nobody waited for
	Settled    int // requests that were given up, and found to be applied
	Never      int // requests that were found not to be applied
	Restarts   int // of clients
	Barriers   int // answered
	Tally      Tally
	Watches    int // that were begun
	Reconnects int // of watchers
	Resyncs    int // that watchers were told to make
	Events     int // that they were told
	Crashes    int
	Gone       int             // replicas that did not come back
	Lost       int             // frames
	Epochs     int             // that were ended
	Installed  int             // states that were taken over
	Strangers  int             // hellos between replicas that do not know each other
	Void       int             // requests that an epoch left behind
	Left       int             // replicas that were removed and went
	Superseded int             // Reconfigures that were refused
	Dropped    int             // groups of logs that were deleted
	Faults     [faultKinds]int // faults that did something
	Finished   bool            // everything was healed, and then all was done and agreed
	Stats      epaxos.Stats
	Order      execution.Branches
	Elapsed    time.Duration // simulated
	Lines      []string      // the trace, with Options.Log
}

// A run counts if it had work, trouble and an end. Anything less proves little.
const (
	countedAnswers = 200
	countedKinds   = 3
)

// Counts reports whether a run had what it takes to prove something.
func (r *Report) Counts() bool {
	kinds := 0
	for kind, n := range r.Faults {
		if n > 0 && FaultKind(kind) != Rush { //nolint:gosec // small
			kinds++
		}
	}
	return r.Answered >= countedAnswers && kinds >= countedKinds && r.Finished
}

// Add sums two reports.
func (r *Report) Add(o Report) {
	r.Seeds += o.Seeds
	r.Counted += o.Counted
	r.Answered += o.Answered
	r.Unknown += o.Unknown
	r.Refused += o.Refused
	r.OfSession += o.OfSession
	r.Stale += o.Stale
	r.Named += o.Named
	r.Repeated += o.Repeated
	r.Settled += o.Settled
	r.Never += o.Never
	r.Restarts += o.Restarts
	r.Barriers += o.Barriers
	r.Tally.add(o.Tally)
	r.Watches += o.Watches
	r.Reconnects += o.Reconnects
	r.Resyncs += o.Resyncs
	r.Events += o.Events
	r.Crashes += o.Crashes
	r.Gone += o.Gone
	r.Lost += o.Lost
	r.Dropped += o.Dropped
	r.Epochs += o.Epochs
	r.Installed += o.Installed
	r.Strangers += o.Strangers
	r.Void += o.Void
	r.Left += o.Left
	r.Superseded += o.Superseded
	for kind, n := range o.Faults {
		r.Faults[kind] += n
	}
	r.Elapsed += o.Elapsed
	r.Order.Add(&o.Order)
	addStats(&r.Stats, o.Stats)
}

func addStats(t *epaxos.Stats, s epaxos.Stats) {
	t.Led += s.Led
	t.Fast += s.Fast
	t.Slow += s.Slow
	t.Recoveries += s.Recoveries
	t.Validations += s.Validations
	t.Waits += s.Waits
	t.NoOps += s.NoOps
	t.Reproposed += s.Reproposed
	t.Refusals += s.Refusals
	t.Malformed += s.Malformed
	t.Fetched += s.Fetched
	t.Forgotten += s.Forgotten
	t.Branches.Add(&s.Branches)
}

// String is the coverage line of runs.
func (r Report) String() string {
	s := r.Stats
	text := fmt.Sprintf("%d of %d runs count; answered %d, unknown %d, refused %d; of sessions %d, "+
		"again %d, settled %d, never %d, clients restarted %d, reads by token %d, stale %d; increments %d; "+
		"barriers %d, watches %d, reconnects %d, resyncs %d, events %d; "+
		"fast %d, slow %d, recovered %d, validated %d, waited %d, no-op %d, proposed again %d, fetched %d; "+
		"crashes %d, gone for good %d, frames lost %d; forgotten %d, groups deleted %d; epochs ended %d, "+
		"states taken over %d, strangers %d, void %d, superseded %d, left %d; faults",
		r.Counted, r.Seeds, r.Answered, r.Unknown, r.Refused, r.Named, r.Repeated, r.Settled, r.Never, r.Restarts,
		r.OfSession, r.Stale, r.Tally.Acknowledged+r.Tally.Resolved, r.Barriers,
		r.Watches, r.Reconnects, r.Resyncs, r.Events,
		s.Fast, s.Slow, s.Recoveries, s.Validations, s.Waits, s.NoOps, s.Reproposed, s.Fetched, r.Crashes, r.Gone, r.Lost,
		s.Forgotten, r.Dropped, r.Epochs, r.Installed, r.Strangers, r.Void, r.Superseded, r.Left)
	var kinds []string
	for kind, n := range r.Faults {
		kinds = append(kinds, fmt.Sprintf("%v %d", FaultKind(kind), n)) //nolint:gosec // small
	}
	return fmt.Sprintf("%s %s; %v of the protocol, %v of the order", text, strings.Join(kinds, ", "), s.Branches, r.Order)
}
