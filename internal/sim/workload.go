package sim

import (
	"fmt"
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
	op      wire.Op
	payload []byte
	called  time.Duration
	ended   time.Duration
	known   bool // it was answered
	result  wire.Result
}

// client has one request open at a time and moves among the replicas.
type client struct {
	w       *world
	number  int
	rand    *rand.Rand
	rush    *trouble // it sends one request only, for this; nil is an ordinary client
	history []*operation
}

func (w *world) startClients() {
	for i := range w.setup.clients {
		c := &client{w: w, number: i, rand: stream(w.options.Seed, streamWork, i)}
		w.clients = append(w.clients, c)
		w.after(between(c.rand, 0, w.setup.pace), c.next)
	}
}

// next begins a request at some replica, if any are left.
func (c *client) next() {
	w := c.w
	if w.left == 0 || c.rush != nil && len(c.history) > 0 {
		return
	}
	i := c.destination()
	h := w.hosts[i]
	if !w.ready(i) {
		w.after(50*time.Millisecond, c.next)
		return
	}
	w.left--
	o := &operation{client: c, op: c.draw(), called: w.now}
	o.payload = wire.AppendOp(nil, &o.op)
	footprint, err := execution.KV{}.Footprint(o.payload)
	if err != nil {
		w.violated("integrity", "the machine refuses %+v: %v", o.op, err)
		return
	}
	w.seq++
	id := epaxos.ProposalID(w.seq)
	h.calls[id] = o
	if err := h.node.Propose(w.local(i), id, epaxos.Request{Payload: o.payload}, footprint); err != nil {
		delete(h.calls, id)
		w.left++
		w.report.Refused++
		w.after(between(c.rand, 20*time.Millisecond, 300*time.Millisecond), c.next)
		return
	}
	c.history = append(c.history, o)
	w.impatience(i, id, o)
	w.turn(i)
}

// rush has requests for a key of its own meet at two replicas, and perhaps at others.
func (w *world) rush(t *trouble) {
	for i := range 2 + t.Type%3 {
		c := &client{w: w, number: i, rand: stream(w.options.Seed, streamWork, (t.index+1)<<8|i), rush: t}
		w.clients = append(w.clients, c)
		w.after(between(c.rand, 0, w.setup.far), c.next)
	}
	w.happened(t)
}

// destination is the replica that the next request goes to.
func (c *client) destination() int {
	i := c.rand.IntN(len(c.w.hosts))
	switch {
	case c.rush != nil && c.number == 0:
		return c.rush.A
	case c.rush != nil && c.number == 1:
		return c.rush.B
	default:
		return i
	}
}

// impatience takes some requests back. What the node says it took back must never be applied.
func (w *world) impatience(i int, id epaxos.ProposalID, o *operation) {
	h, r := w.hosts[i], o.client.rand
	if r.IntN(20) > 0 || o.op.Kind != wire.OpPut {
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
		o.client.next()
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

// draw makes a request. Puts are unique, so that a result tells which one it saw.
func (c *client) draw() wire.Op {
	w := c.w
	key := func() []byte {
		if c.rush != nil {
			return fmt.Appendf(nil, "rush%d", c.rush.index)
		}
		if c.rand.Float64() < w.setup.hot {
			return fmt.Appendf(nil, "hot%d", c.rand.IntN(2))
		}
		return fmt.Appendf(nil, "own%d", c.number)
	}
	put := func() wire.Op {
		w.seq++
		return wire.Op{Kind: wire.OpPut, Key: key(), Value: fmt.Appendf(nil, "v%d", w.seq)}
	}
	switch c.rand.IntN(10) {
	case 0, 1, 2, 3:
		return put()
	case 4:
		return wire.Op{Kind: wire.OpIncrement, Key: []byte("count"), Delta: 1}
	case 5:
		one, two := put(), put()
		if string(one.Key) == string(two.Key) {
			two.Key = []byte("hot9")
		}
		return wire.Op{Kind: wire.OpTxn, Then: []wire.Op{one, two, {Kind: wire.OpGet, Key: []byte("hot0")}}}
	case 6:
		o := put()
		o.Kind = wire.OpCompareAndSet
		o.Compares = []wire.Compare{{Key: o.Key, Target: wire.CompareVersion, Relation: wire.Less, Version: 20}}
		return o
	default:
		return wire.Op{Kind: wire.OpGet, Key: key()}
	}
}

// answer gives the results of a turn to the clients that asked here.
func (w *world) answer(i int, answers []node.Answer) {
	h := w.hosts[i]
	for _, a := range answers {
		o := h.calls[a.Proposal]
		if o == nil {
			continue
		}
		delete(h.calls, a.Proposal)
		result, err := wire.DecodeResult(a.Result)
		if err != nil {
			w.violated("integrity", "a result does not decode: %v", err)
			return
		}
		w.note(noteAnswer, i, a.Result)
		o.result, o.known, o.ended = result, true, w.now
		w.report.Answered++
		w.after(between(o.client.rand, 0, w.setup.pace), o.client.next)
	}
}

// lose ends the requests of a replica that crashed: nobody knows what becomes of them.
func (w *world) lose(h *host) {
	lost := len(h.calls)
	w.report.Unknown += lost
	for _, c := range w.clients {
		if n := len(c.history); n > 0 && c.waitsAt(h, c.history[n-1]) {
			w.after(between(c.rand, 0, time.Second), c.next)
		}
	}
	h.calls = map[epaxos.ProposalID]*operation{}
}

func (c *client) waitsAt(h *host, o *operation) bool {
	for _, open := range h.calls {
		if open == o {
			return true
		}
	}
	return false
}
