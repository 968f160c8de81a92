package sim

import (
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Options choose a run. The zero value of everything but Seed is drawn from the seed.
type Options struct {
	Seed     uint64
	Replicas int           // voters
	Commands int           // requests that clients want answered
	Faults   time.Duration // how long faults last, in simulated time
	Keep     []int         // indices of the faults of the plan that are kept; nil keeps all
	Epochs   Epochs        // whether the membership changes
	Watching bool          // many watchers, who move among the replicas at each question
	Counting bool          // clients in five regions do nothing but count
	Log      bool          // keep the lines of the trace; they change nothing else

	other  *other                                    // instead of EPaxos*; nil is none
	plant  func(*Report) string                      // hears of every fault that happens, and may name a violation
	script func(from, to int, m epaxos.Message) bool // reports whether a message is lost; nil loses none
}

// Epochs says whether the membership of a run changes.
type Epochs uint8

// The choices.
const (
	EpochsDrawn Epochs = iota // in about a third of the seeds
	EpochsMany
	EpochsOne
)

// world is one simulated cluster.
type world struct {
	options  Options
	setup    setup
	now      time.Duration
	events   agenda
	seq      int
	members  epaxos.Membership // of the first epoch
	hosts    []*host           // those of the first epoch, and machines that may join
	asked    []wire.Members    // of all Reconfigures that anybody asked for
	network  network
	faults   bool       // not healed yet
	plan     []int      // indices of the faults that are kept
	weather  []*trouble // faults of the network, now
	doubts   []*trouble // suspicions that faults cause, now
	ambushes []*trouble // that wait for the moments between two epochs
	healed   time.Duration
	check    checker
	clients  []*client
	mix      mix
	watchers []*watcher
	watched  bool               // nobody watches any more
	left     int                // requests that no client has begun
	told     map[string][]shown // by key, what was told to clients
	report   Report
	hash     fingerprint
	lines    []string   // only while tracing
	err      *Violation // the first one
	found    *Violation // of those that one answer shows, the one to be told
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
