package sim

import (
	"runtime/debug"
	"time"
)

// progressBound is how long after the last fault everything must be finished, in simulated time.
const progressBound = 3 * time.Minute

// Run simulates one cluster. The error, a *Violation, is the first invariant that did not hold.
func Run(options Options) (Report, error) {
	w := newWorld(options)
	w.play()
	w.report.Elapsed, w.report.Trace, w.report.Seeds = w.now, uint64(w.hash), 1
	w.report.Finished, w.report.Lines = w.err == nil, w.lines
	if w.report.Counts() {
		w.report.Counted = 1
	}
	if w.err != nil {
		w.err.Trace = w.lines
		return w.report, w.err
	}
	return w.report, nil
}

// play runs the whole story. A panic is an assertion of the core or the executor: a violation like
// any other.
func (w *world) play() {
	defer func() {
		if why := recover(); why != nil {
			w.violated("integrity", "panic: %v\n%s", why, debug.Stack())
		}
	}()
	for i := range w.members.Voters {
		w.start(i)
	}
	w.startClients()
	w.startWatchers()
	w.scheduleFaults()
	w.runUntil(w.options.Faults)
	w.settle()
}

// settle ends all trouble, waits until all is done, and looks at what is left.
func (w *world) settle() {
	w.heal()
	w.untilDone()
	w.watched = true
	w.rest()
	w.checkEnd()
}

// untilDone lets time pass until all is done.
func (w *world) untilDone() {
	for deadline := w.now + progressBound; w.err == nil && w.unfinished() != ""; {
		w.abandon()
		if w.now > deadline {
			w.violated("progress", "%s", w.unfinished())
		}
		w.runUntil(w.now + 250*time.Millisecond)
	}
}

func newWorld(o Options) *world {
	w := &world{options: o, faults: true, told: map[string][]shown{}}
	w.setup = w.options.draw()
	w.members = w.setup.members
	w.tracef("%v: n=%d f=%d e=%d, %d requests, faults for %v", profileNames[w.setup.profile], w.members.N(),
		w.members.F, w.members.E, w.options.Commands, w.options.Faults)
	w.check.init(w)
	w.network.init(w)
	for i := range w.setup.machines {
		w.hosts = append(w.hosts, w.newHost(i))
		w.check.crashed(i, w.hosts[i].disk)
	}
	w.left = w.options.Commands
	return w
}
