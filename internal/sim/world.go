package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Options choose a run. The zero value of everything but Seed is drawn from the seed.
type Options struct {
	Seed     uint64
	Replicas int           // voters
	Commands int           // requests that clients send
	Faults   time.Duration // how long faults last, in simulated time
	Log      bool          // keep the lines of the trace; they change nothing else
}

// Report tells what a run did, so that a generator that has fallen silent is noticed.
type Report struct {
	Trace    uint64 // fingerprint of everything that happened
	Answered int
	Unknown  int // requests whose replica crashed
	Refused  int
	Crashes  int
	Pauses   int
	Cuts     int
	Full     int
	Lost     int // frames
	Stats    epaxos.Stats
	Elapsed  time.Duration // simulated
}

// Add sums two reports.
func (r *Report) Add(o Report) {
	r.Answered += o.Answered
	r.Unknown += o.Unknown
	r.Refused += o.Refused
	r.Crashes += o.Crashes
	r.Pauses += o.Pauses
	r.Cuts += o.Cuts
	r.Full += o.Full
	r.Lost += o.Lost
	r.Elapsed += o.Elapsed
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
}

// String is the coverage line of a run.
func (r Report) String() string {
	s := r.Stats
	return fmt.Sprintf("answered %d, unknown %d, refused %d; fast %d, slow %d, recovered %d, validated %d, waited %d, "+
		"no-op %d, proposed again %d, fetched %d; crashes %d, pauses %d, cuts %d, full disks %d, frames lost %d",
		r.Answered, r.Unknown, r.Refused, s.Fast, s.Slow, s.Recoveries, s.Validations, s.Waits,
		s.NoOps, s.Reproposed, s.Fetched, r.Crashes, r.Pauses, r.Cuts, r.Full, r.Lost)
}

// world is one simulated cluster.
type world struct {
	options Options
	rand    *rand.Rand
	now     time.Duration
	events  events
	seq     int
	members epaxos.Membership
	hosts   []*host
	network network
	faults  bool // not healed yet
	check   checker
	clients []*client
	left    int // requests that no client has begun
	report  Report
	hash    fingerprint
	lines   []string // only while tracing
	err     error    // the first violation
}

type event struct {
	at  time.Duration
	seq int
	run func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }

// Push implements heap.Interface.
func (e *events) Push(x any) { *e = append(*e, x.(event)) }

// Pop implements heap.Interface.
func (e *events) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}

func (w *world) after(d time.Duration, run func()) {
	w.seq++
	heap.Push(&w.events, event{at: w.now + d, seq: w.seq, run: run})
}

// runUntil lets time pass, up to an instant or the first violation.
func (w *world) runUntil(end time.Duration) {
	for w.err == nil && len(w.events) > 0 && w.events[0].at <= end {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.run()
	}
	w.now = max(w.now, end)
}

func (w *world) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.rand.Int64N(int64(most-least)+1))
}

func (w *world) chance(p float64) bool { return w.rand.Float64() < p }
