package sim

import (
	"errors"
	"math/rand/v2"
	"slices"
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
	disk     *disk
	told     wire.Members // whom it knows while it has no state
	node     *node.Node   // nil while it is down
	life     int
	core     *epaxos.Replica // of the last epoch in which it voted in this life; nil while there is none, or another
	order    *watchedOrder
	index    *deps.Index
	rand     *rand.Rand
	gone     bool            // it never comes back
	heard    []time.Duration // by host, when by its own clock it last heard of a peer
	calls    map[epaxos.ProposalID]*operation
	asked    map[epaxos.ProposalID]*change
	errands  map[epaxos.ProposalID]*errand
	barriers map[epaxos.ProposalID]bool
	given    map[epaxos.ProposalID]bool // up by those who had asked
	reading  map[string]bool            // payloads of reads without an instance
	fresh    freshness
	polls    map[epaxos.ProposalID]*watcher
	clock    clock

	pausedUntil time.Duration
	held        bool     // its turn waits for the disk
	backlog     []func() // inputs that wait behind that turn
	turnDue     bool     // a slow replica has a turn on the agenda

	armed    *trouble      // how it dies at the next boundary
	dying    *trouble      // of an ambush
	removed  time.Duration // since when it knows that it is no member; 0 if it does not
	wiped    *trouble      // its disk was emptied
	again    *trouble      // how it dies after its next start
	flipped  *trouble      // what its next start has to notice
	full     *trouble
	slowSync *trouble
	slow     *trouble
}

func (w *world) newHost(i int) *host {
	return &host{
		disk: newDisk(storage.NewMemory(storage.MemoryOptions{})), rand: stream(w.options.Seed, streamHost, i),
		clock: clock{rate: 1}, told: w.firstMembers(),
	}
}

// firstMembers are those of the first epoch.
func (w *world) firstMembers() wire.Members {
	members := wire.Members{Epoch: 1, F: w.members.F, E: w.members.E, Format: wire.Format}
	for j, voter := range w.members.Voters {
		members.Voters = append(members.Voters, wire.Member{Replica: voter, Incarnation: incarnation(j)})
		members.NextReplica = max(members.NextReplica, voter+1)
	}
	return members
}

// role is what a host is in the epoch that it is in; 0 while it is down.
func (h *host) role() node.Role {
	if h.node == nil {
		return 0
	}
	_, role := h.node.Members()
	return role
}

// votes reports whether a host runs and votes in its epoch.
func (h *host) votes() bool { return h.role() == node.Voter }

// waiting is how many requests wait here.
func (h *host) waiting() int { return len(h.calls) + len(h.asked) + len(h.errands) + len(h.barriers) }

// serves reports whether a host runs and votes in the newest epoch that there is.
func (w *world) serves(i int) bool {
	return w.hosts[i].votes() && w.check.epochs[i] == w.check.newest().members.Epoch
}

const helloInterval = 300 * time.Millisecond

// smallCache makes a replica of some runs read from its disk what it has just written.
const smallCache = 200

// start begins a life of a replica on what its disk holds.
func (w *world) start(i int) {
	h := w.hosts[i]
	id := replicaOf(i)
	h.life++
	h.calls, h.asked = map[epaxos.ProposalID]*operation{}, map[epaxos.ProposalID]*change{}
	h.errands, h.polls = map[epaxos.ProposalID]*errand{}, map[epaxos.ProposalID]*watcher{}
	h.held, h.backlog, h.turnDue = false, nil, false
	h.clock.read, h.clock.since = 0, w.now // a process counts from its start
	h.heard = make([]time.Duration, len(w.hosts))
	h.barriers = map[epaxos.ProposalID]bool{}
	h.given, h.reading = map[epaxos.ProposalID]bool{}, map[string]bool{}
	h.core, h.index, h.fresh = nil, nil, freshness{}
	w.lieInWait(i)
	w.check.greeted[i] = map[int]bool{}
	w.note(noteStart, i, nil)
	w.tracef("start of r%d", id)
	order := &watchedOrder{w: w, host: i}
	h.order = order
	var err error
	h.node, err = node.New(node.Config{
		ID: id, Incarnation: incarnation(i), Cluster: [16]byte{1}, Members: h.told,
		NewCore: func(m epaxos.Membership) (node.Core, error) {
			w.tally(h) // of the epoch before
			w.check.begins(i, m)
			r := stream(w.options.Seed, streamHost, coreStream(m.Epoch, h.life, i))
			if other := w.options.other; other != nil {
				return other.newCore(&w.setup, id, m, r)
			}
			h.index = deps.New(m.N())
			core, err := epaxos.New(epaxos.Config{
				ID: id, Membership: m, Index: h.index, Rand: r, Limits: w.setup.limits, Timing: w.setup.timing,
			})
			h.core = core
			return core, err
		},
		NewOrderer: func(m epaxos.Membership) node.Orderer {
			order.epoch, order.next, order.bar = m.Epoch, nil, epaxos.InstanceID{}
			if other := w.options.other; other != nil {
				order.Orderer = other.newOrderer(m)
				return order
			}
			order.graph = execution.NewGraph(m)
			order.Orderer = order.graph
			return order
		},
		Store: h.disk, Machine: &watchedMachine{order: order}, WriteBack: w.setup.writeBack, Trace: w.tracer(),
		Compaction: w.setup.compaction, Transfer: w.setup.transfer, Watching: w.setup.watching,
	})
	if w.refused(i, err) {
		return
	}
	w.check.turnedTo(i)
	if w.options.Seed%3 == 0 {
		h.node.State().LimitCache(smallCache)
	}
	w.tick(i, h.life)
	w.greet(i, h.life)
	if t := h.again; t != nil && w.faults {
		h.again = nil
		w.dieYoung(i, t)
	}
}

// coreStream is the same for the first epoch as when there was none.
func coreStream(e epaxos.Epoch, life, host int) int { return int(e-1)<<32 | life<<8 | host } //nolint:gosec // small

func incarnation(host int) uint64 { return uint64(1000 + host) } //nolint:gosec // small

// refused handles a start that fails. On a changed log it has to, and the replica stays away.
func (w *world) refused(i int, err error) bool {
	h, id := w.hosts[i], replicaOf(i)
	switch {
	case err == nil && h.flipped == nil:
		return false
	case err == nil:
		w.violated("integrity", "r%d starts on a log with a changed group", id)
	case h.dying != nil && (errors.Is(err, errCrash) || errors.Is(err, errDisk)):
		w.stopped(i, err)
	case h.flipped != nil && errors.Is(err, storage.ErrDamaged):
		h.node, h.core = nil, nil
		w.bury(i, err.Error())
		w.happened(h.flipped)
	default:
		w.violated("integrity", "start r%d: %v", id, err)
	}
	return true
}

// dieYoung crashes a replica soon after its start, while it is on probation or catches up.
func (w *world) dieYoung(i int, t *trouble) {
	h := w.hosts[i]
	life := h.life
	w.after(time.Duration(t.Level*t.Level*float64(time.Second)), func() {
		if w.faults && h.life == life && h.node != nil {
			w.crash(i, death{back: t.For})
			w.happened(t)
		}
	})
}

// bury gives a replica up. At most f are, so that the others can still finish.
func (w *world) bury(i int, why string) {
	w.hosts[i].gone = true
	w.report.Gone++
	w.tracef("r%d is gone: %s", replicaOf(i), why)
}

// local is the time that a host's node is told.
func (w *world) local(i int) time.Duration { return w.hosts[i].clock.now(w.now) }

// ready reports whether a host takes inputs at this instant.
func (w *world) ready(i int) bool {
	h := w.hosts[i]
	return h.node != nil && !h.held && h.pausedUntil <= w.now
}

// awake reports whether a life of a host takes inputs now; a paused one, or one whose turn waits for
// its disk, takes them later.
func (w *world) awake(i, life int, later func()) bool {
	h := w.hosts[i]
	switch {
	case h.node == nil || h.life != life:
		return false
	case h.held:
		h.backlog = append(h.backlog, later)
		return false
	case h.pausedUntil > w.now:
		w.after(h.pausedUntil-w.now, later)
		return false
	}
	return true
}

func (w *world) tick(i, life int) {
	w.after(between(w.hosts[i].rand, w.setup.tick/3, w.setup.tick), func() { w.ticked(i, life) })
}

func (w *world) ticked(i, life int) {
	h := w.hosts[i]
	if !w.awake(i, life, func() { w.ticked(i, life) }) {
		return
	}
	now := w.local(i)
	for _, m := range h.node.Known() {
		if j := hostOf(m.Replica); j != i {
			doubted := len(w.doubts) > 0 && w.doubted(i, j)
			h.node.Suspect(now, m.Replica, doubted || now-h.heard[j] >= w.setup.suspectAfter)
		}
	}
	h.node.Tick(now)
	w.turn(i)
	if w.leaves(i) {
		return
	}
	w.tick(i, life)
}

// greet sends this host's hello to all others until it is admitted, and now and then afterwards, as
// connections come and go.
func (w *world) greet(i, life int) {
	h := w.hosts[i]
	if !w.awake(i, life, func() { w.greet(i, life) }) {
		return
	}
	for _, m := range h.node.Known() {
		if j := hostOf(m.Replica); j != i {
			w.hello(i, j, true)
		}
	}
	interval := helloInterval
	if h.node.Admitted() {
		interval = between(h.rand, helloInterval, 10*helloInterval)
	}
	w.after(interval, func() { w.greet(i, life) })
}

// hello carries one hello; the first of a pair is answered.
func (w *world) hello(from, to int, answer bool) {
	h := w.hosts[from]
	said := h.node.Hello(replicaOf(to))
	w.check.greets(from, to, &said)
	body := wire.AppendHello(nil, said)
	w.network.carry(parcel{from: from, to: to, arrive: func() {
		if !w.ready(to) {
			return
		}
		target := w.hosts[to]
		hello, err := wire.DecodeHello(body)
		if err == nil {
			err = target.node.Greet(w.local(to), hello)
		}
		if err != nil {
			w.refusedHello(from, to, err)
			return
		}
		target.heard[from] = w.local(to)
		if greeted := w.check.greeted[to]; greeted != nil {
			greeted[from] = true
		}
		w.check.turnedTo(to)
		if answer {
			w.hello(to, from, false)
		}
	}})
}

// refusedHello handles a hello that is not taken: only strangers may be turned away.
func (w *world) refusedHello(from, to int, err error) {
	if errors.Is(err, node.ErrForgot) && w.hosts[to].wiped != nil {
		w.crash(to, death{back: -1})
		w.bury(to, err.Error())
		return
	}
	stranger := func(m wire.Member) bool { return m.Replica == replicaOf(from) }
	if !slices.ContainsFunc(w.hosts[to].node.Known(), stranger) {
		w.report.Strangers++
		return
	}
	w.violated("integrity", "r%d refuses the hello of r%d: %v", replicaOf(to), replicaOf(from), err)
}

func (w *world) deliver(from, to int, body []byte) {
	h := w.hosts[to]
	if !w.awake(to, h.life, func() { w.deliver(from, to, body) }) {
		return
	}
	header, messages, err := wire.DecodeFrame(body)
	if err != nil {
		w.violated("integrity", "r%d cannot decode a frame of r%d: %v", replicaOf(to), replicaOf(from), err)
		return
	}
	now := w.local(to)
	h.heard[from] = now
	h.node.Deliver(now, replicaOf(from), header, messages)
	w.harass(from, to, header, messages)
	if h.rand.IntN(10) < 7 { // else the next input shares the turn
		w.turn(to)
	}
}
