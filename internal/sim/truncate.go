package sim

import (
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// What replicas may forget, and what their logs must still say after the beginning was deleted
// (docs/protocol.md, rules K3 to K7).

// executedByAll is where visibility may fail: all replicas have executed the instance durably before the
// other one was decided (rule K4).
func (c *checker) executedByAll(id epaxos.InstanceID) bool {
	column, votes := c.w.members.Column(id.Replica)
	for _, h := range c.effects.hosts {
		if !votes || !h.prefix.Covers(column, id.Slot) {
			return false
		}
	}
	return true
}

// covered reports whether every replica has executed everything up to a vector durably.
func (c *checker) covered(vector epaxos.Dependencies) bool {
	for _, h := range c.effects.hosts {
		if !h.prefix.CoversAll(vector) {
			return false
		}
	}
	return true
}

func (c *checker) unsupportedGossip(host int, m *epaxos.Gossip) string {
	switch {
	case !c.effects.hosts[host].prefix.CoversAll(m.Executed):
		return "it was not executed durably so far"
	case !c.covered(m.Stable):
		return "not all have executed what it calls stable"
	}
	return ""
}

// truncates takes a group with which older ones are deleted.
func (c *checker) truncates(host int, g *wire.Group, dropped int) *Violation {
	c.w.report.Dropped += dropped
	switch {
	case dropped > 0 != (g.Truncated != nil):
		return found("durability", "r%d deletes %d groups and says that %v is truncated", c.name(host), dropped, g.Truncated)
	case !c.covered(g.Truncated):
		return found("durability", "r%d forgets %v, which some have not executed durably", c.name(host), g.Truncated)
	}
	return nil
}

// newlyExecuted is what a group says was executed beyond what the log before it says. The group of a
// deletion says everything once more, as a prefix and the marks above it.
func newlyExecuted(h *hostEffects, m epaxos.Membership, g *wire.Group) []epaxos.InstanceID {
	if g.Truncated == nil {
		return g.Executed
	}
	var fresh []epaxos.InstanceID
	for column, top := range g.Prefix {
		for slot := h.prefix[column] + 1; slot <= top; slot++ {
			if id := m.ID(column, slot); !h.marked[id] {
				fresh = append(fresh, id)
			}
		}
	}
	for _, id := range g.Executed {
		if !h.marked[id] {
			fresh = append(fresh, id)
		}
	}
	return fresh
}

// read takes the marks of the next group of a log.
func (h *hostEffects) read(m epaxos.Membership, g *wire.Group) {
	for _, id := range newlyExecuted(h, m, g) {
		h.enter(m, mark{id: id})
	}
	if g.Truncated != nil {
		h.truncated = g.Truncated
	}
}

// kept compares what a log still says with what was durable: all marks are there, and above what was
// truncated every record is whole.
func (c *checker) kept(host int, before map[epaxos.InstanceID]epaxos.Record, log *hostEffects) *Violation {
	for _, id := range c.effects.hosts[host].order {
		if !log.marked[id] {
			return found("durability", "r%d has lost the mark that it executed %v", c.name(host), id)
		}
	}
	m := c.w.members
	var lost *epaxos.Record
	for id, old := range before {
		// Ranging over a map: of several the least is told, so that a seed tells the same.
		column, _ := m.Column(id.Replica)
		now := c.durable[host][id]
		whole := now.Phase >= old.Phase && !now.Promised.Less(old.Promised) && !now.Accepted.Less(old.Accepted) &&
			(now.Command != nil || old.Command == nil) && (now.Initial != nil || old.Initial == nil)
		if !whole && !log.truncated.Covers(column, id.Slot) && (lost == nil || id.Compare(lost.ID) < 0) {
			lost = &old
		}
	}
	if lost == nil {
		return nil
	}
	return found("durability", "r%d had %v on its disk, and has now %v", c.name(host),
		m.FormatRecord(c.name(host), *lost), m.FormatRecord(c.name(host), c.durable[host][lost.ID]))
}

// remembers compares what a log still says of the peers' logs with what it said before.
func (c *checker) remembers(host int, heard map[epaxos.ReplicaID]uint64) *Violation {
	for _, id := range c.w.members.Voters {
		if now := c.heard[host][id]; now < heard[id] {
			return found("durability", "r%d has heard of group %d of r%d, and now of %d", c.name(host), heard[id], id, now)
		}
	}
	return nil
}

// forgotten checks a replica after a rest of seconds, in which all have told how far they are: nothing is
// kept of what was executed, but for a log that is not worth a deletion.
func (c *checker) forgotten(host int) *Violation {
	for _, h := range c.w.hosts {
		if h.gone {
			return nil // all wait for it
		}
	}
	h := c.w.hosts[host]
	w, usage := h.core.Watermarks(), h.disk.memory.Usage()
	setting := c.w.setup.compaction
	most := uint64(setting.Groups + 2*setting.Segment + 2) //nolint:gosec // small
	if kept := usage.GroupLast + 1 - usage.GroupFirst; !w.Truncated.Equal(h.core.Tops()) || kept > most {
		return found("boundedness", "r%d rests with %v truncated of %v, and keeps %d groups, at most %d", c.name(host),
			w.Truncated, h.core.Tops(), kept, most)
	}
	return nil
}
