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
	m := c.of(id.Epoch)
	column, votes := m.Column(id.Replica)
	for _, voter := range m.Voters {
		executed := c.progressOf(hostOf(voter), id.Epoch)
		if !votes || executed == nil || !executed.Covers(column, id.Slot) {
			return false
		}
	}
	return true
}

// covered reports whether every voter of an epoch has executed everything up to a vector durably.
func (c *checker) covered(e epaxos.Epoch, vector epaxos.Dependencies) bool {
	none := make(epaxos.Dependencies, len(vector))
	for _, voter := range c.of(e).Voters {
		executed := c.progressOf(hostOf(voter), e)
		if executed == nil {
			executed = none
		}
		if !executed.CoversAll(vector) {
			return false
		}
	}
	return true
}

func (c *checker) unsupportedGossip(host int, m *epaxos.Gossip) string {
	switch executed := c.progressOf(host, m.Epoch); {
	case !executed.CoversAll(m.Executed):
		return "executed durably so far is " + c.of(m.Epoch).FormatDeps(executed)
	case !c.covered(m.Epoch, m.Stable):
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
	case g.Truncated != nil && (g.Epoch != c.epochs[host] || !c.covered(g.Epoch, g.Truncated)):
		return found("durability", "r%d forgets %v, which some have not executed durably", c.name(host), g.Truncated)
	}
	return nil
}

// newlyExecuted is what a group says was executed beyond what the log before it says. The group of a
// deletion says everything once more, as a prefix and the marks above it.
func newlyExecuted(h *hostEffects, g *wire.Group) []epaxos.InstanceID {
	m := h.members
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

// read takes the marks of the next group of a log, those of one epoch.
func (h *hostEffects) read(g *wire.Group) {
	if g.Truncated != nil && g.Epoch != h.members.Epoch {
		return
	}
	for _, id := range newlyExecuted(h, g) {
		if id.Epoch == h.members.Epoch {
			h.enter(mark{id: id})
		}
	}
	if g.Truncated != nil {
		h.truncated = g.Truncated
	}
}

// kept compares what a log still says with what was durable: all marks are there, and above what was
// truncated every record is whole.
func (c *checker) kept(host int, before map[epaxos.InstanceID]epaxos.Record, log *hostEffects) *Violation {
	for _, id := range c.effects.at(host).order {
		if !log.marked[id] {
			return found("durability", "r%d has lost the mark that it executed %v", c.name(host), id)
		}
	}
	m := log.members
	var lost *epaxos.Record
	for id, old := range before {
		// Ranging over a map: of several the least is told, so that a seed tells the same.
		column, _ := m.Column(id.Replica)
		now := c.durable[host][id]
		whole := now.Phase >= old.Phase && !now.Promised.Less(old.Promised) && !now.Accepted.Less(old.Accepted) &&
			(now.Command != nil || old.Command == nil) && (now.Initial != nil || old.Initial == nil)
		if !whole && id.Epoch == m.Epoch && !log.truncated.Covers(column, id.Slot) &&
			(lost == nil || id.Compare(lost.ID) < 0) {
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
	for _, id := range c.of(c.epochs[host]).Voters {
		if now := c.heard[host][id]; now < heard[id] {
			return found("durability", "r%d has heard of group %d of r%d, and now of %d", c.name(host), heard[id], id, now)
		}
	}
	return nil
}

// released checks that nobody keeps the state with which the epoch began, once all its voters have begun (rule M9).
func (c *checker) released(host int) *Violation {
	for _, voter := range c.newest().members.Voters {
		if !c.w.serves(hostOf(voter)) {
			return nil
		}
	}
	if group := c.w.hosts[host].disk.Held(); group != 0 {
		return found("boundedness", "r%d still holds the state of group %d, with which its epoch began", c.name(host), group)
	}
	return nil
}

// forgotten checks a replica after a rest of seconds, in which all have told how far they are: nothing is
// kept of what was executed, but for a log that is not worth a deletion.
func (c *checker) forgotten(host int) *Violation {
	for _, voter := range c.newest().members.Voters {
		if c.w.hosts[hostOf(voter)].gone {
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
