package experiment

import (
	"math/rand/v2"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/paxos"
)

// chaos is what tests add to a run: faults of the network and of replicas, and checks. A nil chaos adds
// nothing.
type chaos struct {
	rand      *rand.Rand
	until     time.Duration
	loss      float64 // shares
	twice     float64
	late      time.Duration // a frame takes up to so much longer, and others overtake it
	parted    func(now time.Duration, from, to int) bool
	now       func() time.Duration
	config    func(*paxos.Config)
	onDecide  func(h *host, d paxos.Decision)
	onApply   func(h *host, x paxos.Execution)
	onCommit  func(epaxos.Decision)
	onAnswer  func(now time.Duration, c *call, result []byte)
	onAbandon func(c *call)
}

// carries takes a frame over, to lose, repeat or delay it.
func (c *chaos) carries(w *world, from, to int, at time.Duration, frame []any) bool {
	if c == nil || w.now >= c.until {
		return false
	}
	if c.cut(from, to) || c.rand.Float64() < c.loss {
		return true
	}
	copies := 1
	if c.rand.Float64() < c.twice {
		copies = 2
	}
	for range copies {
		late := time.Duration(c.rand.Float64() * c.rand.Float64() * float64(c.late))
		w.events.push(at+late, func() { w.deliver(from, to, frame) })
	}
	return true
}

func (c *chaos) cut(from, to int) bool {
	return c != nil && c.parted != nil && c.parted(c.now(), from, to)
}

func (c *chaos) adjust(config *paxos.Config) {
	if c != nil && c.config != nil {
		c.config(config)
	}
}

func (c *chaos) watch(l *logged, h *host) {
	if c != nil {
		l.decided = func(d paxos.Decision) { c.onDecide(h, d) }
		l.applied = func(x paxos.Execution) { c.onApply(h, x) }
	}
}

func (c *chaos) watchDecisions(e *egalitarian) {
	if c != nil {
		e.decided = c.onCommit
	}
}

func (c *chaos) answered(now time.Duration, call *call, result []byte) {
	if c != nil {
		c.onAnswer(now, call, result)
	}
}

func (c *chaos) abandoned(call *call) {
	if c != nil {
		c.onAbandon(call)
	}
}
