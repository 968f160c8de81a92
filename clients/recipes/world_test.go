package recipes

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/deps"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// world is a cluster of nodes, as servers run them, over a simulated network, and processes that run the recipes.
// It lives in a synctest bubble: the time of the recipes is that of the nodes. Each event happens at an instant
// of its own, so that a seed comes out (almost) the same each time: what runs at one instant is one node or one
// process.
//
// A world of one node without faults is the executor alone.
type world struct {
	t     testing.TB
	began time.Time

	mu       sync.Mutex // all below, and the nodes
	rand     *rand.Rand
	hosts    []*host
	stopped  bool
	failure  error
	loss     int // of a hundred messages and requests so many are lost
	latency  time.Duration
	last     epaxos.ProposalID
	trace    uint64 // digest of what the nodes did
	due      chan func()
	executed int
}

// host is a replica.
type host struct {
	id      epaxos.ReplicaID
	config  node.Config
	store   *storage.Memory
	node    *node.Node // nil while it is down
	life    int
	turning bool // a turn is due
	cut     bool // its network is
	clock   clock
	heard   []time.Duration
	calls   map[epaxos.ProposalID]func(node.Answer)
	waits   []*waiting
}

// clock is that of a replica. It goes at its own rate, and may jump forward, as one does whose machine was asleep.
type clock struct {
	read, since time.Duration
	rate        float64
}

func (c *clock) now(now time.Duration) time.Duration {
	return c.read + time.Duration(float64(now-c.since)*c.rate)
}

func (c *clock) set(now, read time.Duration, rate float64) { c.read, c.since, c.rate = read, now, rate }

// waiting is one who waits for a change of a key at one replica.
type waiting struct {
	key     string
	version uint64
	told    func()
}

const (
	tickEvery  = 40 * time.Millisecond
	greetEvery = 250 * time.Millisecond
	suspectAt  = 700 * time.Millisecond
)

func newWorld(t testing.TB, seed uint64, replicas int) *world {
	w := &world{
		t: t, began: time.Now(), rand: rand.New(rand.NewPCG(seed, 1)), latency: 5 * time.Millisecond, //nolint:gosec // reproducible
		due: make(chan func(), 1<<16),
	}
	go w.run()
	for i := range replicas {
		h := &host{
			id: epaxos.ReplicaID(i + 1), store: storage.NewMemory(storage.MemoryOptions{}), //nolint:gosec // few
			clock: clock{rate: 1}, heard: make([]time.Duration, replicas),
		}
		h.config = configOf(h.id, seed, replicas)
		w.hosts = append(w.hosts, h)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.hosts {
		w.start(h)
	}
	return w
}

func configOf(id epaxos.ReplicaID, seed uint64, replicas int) node.Config {
	var ids []epaxos.ReplicaID
	members := wire.Members{Epoch: 1, Format: wire.Format, NextReplica: epaxos.ReplicaID(replicas + 1)} //nolint:gosec // few
	for i := range replicas {
		ids = append(ids, epaxos.ReplicaID(i+1)) //nolint:gosec // few
		members.Voters = append(members.Voters, wire.Member{Replica: ids[i], Incarnation: 1})
	}
	m := epaxos.NewMembership(1, ids...)
	members.F, members.E = m.F, m.E
	return node.Config{
		ID: id, Incarnation: 1, Members: members, Machine: execution.KV{}, WriteBack: 100 * time.Millisecond,
		NewCore: func(m epaxos.Membership) (node.Core, error) {
			return epaxos.New(epaxos.Config{
				ID: id, Membership: m, Index: deps.New(m.N()),
				Rand:   rand.New(rand.NewPCG(seed, 100+uint64(id))), //nolint:gosec // reproducible
				Limits: epaxos.DefaultLimits(),
				Timing: epaxos.Timing{
					Resend: 100 * time.Millisecond, Fetch: 60 * time.Millisecond, Recover: 500 * time.Millisecond,
					Stagger: 100 * time.Millisecond, Gossip: 100 * time.Millisecond, FastPathWait: 10 * time.Millisecond,
				},
			})
		},
		NewOrderer: func(m epaxos.Membership) node.Orderer { return execution.NewGraph(m) },
	}
}

func (w *world) now() time.Duration { return time.Since(w.began) }

// after does something later, at an instant of its own.
func (w *world) after(d time.Duration, do func()) { w.afterBy(w.rand, d, do) }

// afterBy draws from a stream that nobody else draws from at the same instant, as w.rand is that of events alone.
func (w *world) afterBy(r *rand.Rand, d time.Duration, do func()) {
	jitter := time.Duration(r.IntN(int(time.Millisecond)))
	time.AfterFunc(d+jitter, func() { w.due <- do })
}

// run does what is due, on one goroutine, whose stack grows once.
func (w *world) run() {
	for do := range w.due {
		if do == nil {
			return
		}
		w.mu.Lock()
		if !w.stopped {
			do()
		}
		w.mu.Unlock()
	}
}

// fail ends the run.
func (w *world) fail(name, format string, args ...any) {
	if w.failure == nil {
		w.failure = fmt.Errorf("at %v: violation of %s: %s", w.now(), name, fmt.Sprintf(format, args...))
	}
	w.stopped = true
}

// stop lets nothing happen any more.
func (w *world) stop() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.due <- nil
	return w.failure
}

// start begins a life of a replica.
func (w *world) start(h *host) {
	h.life++
	h.config.Store = h.store
	h.calls, h.waits, h.turning = map[epaxos.ProposalID]func(node.Answer){}, nil, false
	h.clock.set(w.now(), 0, h.clock.rate) // a process counts from its start
	for i := range h.heard {
		h.heard[i] = 0
	}
	n, err := node.New(h.config)
	if err != nil {
		w.fail("integrity", "replica %d does not start: %v", h.id, err)
		return
	}
	h.node = n
	w.tick(h, h.life)
	w.greet(h, h.life)
}

// crash ends a life; what was not synced is lost.
func (w *world) crash(h *host) {
	h.store = h.store.Crash(false)
	h.node = nil
}

func (w *world) local(h *host) time.Duration { return h.clock.now(w.now()) }

func (w *world) tick(h *host, life int) {
	w.after(tickEvery, func() {
		if h.node == nil || h.life != life {
			return
		}
		now := w.local(h)
		for i, heard := range h.heard {
			if other := w.hosts[i].id; other != h.id {
				h.node.Suspect(now, other, now-heard > suspectAt)
			}
		}
		h.node.Tick(now)
		w.turn(h)
		w.tick(h, life)
	})
}

func (w *world) greet(h *host, life int) {
	for _, to := range w.hosts {
		if to == h || h.node == nil {
			continue
		}
		hello := h.node.Hello(to.id)
		w.send(h, to, func() {
			if err := to.node.Greet(w.local(to), hello); err != nil {
				w.fail("integrity", "replica %d refuses replica %d: %v", to.id, h.id, err)
			}
		})
	}
	w.after(greetEvery, func() {
		if h.node != nil && h.life == life {
			w.greet(h, life)
		}
	})
}

// send does something at another replica, unless the network is against it.
func (w *world) send(from, to *host, arrives func()) {
	if w.loses(w.rand) {
		return
	}
	life := to.life
	w.after(w.delay(w.rand), func() {
		if to.node == nil || to.life != life || from.cut || to.cut {
			return
		}
		to.heard[from.id-1] = w.local(to)
		arrives()
		w.turn(to)
	})
}

func (w *world) loses(r *rand.Rand) bool { return r.IntN(100) < w.loss }

// delay is that of one message: mostly short, sometimes long.
func (w *world) delay(r *rand.Rand) time.Duration {
	d := time.Duration(r.Int64N(int64(w.latency)))
	if w.loss > 0 && r.IntN(20) == 0 {
		d += time.Duration(r.Int64N(int64(time.Second)))
	}
	return d
}

// turn makes a replica save, speak, execute and answer, soon.
func (w *world) turn(h *host) {
	if h.turning || h.node == nil {
		return
	}
	h.turning = true
	life := h.life
	w.after(0, func() {
		if h.node == nil || h.life != life {
			return
		}
		h.turning = false
		messages, err := h.node.Save(w.local(h))
		if err != nil {
			w.fail("integrity", "replica %d saves: %v", h.id, err)
			return
		}
		group := h.store.LastGroup()
		for _, e := range messages {
			to := w.hosts[e.To-1]
			w.send(h, to, func() {
				to.node.Deliver(w.local(to), e.From, wire.FrameHeader{Group: group}, []epaxos.Message{e.Message})
			})
		}
		w.execute(h)
		if h.node.Busy() {
			w.turn(h)
		}
	})
}

func (w *world) execute(h *host) {
	answers, err := h.node.Execute(w.local(h))
	if err != nil {
		w.fail("integrity", "replica %d executes: %v", h.id, err)
		return
	}
	for _, a := range answers {
		w.executed++
		w.trace = w.trace*1099511628211 ^ uint64(a.Proposal)<<8 ^ uint64(h.id) ^ uint64(w.now()) //nolint:gosec // a digest
		if told := h.calls[a.Proposal]; told != nil {
			delete(h.calls, a.Proposal)
			told(a)
		}
	}
	kept := h.waits[:0]
	for _, one := range h.waits {
		if w.version(h, one.key) != one.version {
			one.told()
		} else {
			kept = append(kept, one)
		}
	}
	h.waits = kept
}

// version is what a replica shows of a key.
func (w *world) version(h *host, key string) uint64 {
	result, err := w.read(h, &wire.Op{Kind: wire.OpGet, Key: []byte(key)})
	if err != nil {
		w.fail("integrity", "replica %d reads %q: %v", h.id, key, err)
	}
	return result.Version
}

func (w *world) read(h *host, op *wire.Op) (wire.Result, error) {
	payload := wire.AppendOp(nil, op)
	footprint, err := execution.KV{}.Footprint(payload)
	if err != nil {
		return wire.Result{}, err
	}
	body, err := h.node.State().Run(execution.KV{}, footprint, payload)
	if err != nil {
		return wire.Result{}, err
	}
	return wire.DecodeResult(body)
}

// propose hands a request to a replica. told is called with its answer, or never.
func (w *world) propose(h *host, request epaxos.Request, told func(node.Answer)) error {
	if h.node == nil {
		return errors.New("the replica is down")
	}
	footprint, err := footprintOf(h.node, &request)
	if err != nil {
		return err
	}
	w.last++
	h.calls[w.last] = told
	if err := h.node.Propose(w.local(h), w.last, request, footprint); err != nil {
		delete(h.calls, w.last)
		return err
	}
	w.turn(h)
	return nil
}

func footprintOf(n *node.Node, request *epaxos.Request) (epaxos.Footprint, error) {
	switch {
	case request.Opens():
		return nil, nil
	case request.Number == 0 && !request.Session.IsZero():
		return n.SessionFootprint(request)
	}
	footprint, err := execution.KV{}.Footprint(request.Payload)
	if err == nil && !request.Session.IsZero() {
		footprint = execution.SessionFootprint(request, footprint)
	}
	return footprint, err
}
