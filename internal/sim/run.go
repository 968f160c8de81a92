package sim

import (
	"math/rand/v2"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// progressBound is how long after the last fault everything must be finished, in simulated time.
const progressBound = 3 * time.Minute

// Run simulates one cluster. The error is the first violation, with the seed and the trace before it.
func Run(options Options) (Report, error) {
	w := newWorld(options)
	for i := range w.hosts {
		w.start(i)
	}
	w.startClients()
	w.scheduleFaults()
	w.runUntil(w.options.Faults)
	w.heal()
	for deadline := w.now + progressBound; w.err == nil && w.unfinished() != ""; {
		if w.now > deadline {
			w.violated("progress", "%s", w.unfinished())
		}
		w.runUntil(w.now + 250*time.Millisecond)
	}
	w.checkEnd()
	w.report.Elapsed, w.report.Trace = w.now, uint64(w.hash)
	return w.report, w.err
}

func newWorld(o Options) *world {
	w := &world{options: o, rand: rand.New(rand.NewPCG(o.Seed, 0x5eed)), faults: true} //nolint:gosec // reproducible
	if w.options.Replicas == 0 {
		w.options.Replicas = []int{1, 2, 3, 3, 3, 4, 5, 5, 5, 7}[w.rand.IntN(10)]
	}
	if w.options.Commands == 0 {
		w.options.Commands = 200 + w.rand.IntN(200)
	}
	if w.options.Faults == 0 {
		w.options.Faults = w.between(5*time.Second, 20*time.Second)
	}
	ids := make([]epaxos.ReplicaID, w.options.Replicas)
	for i := range ids {
		ids[i] = epaxos.ReplicaID(i + 1)
	}
	w.members = epaxos.NewMembership(1, ids...)
	// Smaller e is legal everywhere and has recovery rules of its own.
	w.members.E = w.rand.IntN(w.members.E + 1)
	if w.chance(0.6) {
		w.members.E = epaxos.LargestE(w.members.N(), w.members.F)
	}
	w.check.init(w)
	w.network.init(w)
	for i := range ids {
		w.hosts = append(w.hosts, newHost())
		w.check.crashed(i, w.hosts[i].disk)
	}
	w.left = w.options.Commands
	return w
}

// scheduleFaults draws what goes wrong until the world is healed.
func (w *world) scheduleFaults() {
	kinds := []func(){w.crashOne, w.pauseOne, w.cutOne, w.fillOne}
	w.rand.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	kinds = kinds[:w.rand.IntN(len(kinds)+1)]
	if len(kinds) == 0 {
		return
	}
	period := w.between(300*time.Millisecond, 3*time.Second)
	var next func()
	next = func() {
		if !w.faults {
			return
		}
		kinds[w.rand.IntN(len(kinds))]()
		w.after(w.between(period/4, period), next)
	}
	w.after(w.between(0, 2*time.Second), next)
}

func (w *world) crashOne() {
	i := w.rand.IntN(len(w.hosts))
	if w.hosts[i].node != nil {
		w.crash(i, w.chance(0.5))
	}
}

func (w *world) pauseOne() {
	h := w.hosts[w.rand.IntN(len(w.hosts))]
	h.pausedUntil = w.now + w.between(50*time.Millisecond, 4*time.Second)
	w.report.Pauses++
}

func (w *world) cutOne() {
	a, b := w.rand.IntN(len(w.hosts)), w.rand.IntN(len(w.hosts))
	both := w.chance(0.5)
	w.network.cut(a, b, true)
	w.network.cut(b, a, both)
	w.report.Cuts++
	w.after(w.between(200*time.Millisecond, 5*time.Second), func() {
		w.network.cut(a, b, false)
		w.network.cut(b, a, false)
	})
}

func (w *world) fillOne() {
	h := w.hosts[w.rand.IntN(len(w.hosts))]
	h.disk.memory.Full(true)
	w.report.Full++
	w.after(w.between(100*time.Millisecond, 3*time.Second), func() { h.disk.memory.Full(false) })
}

// heal ends all faults and starts what is down.
func (w *world) heal() {
	w.faults = false
	w.note(noteHeal, 0, nil)
	w.network.heal()
	for i, h := range w.hosts {
		h.pausedUntil = 0
		h.disk.memory.Full(false)
		if h.node == nil {
			w.start(i)
		}
	}
}
