package experiment

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/paxos"
)

// Times of the shell around a core, those of a server with default settings.
const (
	tickInterval = 20 * time.Millisecond
	pingInterval = 250 * time.Millisecond
	suspectAfter = time.Second
)

// world is one run.
type world struct {
	point  Point
	now    time.Duration
	events agenda
	hosts  []*host
	links  [][]link
	load   *load
	meter  *Meter
	chaos  *chaos // nil unless a test wants faults
	err    error
}

// host is a replica and what it runs on.
type host struct {
	column  int
	replica replica // nil while it is down
	life    uint32
	working bool // a turn is on its way
	inbox   []func(replica)
	heard   []time.Duration
	doubted []bool
	disk    []any // saved records
	lazy    []any // written and not synced
}

// link is one direction between two sites.
type link struct {
	rand *rand.Rand
	way  time.Duration
	last time.Duration // when the last frame arrives
}

// Purposes of random streams: each has its own, so that one more draw here changes nothing there.
const (
	streamCore = iota + 1
	streamLink
	streamArrivals
	streamKeys
	streamChaos
	streamPlan
)

func stream(seed uint64, purpose, which int) *rand.Rand {
	const odd = 0x9e3779b97f4a7c15
	return rand.New(rand.NewPCG(seed*odd+uint64(purpose), uint64(which)*odd+1)) //nolint:gosec // it must replay
}

// StreamSeed is the seed of one repetition. The protocol does not enter, so that all see the same requests.
func (p *Point) StreamSeed() uint64 { return p.Seed + uint64(p.Repeat)*1_000_003 }

func newWorld(p Point) (*world, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	w := &world{point: p}
	w.meter = NewMeter(&w.point)
	for i := range p.Replicas {
		row := make([]link, p.Replicas)
		for j := range row {
			row[j] = link{rand: stream(p.StreamSeed(), streamLink, i<<8|j), way: p.Profile.OneWay(i, j)}
		}
		w.links = append(w.links, row)
		w.hosts = append(w.hosts, &host{
			column: i, heard: make([]time.Duration, p.Replicas), doubted: make([]bool, p.Replicas),
		})
	}
	var err error
	w.load, err = newLoad(w)
	return w, err
}

// run plays a point to its end.
func run(ctx context.Context, p Point) (*Meter, error) {
	w, err := newWorld(p)
	if err != nil {
		return nil, err
	}
	for i := range w.hosts {
		w.start(i)
	}
	w.load.begin()
	if p.Fault.Crash != 0 {
		w.events.push(w.meter.CrashAt(), w.crashByPlan)
	}
	err = w.play(ctx, p.Warmup+p.Duration+DrainMax, func() bool {
		return w.now >= p.Warmup+p.Duration && w.load.open == 0
	})
	w.meter.Finish()
	return w.meter, err
}

// play lets time pass until an instant, or until done.
func (w *world) play(ctx context.Context, until time.Duration, done func() bool) error {
	for steps := 0; w.err == nil && len(w.events.heap) > 0 && w.events.heap[0].at <= until && !done(); steps++ {
		if steps%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		e := w.events.pop()
		w.now = e.at
		e.run()
	}
	return w.err
}

// start begins a life of a replica on what its disk holds.
func (w *world) start(i int) {
	h := w.hosts[i]
	h.life++
	h.inbox, h.working = nil, false
	var err error
	if h.replica, err = w.build(h); err != nil {
		w.err = fmt.Errorf("start replica %d: %w", i+1, err)
		return
	}
	for j := range h.heard {
		h.heard[j], h.doubted[j] = w.now, false
	}
	life := h.life
	w.events.push(w.now+time.Duration(i)*tickInterval/time.Duration(w.point.Replicas), func() { w.tick(h, life) })
	w.ping(h, life)
}

func (w *world) build(h *host) (replica, error) {
	p := &w.point
	members := membershipOf(p.Replicas)
	id := members.Voters[h.column]
	r := stream(p.StreamSeed(), streamCore, int(h.life)<<8|h.column)
	if p.Protocol.Family == "epaxos" {
		members.F, members.E = p.Protocol.F, p.Protocol.E
		e, err := newEgalitarian(id, members, p.Tuning, r)
		if err != nil {
			return nil, err
		}
		e.sizes = func(component int) { w.meter.Component(h.column, component) }
		w.chaos.watchDecisions(e)
		return e, nil
	}
	config := p.Baseline()
	config.ID, config.Membership, config.Life, config.Rand = id, members, h.life, r
	w.chaos.adjust(&config)
	l, err := newLogged(config)
	if err != nil {
		return nil, err
	}
	w.chaos.watch(l, h)
	for _, record := range h.disk {
		l.core.Restore(record.(paxos.Record))
	}
	l.core.Restored(w.now)
	return l, nil
}

// tick lets a replica look at the time.
func (w *world) tick(h *host, life uint32) {
	if h.replica == nil || h.life != life {
		return
	}
	w.input(h, func(r replica) {
		for j := range h.heard {
			doubt := w.now-h.heard[j] >= suspectAfter
			if j != h.column && doubt != h.doubted[j] {
				h.doubted[j] = doubt
				r.suspect(w.now, j, doubt)
			}
		}
		r.tick(w.now)
	})
	w.events.push(w.now+tickInterval, func() { w.tick(h, life) })
}

// ping is the transport's heartbeat. It is the same for all protocols and is not counted.
func (w *world) ping(h *host, life uint32) {
	if h.replica == nil || h.life != life {
		return
	}
	for _, other := range w.hosts {
		if other != h && !w.chaos.cut(h.column, other.column) {
			w.events.push(w.now+w.links[h.column][other.column].way, func() { other.heard[h.column] = w.now })
		}
	}
	w.events.push(w.now+pingInterval, func() { w.ping(h, life) })
}

// input gives a replica something to do, in its next turn.
func (w *world) input(h *host, do func(replica)) {
	h.inbox = append(h.inbox, do)
	if !h.working {
		// A turn takes along what comes in at the same instant.
		h.working = true
		life := h.life
		w.events.push(w.now, func() { w.turn(h, life) })
	}
}

// turn steps a replica through what has come in, and saves.
func (w *world) turn(h *host, life uint32) {
	if h.replica == nil || h.life != life {
		return
	}
	inputs := h.inbox
	h.inbox = nil
	for _, do := range inputs {
		do(h.replica)
	}
	w.flush(h, len(inputs))
}

// flush saves, and then sends and executes, which takes as long as the emulation says.
func (w *world) flush(h *host, inputs int) {
	out := h.replica.ready()
	e := &w.point.Emulation
	cost := time.Duration(inputs+len(out.messages)) * e.CPU
	if out.sync {
		cost += e.Sync
		w.meter.sync(w.now, h.column, out.bytes)
	}
	if w.point.Fault.Slow == h.column+1 && inputs+len(out.messages) > 0 {
		cost += w.point.Fault.SlowBy
	}
	h.lazy = append(h.lazy, out.records...)
	if cost == 0 {
		w.finish(h, out)
		return
	}
	life := h.life
	w.events.push(w.now+cost, func() {
		if h.replica != nil && h.life == life {
			w.finish(h, out)
		}
	})
}

// finish ends a turn.
func (w *world) finish(h *host, out turn) {
	if w.chaos != nil && out.sync {
		h.disk = append(h.disk, h.lazy...)
		h.lazy = h.lazy[:0]
	} else if w.chaos == nil {
		h.lazy = h.lazy[:0]
	}
	w.send(h.column, out.messages)
	answers, err := h.replica.execute(w.now)
	if err != nil {
		w.err = fmt.Errorf("replica %d: %w", h.column+1, err)
		return
	}
	for i := range answers {
		w.load.answered(h.column, &answers[i])
	}
	switch {
	case h.replica.busy():
		w.flush(h, 0)
	case len(h.inbox) > 0:
		life := h.life
		w.events.push(w.now, func() { w.turn(h, life) })
	default:
		h.working = false
	}
}

// frameOverhead is the header of a frame.
const frameOverhead = 6

// send puts the messages of a turn for one replica into one frame.
func (w *world) send(from int, messages []envelope) {
	for to := range w.hosts {
		var frame []any
		bytes, background := 0, true
		for i := range messages {
			if messages[i].to != to {
				continue
			}
			frame = append(frame, messages[i].message)
			bytes += messages[i].bytes
			background = background && messages[i].background
			if !messages[i].background {
				w.meter.Message(w.now, from, to)
			}
		}
		if len(frame) == 0 {
			continue
		}
		if !background {
			w.meter.frame(w.now, bytes+frameOverhead)
		}
		w.carry(from, to, frame)
	}
}

// carry brings a frame to its replica, in the order of sending unless a test wants otherwise.
func (w *world) carry(from, to int, frame []any) {
	l := &w.links[from][to]
	e := &w.point.Emulation
	late := time.Duration(l.rand.Float64() * e.Jitter / 100 * float64(l.way))
	for l.rand.Float64()*100 < e.Loss {
		late += 2*l.way + 2*l.way/8 // the sender misses the acknowledgement after 9/8 of a round trip
	}
	at := w.now + l.way + late
	if w.chaos.carries(w, from, to, at, frame) {
		return
	}
	at = max(at, l.last)
	l.last = at
	w.events.push(at, func() { w.deliver(from, to, frame) })
}

func (w *world) deliver(from, to int, frame []any) {
	h := w.hosts[to]
	h.heard[from] = w.now
	if h.replica == nil {
		return
	}
	for _, message := range frame {
		w.input(h, func(r replica) { r.step(w.now, from, message) })
	}
}

// crashByPlan stops a site for good.
func (w *world) crashByPlan() {
	target := w.point.Fault.Crash - 1
	if w.point.Fault.Crash < 0 {
		target = w.point.Succession()[0]
		for i, h := range w.hosts {
			if h.replica != nil && h.replica.leads() {
				target = i
			}
		}
	}
	w.meter.Crash(target)
	w.hosts[target].replica = nil
	w.load.stop(target)
}

// propose hands a request to the replica of its region.
func (w *world) propose(h *host, id epaxos.ProposalID, request epaxos.Request, f epaxos.Footprint) {
	w.input(h, func(r replica) {
		if err := r.propose(w.now, id, request, f); err != nil {
			w.load.refused(id)
		}
	})
}
