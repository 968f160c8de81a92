package execution

import "github.com/264bc8cf/epaxos/epaxos"

// Passed reports whether everything up to a vector that interferes with a footprint is known and executed. It
// tells nothing while Next has more to hand out. It takes time in proportion to the footprint and the
// commands with a range or everything access that are pending, not to the rest.
func (g *Graph) Passed(footprint epaxos.Footprint, upTo epaxos.Dependencies) bool {
	behind := false
	for i := range g.columns {
		c, limit := &g.columns[i], at(upTo, i)
		if limit > c.known {
			return false // what an unknown slot holds may interfere
		}
		behind = behind || limit > c.executed
		if !behind || g.wide == 0 {
			continue
		}
		for _, v := range c.wide.vertices[c.wide.head:] {
			if v.id.Slot <= limit && v.command.Footprint.Interferes(footprint) {
				return false
			}
		}
	}
	if !behind {
		return true
	}
	if isWide(footprint) {
		return g.passedWide(footprint, upTo)
	}
	for i := range footprint {
		k := g.keys.find(&footprint[i])
		if k == nil {
			continue
		}
		for j := range k.tracks {
			t := &k.tracks[j]
			if t.mode.CommutesWith(footprint[i].Mode) || t.head == len(t.vertices) {
				continue
			}
			if t.vertices[t.head].id.Slot <= at(upTo, t.column) {
				return false
			}
		}
	}
	return true
}

// passedWide looks at every command that is pending: no key leads to what interferes with a range.
func (g *Graph) passedWide(footprint epaxos.Footprint, upTo epaxos.Dependencies) bool {
	for i := range g.columns {
		c := &g.columns[i]
		for slot := c.executed + 1; slot <= at(upTo, i); slot++ {
			if v := c.at(slot); v.state < done && v.command.Footprint.Interferes(footprint) {
				return false
			}
		}
	}
	return true
}
