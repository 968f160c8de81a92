package sim

import (
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Options choose a run. The zero value of everything but Seed is drawn from the seed.
type Options struct {
	Seed     uint64
	Replicas int           // voters
	Commands int           // requests that clients want answered
	Faults   time.Duration // how long faults last, in simulated time
	Keep     []int         // indices of the faults of the plan that are kept; nil keeps all
	Log      bool          // keep the lines of the trace; they change nothing else

	plant  func(*Report) string                      // hears of every fault that happens, and may name a violation
	script func(from, to int, m epaxos.Message) bool // reports whether a message is lost; nil loses none
}

// world is one simulated cluster.
type world struct {
	options   Options
	setup     setup
	now       time.Duration
	events    agenda
	seq       int
	members   epaxos.Membership
	hosts     []*host
	network   network
	faults    bool       // not healed yet
	plan      []int      // indices of the faults that are kept
	weather   []*trouble // faults of the network, now
	doubts    []*trouble // suspicions that faults cause, now
	condemned int        // replicas whose next start will fail
	check     checker
	clients   []*client
	mix       mix
	left      int // requests that no client has begun
	report    Report
	hash      fingerprint
	lines     []string   // only while tracing
	err       *Violation // the first one
}

func (w *world) after(d time.Duration, run func()) {
	w.seq++
	w.events.push(event{at: w.now + d, seq: w.seq, run: run})
}

// runUntil lets time pass, up to an instant or the first violation.
func (w *world) runUntil(end time.Duration) {
	for w.err == nil && len(w.events) > 0 && w.events[0].at <= end {
		e := w.events.pop()
		w.now = e.at
		e.run()
	}
	w.now = max(w.now, end)
}
