package sim

import (
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Barriers, and cuts that are named: behind each every replica holds the same state, byte for byte, and who answers
// the barrier has kept just that state.

// barred asks for a barrier at times.
func (c *client) barred(i int) {
	w := c.w
	if c.rush != nil || c.account == nil || c.account.rand.IntN(80) > 0 {
		return
	}
	control := wire.Control{Kind: wire.ControlBarrier}
	if c.account.rand.IntN(2) == 0 {
		control = wire.Control{Kind: wire.ControlCut, TTL: 1 + c.account.rand.Uint64N(2000)}
	}
	w.seq++
	id := epaxos.ProposalID(w.seq) //nolint:gosec // small
	request := epaxos.Request{Payload: wire.AppendControl(nil, &control)}
	if w.hosts[i].node.Propose(w.local(i), id, request, control.Footprint()) == nil {
		w.hosts[i].barriers[id] = true
	}
}

// divided takes the answer to a barrier, and lets go of what was kept for it.
func (w *world) divided(i int, a *node.Answer) {
	if a.Void || a.Unknown {
		return
	}
	w.report.Barriers++
	if a.Cut == 0 {
		return
	}
	h := w.hosts[i]
	past, err := h.disk.memory.At(a.Cut)
	if err != nil {
		w.violated("durability", "r%d answers a barrier with group %d, whose state is gone: %v", replicaOf(i), a.Cut, err)
		return
	}
	kept := stateOn(past)
	past.Close()
	h.disk.memory.Unpin(a.Cut)
	if !w.check.behinds[kept] {
		w.violated("order", "r%d answers a barrier with group %d, whose state is that behind no barrier", replicaOf(i), a.Cut)
	}
}

// stateOn is the state of the machine, as a store or an earlier state of one has it.
func stateOn(saved execution.Reader) (state fingerprint) {
	//nolint:errcheck // the visitor returns none and a memory store has none of its own
	saved.Scan([]byte{byte(epaxos.SpaceState)}, []byte{byte(epaxos.SpaceState) + 1}, func(key, value []byte) error {
		state.addBytes(key[1:])
		state.addBytes(value)
		return nil
	})
	return state
}

// behindEnd takes in the state at the end of an epoch, which lies behind a barrier if there was one in the component
// that ended it. The books compare it with what other replicas hold there.
func (c *checker) behindEnd(host int) {
	h := c.w.hosts[host]
	if h.order != nil && !h.order.bar.IsZero() { // books are also tested without one
		c.behinds[stateOn(h.disk.memory)] = true
	}
}

// behind looks at the state behind a component with a barrier, before anything else is executed.
func (c *checker) behind(host int, at epaxos.InstanceID) {
	h := c.w.hosts[host]
	if at.IsZero() || h.node == nil {
		return
	}
	var now fingerprint
	err := h.node.State().Scan(epaxos.SpaceState, "", "", func(key string, value []byte) bool {
		now.addBytes([]byte(key))
		now.addBytes(value)
		return true
	})
	if err != nil {
		c.w.violated("integrity", "the state of r%d: %v", c.name(host), err)
		return
	}
	first, known := c.divides[at]
	if !known {
		c.divides[at], c.behinds[now] = now, true
		return
	}
	if first != now {
		c.w.violated("order", "r%d holds another state behind barrier %v than others", c.name(host), at)
	}
}
