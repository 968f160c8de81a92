package execution

import (
	"slices"

	"github.com/264bc8cf/epaxos/epaxos"
)

// frame is one step of the depth-first path: a vertex, and how far its dependencies were looked at.
type frame struct {
	v      *vertex
	key    int         // which of its keys,
	track  int         // which track of that key;
	column int         // afterwards, which column of wide vertices,
	slot   epaxos.Slot // and up to which slot
}

// search orders root and everything it depends on, component by component, or, if something is
// missing, lets all that was seen and depends on it wait. It is Tarjan's algorithm with a path of
// its own, since chains get longer than a goroutine's stack should.
func (g *Graph) search(root *vertex) {
	g.round++
	if g.covered(root) {
		g.took(BranchCovered)
		g.stack = append(g.stack, root)
		g.order(0)
		return
	}
	stopped := g.visit(root)
	for !stopped && len(g.path) > 0 {
		next := g.dependency(&g.path[len(g.path)-1])
		switch {
		case next == nil:
			g.leave()
		case g.stuck(next):
			if !next.missing() {
				g.took(BranchWaitStuck)
			}
			g.wait(next)
			stopped = true
		default:
			stopped = g.visit(next)
		}
	}
	g.path = g.path[:0]
}

// covered is the cheap case: all that v may depend on is ordered.
func (g *Graph) covered(v *vertex) bool {
	for i := range g.columns {
		if at(v.deps, i) > g.columns[i].ordered {
			return false
		}
	}
	return true
}

// visit puts a vertex on the path. It reports whether the search stops, because something is missing.
func (g *Graph) visit(v *vertex) (stopped bool) {
	if v.state == waiting {
		g.took(BranchThrough)
	}
	v.state, v.on, v.root = visiting, nil, root{}
	v.index = int32(len(g.stack))
	v.low = v.index
	g.stack = append(g.stack, v)
	g.path = append(g.path, frame{v: v})
	for i := range g.columns {
		if c := &g.columns[i]; at(v.deps, i) > c.known {
			g.took(BranchWaitUnknown)
			c.gaps.push(v.deps[i], v)
			v.gap, v.state = true, waiting
			g.stack = g.stack[:len(g.stack)-1]
			g.wait(v)
			return true
		}
	}
	if missing := g.nearest(v); missing != nil {
		g.took(BranchWaitNearest)
		g.wait(missing)
		return true
	}
	return false
}

// nearest looks at the latest dependency in each track only, and returns one that is stuck. A
// search that always began at the oldest end would let thousands of vertices of a hot key wait for
// the same instance, wake them all when it comes, and find them waiting for the next one.
func (g *Graph) nearest(v *vertex) *vertex {
	for i, k := range v.keys {
		for j := range k.tracks {
			t := &k.tracks[j]
			if t.mode.CommutesWith(v.command.Footprint[i].Mode) {
				continue
			}
			if w := t.highest(at(v.deps, t.column)); w != nil && w != v && g.stuck(w) {
				return w
			}
		}
	}
	return nil
}

// dependency returns a dependency of the last vertex of the path that the search has not seen, nil if
// there is none left. What it has seen lowers the vertex's low.
func (g *Graph) dependency(f *frame) *vertex {
	v := f.v
	for ; f.key < len(v.keys); f.key, f.track = f.key+1, 0 {
		mode := v.command.Footprint[f.key].Mode
		for ; f.track < len(v.keys[f.key].tracks); f.track++ {
			t := &v.keys[f.key].tracks[f.track]
			if t.mode.CommutesWith(mode) {
				g.took(BranchSkipCommuting)
				continue
			}
			limit := at(v.deps, t.column)
			if w := t.unseen(limit, g.round); w != nil {
				return w
			}
			v.low = min(v.low, t.lowest(limit))
		}
	}
	if g.wide == 0 {
		return nil
	}
	return g.wideDependency(f)
}

// wideDependency goes on with the dependencies that no key leads to: the vertices with a wide footprint,
// or, if v has one itself, all.
func (g *Graph) wideDependency(f *frame) *vertex {
	v := f.v
	for ; f.column < len(g.columns); f.column, f.slot = f.column+1, 0 {
		for {
			w := g.candidate(f)
			if w == nil {
				break
			}
			switch {
			case w == v:
			case v.command.Footprint.Interferes(w.command.Footprint):
				g.took(BranchWide)
				if w.state != visiting {
					f.slot = w.id.Slot // its low comes back to v when the search leaves it
					return w
				}
				v.low = min(v.low, w.index)
			default:
				g.took(BranchSkipWide)
			}
			f.slot = w.id.Slot
		}
	}
	return nil
}

// candidate is the next vertex after the frame's slot that may interfere, nil beyond the dependencies.
func (g *Graph) candidate(f *frame) *vertex {
	c := &g.columns[f.column]
	limit := at(f.v.deps, f.column)
	if !f.v.wide {
		if place := c.wide.after(f.slot); place < len(c.wide.vertices) {
			if w := c.wide.vertices[place]; w.id.Slot <= limit {
				return w
			}
		}
		return nil
	}
	for slot := max(f.slot, c.ordered) + 1; slot <= limit; slot++ {
		if w := c.at(slot); w.state < ordered {
			return w
		}
	}
	return nil
}

// leave ends the last vertex of the path. If nothing it reaches was seen earlier, it and what is
// above it on the stack are a component.
func (g *Graph) leave() {
	v := g.path[len(g.path)-1].v
	g.path = g.path[:len(g.path)-1]
	if v.low == v.index {
		if int(v.index) == len(g.stack)-1 {
			g.took(BranchSingle)
		} else {
			g.took(BranchMany)
		}
		g.order(int(v.index))
		return
	}
	parent := g.path[len(g.path)-1].v
	parent.low = min(parent.low, v.low)
}

// order takes the component that begins at a place of the stack out of the graph and makes it ready.
func (g *Graph) order(begin int) {
	component := g.stack[begin:]
	if len(component) > 1 {
		slices.SortFunc(component, func(a, b *vertex) int { return a.id.Compare(b.id) })
	}
	for _, v := range component {
		v.state = ordered
		g.ready = append(g.ready, Vertex{ID: v.id, Command: v.command})
		g.detach(v)
		g.columns[v.column].advance()
	}
	g.sizes = append(g.sizes, len(component))
	for i, v := range component {
		g.wake(v)
		component[i] = nil
	}
	g.stack = g.stack[:begin]
}

// wait makes everything on the stack wait for on, which is stuck. All of it reaches the vertex that
// found on, so none can execute before on has.
func (g *Graph) wait(on *vertex) {
	end := on.root
	if on.missing() {
		end = root{v: on, freed: on.freed}
	}
	if on.state == undecided {
		g.took(BranchWaitUndecided)
	}
	if on.state == undecided && !on.blocker {
		on.blocker = true
		if len(g.blockers) == cap(g.blockers) {
			g.dropDecided()
		}
		g.blockers = append(g.blockers, on)
	}
	for i, v := range g.stack {
		v.state, v.on, v.root = waiting, on, end
		on.waiters = append(on.waiters, v)
		g.stack[i] = nil
	}
	g.stack = g.stack[:0]
}

// wake puts everything that waits for v into the queue.
func (g *Graph) wake(v *vertex) {
	for _, w := range v.waiters {
		if w.state == waiting && w.on == v {
			g.took(BranchTriedAgain)
			w.state, w.on, w.root = queued, nil, root{}
			g.queue.push(w)
		}
	}
	v.waiters = nil
}

// root remembers the missing vertex at the end of a chain. A vertex can be missing twice, first as
// undecided and then for a gap in its own dependencies, and in between who waits for it may turn to
// another: taken for the same, the two would let vertices wait for each other.
type root struct {
	v     *vertex
	freed int
}

// missing reports whether the vertex has been missing all the time since it was remembered.
func (r root) missing() bool { return r.v != nil && r.v.freed == r.freed }

// missing reports whether v cannot execute before the replica hears something.
func (v *vertex) missing() bool { return v.state == undecided || v.gap }

// stuck reports whether v waits, over however many others, for something missing. A waiting vertex
// need not be stuck: what it waits for may be in the queue or in the running search by now, and may
// even depend on it, so the search must go through it.
//
// Waiting vertices form trees: a vertex begins to wait only for a stuck one, whose chain holds none
// of the running search. So the walk ends.
func (g *Graph) stuck(v *vertex) bool {
	g.chain = g.chain[:0]
	for v.free != g.round {
		switch {
		case v.missing():
			g.mark(root{v: v, freed: v.freed})
			return true
		case v.state != waiting:
			g.mark(root{})
			return false
		case v.root.missing():
			g.mark(v.root)
			return true
		}
		g.chain = append(g.chain, v)
		v = v.on
	}
	g.mark(root{})
	return false
}

// mark remembers for all of the walked chain where it ended, so that no part is walked twice.
func (g *Graph) mark(end root) {
	for i, v := range g.chain {
		v.root = end
		if end.v == nil {
			v.free = g.round
		}
		g.chain[i] = nil
	}
}
