package sim

import (
	"container/heap"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Options choose a run. The zero value of everything but Seed is drawn from the seed.
type Options struct {
	Seed     uint64
	Replicas int           // voters
	Commands int           // requests that clients send
	Faults   time.Duration // how long faults last, in simulated time
	Log      int           // trace lines that an error shows; 0 is 200
}

// Report tells what a run did, so that a generator that has fallen silent is noticed.
type Report struct {
	Trace    uint64 // hash of every trace line
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
	lines   []string
	err     error // the first violation
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

// trace takes one line into the hash, and into the memory of the last ones.
func (w *world) trace(line string) {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %d %s", w.report.Trace, w.now, line)
	w.report.Trace = h.Sum64()
	if len(w.lines) >= 2*w.options.Log {
		w.lines = append(w.lines[:0], w.lines[w.options.Log:]...)
	}
	w.lines = append(w.lines, fmt.Sprintf("%9.1f %s", float64(w.now.Microseconds())/1000, line))
}

// violation ends the run.
func (w *world) violation(format string, args ...any) {
	if w.err != nil {
		return
	}
	from := max(0, len(w.lines)-w.options.Log)
	w.err = fmt.Errorf("seed %d: %s\n%s", w.options.Seed, fmt.Sprintf(format, args...), strings.Join(w.lines[from:], "\n"))
}
