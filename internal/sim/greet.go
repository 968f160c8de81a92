package sim

import (
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// hears takes what a save tells of the logs of peers.
func (c *checker) hears(host int, heard []wire.Heard) {
	for _, h := range heard {
		c.heard[host][h.Replica] = max(c.heard[host][h.Replica], h.Group)
	}
}

// greets takes a hello: it tells of the log as it is, and of the peer's what was ever saved of it, or a
// replica with an old copy of its disk is let in (docs/protocol.md, rule S8).
func (c *checker) greets(from, to int, h *wire.Hello) {
	last, heard := c.w.hosts[from].disk.LastGroup(), c.heard[from][c.name(to)]
	if h.Group != last || h.HeardGroup < heard {
		c.w.violated("durability", "r%d greets r%d with group %d, having heard of its group %d; it has saved %d and %d",
			c.name(from), c.name(to), h.Group, h.HeardGroup, last, heard)
	}
}

// A cluster at rest: how long after the end it may still ask, and how long it is watched.
const (
	restGrace = 5 * time.Second
	restWatch = 5 * time.Second
)

// disturbs takes a message of a cluster that may be at rest. Answers may come late, since what they answer
// may have been late; but nobody has anything to ask any more.
func (c *checker) disturbs(e epaxos.Envelope) {
	newest := c.newest().members.Epoch
	if !c.resting || c.w.options.other != nil || !c.votes(hostOf(e.From), newest) || !c.votes(hostOf(e.To), newest) {
		return // to who was removed and has not heard of it, nobody answers
	}
	switch e.Message.(type) {
	case epaxos.PreAccept, epaxos.Accept, epaxos.Recover, epaxos.Validate, epaxos.Waiting, epaxos.Fetch, epaxos.TryRecover:
		// A PreAccept that was very late may have made an instance of a dead replica known just now.
		if c.w.unfinished() == "" {
			c.w.violated("boundedness", "all is decided and executed, and still %s", c.format(e))
		}
	}
}

// rest lets time pass when all is done, in which nobody may ask for anything.
func (w *world) rest() {
	if w.err != nil {
		return
	}
	w.runUntil(w.now + restGrace)
	w.check.resting = true
	w.runUntil(w.now + restWatch)
	if w.unfinished() != "" {
		w.untilDone()
		w.runUntil(w.now + restGrace)
	}
	for i, h := range w.hosts {
		if w.err == nil && w.options.other == nil && w.serves(i) && !h.core.Quiet() {
			w.violated("boundedness", "r%d is not quiet: %+v", replicaOf(i), h.core.Stats())
		}
	}
}
