package sim

import (
	"slices"
	"time"
)

// trouble is a fault of the plan on its way.
type trouble struct {
	Fault
	index  int
	hit    bool   // it did something
	skip   int    // chances it lets pass
	struck uint64 // hosts, of an ambush
}

// scheduleFaults puts the plan, as far as it is kept, on the agenda.
func (w *world) scheduleFaults() {
	plan := drawPlan(w.options, &w.setup)
	for i, f := range plan {
		if w.options.Keep != nil && !slices.Contains(w.options.Keep, i) {
			continue
		}
		w.plan = append(w.plan, i)
		t := &trouble{Fault: f, index: i, skip: int(f.Level * 6)}
		if f.Kind == CrashAnswered {
			t.skip /= 3 // there are few fast commits where requests meet
		}
		w.after(f.At, func() { w.begin(t) })
	}
}

// happened counts a fault the first time that it does something.
func (w *world) happened(t *trouble) {
	if t.hit {
		return
	}
	t.hit = true
	w.report.Faults[t.Kind]++
	w.note(noteFault, t.index, nil)
	w.tracef("fault %d: %v", t.index, t.Fault)
	if w.options.plant != nil {
		if why := w.options.plant(&w.report); why != "" {
			w.violated("planted", "%s", why)
		}
	}
}

// patience is how long a fault lies in wait for its moment.
const patience = 2 * time.Second

// begin starts a fault, and puts its end on the agenda.
func (w *world) begin(t *trouble) {
	if !w.faults {
		return
	}
	w.strike(t)
	lasts := t.For
	if t.mortal() {
		lasts += patience // its For is how long the replica is away once it has died
	}
	w.after(lasts, func() {
		if w.faults {
			w.cease(t)
		}
	})
}

func (w *world) strike(t *trouble) {
	h := w.hosts[t.A]
	switch t.Kind {
	case Crash, CrashAgain, CrashForever, BitFlip:
		w.kill(t)
	case CrashBeforeSave, CrashUnsynced, CrashSaved, CrashBetween, CrashAnswered, FailedWrite, FailedSync:
		if h.armed == nil { // one that lies in wait keeps its place
			h.armed = t
		}
	case CrashSwitch, CrashInstall, CrashSource:
		t.skip = int(t.Level * 3)
		w.ambushes = append(w.ambushes, t)
	case AddVoter, AddLearner, Promote, Remove, Replace, Requorum, Race, Row:
		w.change(t)
	case Evict:
		w.change(t)
		w.weather = append(w.weather, t)
	case CrashAll:
		w.crashAll(t)
	case Wipe:
		w.wipe(t)
	case FullDisk:
		h.full = t
		h.disk.memory.Full(true)
	case SlowSync:
		h.slowSync = t
	case Pause:
		if h.node != nil {
			h.pausedUntil = w.now + t.For
			w.happened(t)
		}
	case SlowReplica:
		h.slow = t
	case ClockJump, ClockRate:
		w.bend(t)
	case WrongSuspicion, TwinSuspicion:
		w.doubts = append(w.doubts, t)
	case Rush:
		w.rush(t)
	default:
		w.weather = append(w.weather, t)
	}
}

// kill crashes a replica at any moment.
func (w *world) kill(t *trouble) {
	h := w.hosts[t.A]
	mortal := t.Kind == CrashForever || t.Kind == BitFlip
	if h.node == nil || mortal && !w.mayLose(t.A) {
		return
	}
	switch t.Kind {
	case CrashForever:
		w.crash(t.A, death{back: -1})
		w.bury(t.A, "its machine is lost")
		w.happened(t)
	case BitFlip:
		w.flip(t)
	case CrashAgain:
		h.again = t
		w.crash(t.A, death{back: t.For})
	default:
		w.crash(t.A, death{back: t.For})
		w.happened(t)
	}
}

// flip changes a saved group while the replica is down. Its start has to notice.
func (w *world) flip(t *trouble) {
	h := w.hosts[t.A]
	usage := h.disk.memory.Usage()
	if usage.GroupLast < usage.GroupFirst || usage.GroupLast == 0 {
		return
	}
	w.crash(t.A, death{back: t.For})
	h.flipped = t
	groups := usage.GroupLast - usage.GroupFirst + 1
	h.disk.memory.Corrupt(usage.GroupFirst + uint64(t.Level*float64(groups)))
}

// cease ends a fault.
func (w *world) cease(t *trouble) {
	h := w.hosts[t.A]
	switch t.Kind {
	case FullDisk:
		if h.full == t {
			h.full = nil
			h.disk.memory.Full(false)
		}
	case ClockRate:
		h.clock.turn(w.now, 1)
	}
	for _, slot := range []**trouble{&h.armed, &h.slowSync, &h.slow} {
		if *slot == t {
			*slot = nil
		}
	}
	gone := func(other *trouble) bool { return other == t }
	w.weather = slices.DeleteFunc(w.weather, gone)
	w.doubts = slices.DeleteFunc(w.doubts, gone)
	w.ambushes = slices.DeleteFunc(w.ambushes, gone)
}

// heal ends all faults and starts what is down and can come back.
func (w *world) heal() {
	w.faults, w.healed = false, w.now
	w.note(noteHeal, 0, nil)
	w.tracef("healed")
	w.weather, w.doubts, w.ambushes = nil, nil, nil
	for i, h := range w.hosts {
		h.pausedUntil, h.armed, h.slow, h.slowSync, h.full = 0, nil, nil, nil, nil
		h.clock.turn(w.now, 1)
		h.disk.memory.Full(false)
		if h.node == nil && !h.gone && h.life > 0 {
			w.start(i)
		}
	}
}

// doubted reports whether a fault makes a host take another, which lives, for dead.
func (w *world) doubted(host, other int) bool {
	doubted := false
	for _, t := range w.doubts {
		switch {
		case t.Kind == WrongSuspicion && (host != t.A || other != t.B):
		case t.Kind == TwinSuspicion && (other != t.A && other != t.B || t.Set>>host&1 == 0):
		default:
			doubted = true
			if w.hosts[other].node != nil {
				w.happened(t)
			}
		}
	}
	return doubted
}

// bend changes a replica's clock. It never goes back: a server reads a monotonic one.
func (w *world) bend(t *trouble) {
	h := w.hosts[t.A]
	if h.node == nil {
		return
	}
	w.happened(t)
	if t.Kind == ClockJump {
		h.clock.read += time.Duration(t.Level * t.Level * float64(5*time.Minute))
		return
	}
	h.clock.turn(w.now, 0.5+1.5*t.Level)
}

// clock is a replica's own time, since it started.
type clock struct {
	read  time.Duration // what it showed at the instant since
	since time.Duration
	rate  float64
}

func (c *clock) now(now time.Duration) time.Duration {
	return c.read + time.Duration(float64(now-c.since)*c.rate)
}

// turn makes it go at another rate from now on.
func (c *clock) turn(now time.Duration, rate float64) {
	c.read, c.since, c.rate = c.now(now), now, rate
}
