package sim

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/264bc8cf/epaxos/deps"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// host is a replica through all its lives.
type host struct {
	disk        *disk
	node        *node.Node // nil while it is down
	life        int
	core        *epaxos.Replica
	pausedUntil time.Duration
	heard       []time.Duration // by column, when it last heard of a peer
	calls       map[epaxos.ProposalID]*operation
}

func newHost() *host { return &host{disk: newDisk(storage.NewMemory(storage.MemoryOptions{}))} }

const (
	suspectAfter  = time.Second
	helloInterval = 300 * time.Millisecond
)

// start begins a life of a replica on what its disk holds.
func (w *world) start(i int) {
	h := w.hosts[i]
	id := w.members.Voters[i]
	h.life++
	h.calls = map[epaxos.ProposalID]*operation{}
	h.heard = make([]time.Duration, len(w.hosts))
	for j := range h.heard {
		h.heard[j] = w.now
	}
	limits := epaxos.DefaultLimits()
	limits.InFlight, limits.InFlightPerKey = 1+w.rand.IntN(40), 1+w.rand.IntN(3)
	limits.Queue, limits.Gather, limits.Pack = 1+w.rand.IntN(100), 1+w.rand.IntN(8), 1+w.rand.IntN(8)
	core, err := epaxos.New(epaxos.Config{
		ID: id, Membership: w.members, Index: deps.New(w.members.N()),
		Rand:   rand.New(rand.NewPCG(w.rand.Uint64(), 1)), //nolint:gosec // reproducible
		Limits: limits, Timing: epaxos.DefaultTiming(),
	})
	if err != nil {
		w.violated("integrity", "start r%d: %v", id, err)
		return
	}
	h.core = core
	order := &watchedOrder{Graph: execution.NewGraph(w.members), w: w, host: i}
	members := make([]node.Member, len(w.hosts))
	for j := range members {
		members[j] = node.Member{Replica: w.members.Voters[j], Incarnation: uint64(1000 + j)}
	}
	h.node, err = node.New(node.Config{
		ID: id, Cluster: [16]byte{1}, Membership: w.members, Members: members, Core: core, Orderer: order,
		Store: h.disk, Machine: &watchedMachine{order: order}, WriteBack: 100 * time.Millisecond, Trace: w.tracer(),
	})
	if err != nil {
		w.violated("integrity", "start r%d: %v", id, err)
		return
	}
	w.tick(i, h.life)
	w.greet(i, h.life)
}

// awake reports whether a life of a host takes inputs now; a paused one takes them later.
func (w *world) awake(i, life int, later func()) bool {
	h := w.hosts[i]
	if h.node == nil || h.life != life {
		return false
	}
	if h.pausedUntil > w.now {
		w.after(h.pausedUntil-w.now, later)
		return false
	}
	return true
}

func (w *world) tick(i, life int) {
	w.after(w.between(8*time.Millisecond, 30*time.Millisecond), func() { w.ticked(i, life) })
}

func (w *world) ticked(i, life int) {
	h := w.hosts[i]
	if !w.awake(i, life, func() { w.ticked(i, life) }) {
		return
	}
	for j, id := range w.members.Voters {
		if j != i {
			h.node.Suspect(w.now, id, w.now-h.heard[j] >= suspectAfter)
		}
	}
	h.node.Tick(w.now)
	w.turn(i)
	w.tick(i, life)
}

// greet sends this host's hello to all others until it is admitted, and now and then afterwards, as
// connections come and go.
func (w *world) greet(i, life int) {
	h := w.hosts[i]
	if !w.awake(i, life, func() { w.greet(i, life) }) {
		return
	}
	for j := range w.hosts {
		if j != i {
			w.hello(i, j, true)
		}
	}
	interval := helloInterval
	if h.node.Admitted() {
		interval = w.between(helloInterval, 10*helloInterval)
	}
	w.after(interval, func() { w.greet(i, life) })
}

// hello carries one hello; the first of a pair is answered.
func (w *world) hello(from, to int, answer bool) {
	h := w.hosts[from]
	body := wire.AppendHello(nil, h.node.Hello(w.members.Voters[to]))
	w.network.carry(from, to, func() {
		target := w.hosts[to]
		if target.node == nil || target.pausedUntil > w.now {
			return
		}
		hello, err := wire.DecodeHello(body)
		if err == nil {
			err = target.node.Greet(w.now, hello)
		}
		if err != nil {
			w.violated("integrity", "r%d refuses the hello of r%d: %v", w.members.Voters[to], w.members.Voters[from], err)
			return
		}
		target.heard[from] = w.now
		if answer {
			w.hello(to, from, false)
		}
	})
}

func (w *world) deliver(from, to int, body []byte) {
	h := w.hosts[to]
	if !w.awake(to, h.life, func() { w.deliver(from, to, body) }) {
		return
	}
	header, messages, err := wire.DecodeFrame(body)
	if err != nil {
		w.violated("integrity", "r%d cannot decode a frame of r%d: %v", w.members.Voters[to], w.members.Voters[from], err)
		return
	}
	h.heard[from] = w.now
	h.node.Deliver(w.now, w.members.Voters[from], header, messages)
	if w.chance(0.7) { // else the next input shares the turn
		w.turn(to)
	}
}

// turn runs the turns of a host until it has nothing more to do, unless it crashes on the way.
func (w *world) turn(i int) {
	h := w.hosts[i]
	for h.node != nil && w.err == nil {
		if w.faults && w.report.Crashes > 0 && w.chance(0.002) {
			h.disk.crashAt = 1 + w.rand.IntN(2)
		}
		messages, err := h.node.Save(w.now)
		if err != nil {
			w.fault(i, err)
			return
		}
		w.check.sent(i, messages)
		if w.faults && w.report.Crashes > 0 && w.chance(0.002) {
			w.network.send(i, h.disk.LastGroup(), messages[:w.rand.IntN(len(messages)+1)])
			w.crash(i, false)
			return
		}
		w.network.send(i, h.disk.LastGroup(), messages)
		answers, err := h.node.Execute(w.now)
		w.answer(i, answers)
		if err != nil {
			w.fault(i, err)
			return
		}
		if !h.node.Busy() || h.node.NoRoom() != nil {
			return
		}
	}
}

// fault is a crash that the disk was told to make, or a violation.
func (w *world) fault(i int, err error) {
	if errors.Is(err, errCrash) {
		w.crash(i, w.chance(0.5))
		return
	}
	w.violated("integrity", "r%d stops: %v", w.members.Voters[i], err)
}

// crash ends a life. Every unsynced byte is lost, but that a save that was under way may have
// reached the disk.
func (w *world) crash(i int, keepBegun bool) {
	h := w.hosts[i]
	w.report.Crashes++
	w.note(noteCrash, i, nil)
	addStats(&w.report.Stats, h.core.Stats())
	h.node, h.core = nil, nil
	h.disk = newDisk(h.disk.memory.Crash(keepBegun))
	w.check.crashed(i, h.disk)
	w.lose(h)
	w.after(w.between(10*time.Millisecond, 4*time.Second), func() {
		if h.node == nil {
			w.start(i)
		}
	})
}
