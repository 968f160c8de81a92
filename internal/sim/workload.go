package sim

import (
	"math/rand/v2"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// operation is one request of a client, and what the client learned of it.
type operation struct {
	client  *client
	host    *host // where it waits; nil once that is over
	op      wire.Op
	payload []byte
	called  time.Duration
	ended   time.Duration
	known   bool  // it was answered
	name    *name // in a session; nil is none

	consistency node.Consistency // of a read without an instance
	least       []least          // of a read that may show old values: what it must show at least
	result      wire.Result
}

// client has one request open at a time, or a few that it sent at once, and moves among the replicas.
type client struct {
	w        *world
	number   int
	rand     *rand.Rand
	home     int      // where it asked last
	rush     *trouble // it asks only once, for this; nil is an ordinary client
	rank     int      // in the rush
	open     int      // requests that it waits for
	values   int
	versions map[string]uint64 // that it saw last, by key
	history  []*operation
	token    node.Token        // names what it has seen
	seen     map[string]uint64 // the versions of that, by key
	account  *account          // nil: it has no session
}

func (w *world) newClient(random *rand.Rand) *client {
	c := &client{w: w, number: len(w.clients), rand: random, versions: map[string]uint64{}, seen: map[string]uint64{}}
	c.home = random.IntN(len(w.hosts))
	w.clients = append(w.clients, c)
	return c
}

func (w *world) startClients() {
	w.mix = drawMix(stream(w.options.Seed, streamWork, 0), &w.setup)
	for i := range w.setup.clients {
		c := w.newClient(stream(w.options.Seed, streamWork, i+1))
		c.newAccount()
		w.after(between(c.rand, 0, w.setup.pace), c.next)
	}
}

// next begins a request at some replica, or several, if any are left.
func (c *client) next() {
	w := c.w
	if w.left == 0 || c.rush != nil && len(c.history) > 0 {
		c.account.farewell()
		return
	}
	c.listen()
	i := c.destination()
	if !w.asks(i) {
		w.after(50*time.Millisecond, c.next)
		return
	}
	c.barred(i)
	count := 1
	if c.rush == nil && c.rand.Float64() < w.mix.burst {
		count += 1 + c.rand.IntN(5)
	}
	for range min(count, w.left) {
		if !c.ask(i, c.draw()) {
			break
		}
	}
	if c.open == 0 {
		w.after(between(c.rand, 20*time.Millisecond, 300*time.Millisecond), c.next)
		return
	}
	w.turn(i)
}

// ask sends one request, and reports whether it was taken.
func (c *client) ask(i int, op wire.Op) bool {
	w, h := c.w, c.w.hosts[i]
	o := &operation{client: c, op: op, called: w.now}
	o.payload = wire.AppendOp(nil, &o.op)
	footprint, err := execution.KV{}.Footprint(o.payload)
	if err != nil {
		w.violated("integrity", "the machine refuses %+v: %v", o.op, err)
		return false
	}
	if c.account.names(&o.op) {
		if c.account.request(i, o, c.widen(footprint)) {
			c.asked(o)
			return true
		}
		return false
	}
	w.seq++
	id := epaxos.ProposalID(w.seq) //nolint:gosec // small
	if o.consistency = w.reads(o); o.old() {
		i = c.elsewhere(i)
		h = w.hosts[i]
	}
	if o.consistency != 0 {
		err = c.read(i, id, o, footprint)
	} else {
		err = h.node.Propose(w.local(i), id, epaxos.Request{Payload: o.payload}, c.widen(footprint))
	}
	if err != nil {
		w.report.Refused++
		return false
	}
	o.host, h.calls[id] = h, o
	c.asked(o)
	w.impatience(i, id, o)
	return true
}

// asked notes that a request is under way.
func (c *client) asked(o *operation) {
	c.w.left--
	c.open++
	c.history = append(c.history, o)
	if unique(&o.op) {
		c.w.check.once[string(o.payload)] = place{}
	}
}

// close ends the wait for a request. After the last one the client rests for a while.
func (c *client) close(o *operation, rest time.Duration) {
	o.host = nil
	c.open--
	if c.open == 0 {
		c.w.after(between(c.rand, 0, rest), c.next)
	}
}

// rush has requests for a key of its own meet at two replicas, and perhaps at others.
func (w *world) rush(t *trouble) {
	for i := range 2 + t.Type%3 {
		c := w.newClient(stream(w.options.Seed, streamWork, (t.index+1)<<8|i))
		c.rush, c.rank = t, i
		w.after(between(c.rand, 0, w.setup.far), c.next)
	}
	w.happened(t)
}

// destination is the replica that the next request goes to.
func (c *client) destination() int {
	if i := c.rand.IntN(len(c.w.hosts)); c.rand.Float64() < c.w.mix.roam || !c.w.asks(c.home) {
		c.home = i
	}
	switch {
	case c.rush != nil && c.rank == 0:
		return c.rush.A
	case c.rush != nil && c.rank == 1:
		return c.rush.B
	default:
		return c.home
	}
}

// impatience takes some requests back. What the node says it took back must never be applied.
func (w *world) impatience(i int, id epaxos.ProposalID, o *operation) {
	h, r := w.hosts[i], o.client.rand
	if r.IntN(20) > 0 || !unique(&o.op) {
		return
	}
	life := h.life
	w.after(between(r, 0, 500*time.Millisecond), func() {
		if !w.ready(i) || h.life != life || h.calls[id] != o || !h.node.Cancel(id) {
			return
		}
		w.check.cancelled[string(o.payload)] = true
		delete(h.calls, id)
		o.client.forget(o)
		w.report.Refused++
		w.left++
		o.client.close(o, 0)
	})
}

// forget drops an operation that certainly never happened.
func (c *client) forget(o *operation) {
	for i := range c.history {
		if c.history[i] == o {
			c.history = append(c.history[:i], c.history[i+1:]...)
			return
		}
	}
}

// answer gives the results of a turn to the clients that asked here.
func (w *world) answer(i int, answers []node.Answer) {
	h := w.hosts[i]
	for _, a := range answers {
		if c := h.asked[a.Proposal]; c != nil {
			delete(h.asked, a.Proposal)
			w.decided(i, c, &a)
			continue
		}
		if h.freshened(&a) {
			continue
		}
		if h.barriers[a.Proposal] {
			delete(h.barriers, a.Proposal)
			w.divided(i, &a)
			continue
		}
		if c := h.polls[a.Proposal]; c != nil {
			delete(h.polls, a.Proposal)
			c.heard(i, &a)
			continue
		}
		if e := h.errands[a.Proposal]; e != nil {
			delete(h.errands, a.Proposal)
			w.ran(i, e, &a)
			continue
		}
		if h.given[a.Proposal] {
			continue
		}
		o := h.calls[a.Proposal]
		if o == nil { // it was answered, or taken back
			w.violated("once", "r%d answers proposal %d, for which nobody waits", replicaOf(i), a.Proposal)
			return
		}
		delete(h.calls, a.Proposal)
		if a.Void {
			w.void(i, o)
			continue
		}
		if a.Unknown {
			w.report.Unknown++
			w.left++
			o.client.close(o, w.setup.pace)
			continue
		}
		result, err := wire.DecodeResult(a.Result)
		if err != nil {
			w.violated("integrity", "a result does not decode: %v", err)
			return
		}
		w.note(noteAnswer, i, a.Result)
		o.client.saw(i, o, &result, a.Token)
		o.result, o.known, o.ended = result, true, w.now
		if at, executed := w.check.once[string(o.payload)]; executed && at != (place{}) {
			w.check.stands(at.id)
		}
		w.report.Answered++
		o.client.learn(&o.op, &result)
		o.client.close(o, w.setup.pace)
	}
}

// learn remembers the versions that a result tells.
func (c *client) learn(op *wire.Op, result *wire.Result) {
	if op.Kind != wire.OpTxn {
		c.versions[string(op.Key)] = result.Version
		return
	}
	for i := range min(len(op.Then), len(result.Results)) {
		c.learn(&op.Then[i], &result.Results[i])
	}
}

// lose ends the requests of a replica that crashed: nobody knows what becomes of them.
func (w *world) lose(h *host) {
	w.report.Unknown += len(h.calls)
	for _, c := range w.clients {
		for _, o := range c.history {
			if o.host == h {
				c.close(o, time.Second)
			}
		}
	}
	h.calls = map[epaxos.ProposalID]*operation{}
	clear(h.asked)
	for _, e := range h.errands {
		e.of.opening = e.of.opening && e.op.Kind != wire.SessionOpen
	}
	clear(h.errands)
	clear(h.barriers)
	h.loseWatchers(w)
}
