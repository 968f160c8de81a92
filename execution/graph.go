package execution

import (
	"slices"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Vertex is a command in its place in the order.
type Vertex struct {
	ID      epaxos.InstanceID
	Command *epaxos.Command
}

// Graph turns the committed instances of one epoch into an order of execution, in which any two
// interfering commands stand alike on every replica. It is not safe for concurrent use, does no
// I/O, and keeps memory only for what is known and not executed.
//
// Instances of another epoch, or of a replica that does not vote in this one, are ignored.
type Graph struct {
	membership epaxos.Membership
	columns    []column
	keys       keyTable
	wide       int // known unexecuted vertices with a range or everything access

	queue    fifo      // decided vertices to try
	blockers []*vertex // undecided vertices that some vertex waits for; may hold decided ones
	pending  int

	ready []Vertex // ordered, not yet handed out
	sizes []int    // of the components in ready, from next on
	next  int
	taken []epaxos.InstanceID

	round uint64    // number of the search; what a search leaves in a vertex is void in the next
	path  []frame   // the depth-first path of the running search
	stack []*vertex // vertices seen by it whose component is not complete
	chain []*vertex // scratch of stuck

	branches Branches
}

// vertex is a known instance that was not executed yet.
type vertex struct {
	id      epaxos.InstanceID
	column  int
	command *epaxos.Command
	deps    epaxos.Dependencies
	keys    []*key  // one for each access; nil if wide
	inline  [3]*key // memory of keys for small footprints
	state   state
	wide    bool // has a range or everything access
	gap     bool // waits for an unknown slot of some column
	blocker bool // stands in Graph.blockers

	on      *vertex   // what it waits for, while state is waiting and gap is not set
	root    root      // the end of that chain when last looked at
	waiters []*vertex // may hold vertices that no longer wait for this one
	free    uint64    // the round in which this waiting vertex was found not to be stuck

	freed int // how often it has stopped being missing

	index, low int32 // of the running search
}

type state uint8

const (
	undecided state = iota + 1 // known by Learn only
	queued                     // decided, to be tried
	visiting                   // on the stack of the running search
	waiting                    // decided, and something it depends on is missing
	ordered                    // in ready
	done                       // executed, or a no-op
)

// executed stands in a column for every executed instance and every no-op.
var executed = &vertex{state: done}

// NewGraph returns a graph that has executed nothing.
func NewGraph(m epaxos.Membership) *Graph {
	g := &Graph{membership: m, columns: make([]column, m.N())}
	for i := range g.columns {
		g.columns[i].pages = make(map[epaxos.Slot]*page)
	}
	return g
}

// Restore marks an instance as executed before a restart. It must come before Learn and Commit of
// the instance, in any order among themselves.
func (g *Graph) Restore(id epaxos.InstanceID) {
	column, ok := g.place(id)
	if !ok {
		return
	}
	c := &g.columns[column]
	if c.at(id.Slot) == nil {
		g.took(BranchRestored)
		c.set(id.Slot, executed)
		c.last = max(c.last, id.Slot)
		g.advance(c)
	}
}

// RestorePrefix marks every instance at or below the vector as executed, as Restore would one by one.
func (g *Graph) RestorePrefix(prefix epaxos.Dependencies) {
	for i := range g.columns {
		if i < len(prefix) {
			if prefix[i] > g.columns[i].executed {
				g.took(BranchRestoredPrefix)
			}
			g.columns[i].skip(prefix[i])
			g.advance(&g.columns[i])
		}
	}
}

// Learn tells the initial command of an instance that need not be decided yet. A repetition
// changes nothing.
func (g *Graph) Learn(id epaxos.InstanceID, cmd *epaxos.Command) {
	column, ok := g.place(id)
	if !ok || cmd == nil {
		return
	}
	if g.columns[column].at(id.Slot) != nil {
		g.took(BranchLearnAgain)
		return
	}
	g.add(&vertex{id: id, column: column, command: cmd, state: undecided})
}

// Commit tells the decision of an instance; a nil command is a no-op. A repetition changes nothing.
func (g *Graph) Commit(id epaxos.InstanceID, cmd *epaxos.Command, deps epaxos.Dependencies) {
	column, ok := g.place(id)
	if !ok {
		return
	}
	v := g.columns[column].at(id.Slot)
	if v != nil && v.state != undecided {
		g.took(BranchCommitAgain)
		return
	}
	if cmd == nil {
		g.skip(id, column, v)
		return
	}
	if v == nil {
		g.took(BranchCommitUnknown)
		v = &vertex{id: id, column: column, command: cmd, state: undecided}
		g.add(v)
	}
	v.deps, v.state = deps, queued
	v.freed++
	g.pending++
	// Who waits for it goes on waiting: nothing has changed for them before it executes.
	g.queue.push(v)
}

// Next returns the next component that can execute, in its order of execution and without no-ops,
// and marks its instances as executed; nil if nothing can execute now. The caller owns the slice.
func (g *Graph) Next() []Vertex {
	for g.next == len(g.sizes) {
		v := g.queue.pop()
		if v == nil {
			return nil
		}
		if v.state == queued {
			g.search(v)
		}
	}
	n := g.sizes[g.next]
	component := g.ready[:n:n]
	g.ready, g.next = g.ready[n:], g.next+1
	if g.next == len(g.sizes) {
		g.ready, g.sizes, g.next = nil, g.sizes[:0], 0
	}
	g.pending -= n
	for i := range component {
		id := component[i].ID
		column, _ := g.place(id)
		c := &g.columns[column]
		c.set(id.Slot, executed)
		c.last = max(c.last, id.Slot)
		g.advance(c)
		g.taken = append(g.taken, id)
	}
	return component
}

// TakeExecuted returns the instances, no-ops too, that have become executed since it was last
// called, in that order. The caller owns the slice.
func (g *Graph) TakeExecuted() []epaxos.InstanceID {
	taken := g.taken
	g.taken = nil
	return taken
}

// Executed returns the vector below which everything is executed. The caller owns it.
func (g *Graph) Executed() epaxos.Dependencies {
	prefix := make(epaxos.Dependencies, len(g.columns))
	for i := range g.columns {
		prefix[i] = g.columns[i].executed
	}
	return prefix
}

// ExecutedTops returns the highest executed slot of each column. The caller owns it.
func (g *Graph) ExecutedTops() epaxos.Dependencies {
	tops := g.Executed()
	for i := range tops {
		tops[i] = max(tops[i], g.columns[i].last)
	}
	return tops
}

// ExecutedAbove returns the executed instances above Executed, no-ops too, ascending in each column.
func (g *Graph) ExecutedAbove() []epaxos.InstanceID {
	var above []epaxos.InstanceID
	for i := range g.columns {
		c := &g.columns[i]
		for _, number := range c.pageNumbers() {
			for offset, v := range c.pages[number] {
				slot := number*pageSlots + epaxos.Slot(offset)
				if v == executed && slot > c.executed {
					above = append(above, g.membership.ID(i, slot))
				}
			}
		}
	}
	return above
}

// IsExecuted reports whether an instance was executed, or is a no-op.
func (g *Graph) IsExecuted(id epaxos.InstanceID) bool {
	column, ok := g.place(id)
	return ok && g.columns[column].at(id.Slot) == executed
}

// Pending is the number of commands that are committed and not executed.
func (g *Graph) Pending() int { return g.pending }

// blockedMax bounds the unknown instances of one column that Blocked names.
const blockedMax = 1024

// Blocked returns the unknown or undecided instances that committed ones wait for now, ascending
// and distinct: what to fetch, or else to recover, first. A committed instance counts for one of
// the things it waits for, so others may show up once those are known. Of a long run of unknown
// slots only the first are named.
func (g *Graph) Blocked() []epaxos.InstanceID {
	var blocked []epaxos.InstanceID
	g.dropDecided()
	for _, v := range g.blockers {
		blocked = append(blocked, v.id)
	}
	for i := range g.columns {
		c := &g.columns[i]
		named := 0
		for slot := c.known + 1; slot <= c.needed() && named < blockedMax; slot++ {
			if c.at(slot) == nil {
				blocked = append(blocked, g.membership.ID(i, slot))
				named++
			}
		}
	}
	slices.SortFunc(blocked, epaxos.InstanceID.Compare)
	return blocked
}

// dropDecided removes the blockers that block no more.
func (g *Graph) dropDecided() {
	g.blockers = slices.DeleteFunc(g.blockers, func(v *vertex) bool { return v.state != undecided })
}

// place is the column of an instance; false for one that this graph does not order.
func (g *Graph) place(id epaxos.InstanceID) (column int, ok bool) {
	if id.Epoch != g.membership.Epoch || id.Slot == 0 {
		return 0, false
	}
	return g.membership.Column(id.Replica)
}

// add makes an instance known.
func (g *Graph) add(v *vertex) {
	c := &g.columns[v.column]
	c.set(v.id.Slot, v)
	g.attach(v)
	g.advance(c)
}

// skip takes a no-op out of the order: nothing depends on it, and it depends on nothing.
func (g *Graph) skip(id epaxos.InstanceID, column int, known *vertex) {
	c := &g.columns[column]
	c.set(id.Slot, executed)
	if known == nil {
		g.took(BranchNoOpUnknown)
	} else {
		g.took(BranchNoOpKnown)
		known.state = done
		known.freed++
		g.detach(known)
		g.wake(known)
	}
	g.advance(c)
	g.taken = append(g.taken, id)
}

// advance moves the prefixes of a column on, and lets go who waited for its unknown slots.
func (g *Graph) advance(c *column) {
	c.advance()
	for {
		v := c.gaps.pop(c.known)
		if v == nil {
			return
		}
		v.gap, v.state = false, queued
		v.freed++
		g.queue.push(v)
	}
}

// attach makes a vertex visible to the vertices that may depend on it.
func (g *Graph) attach(v *vertex) {
	v.wide = isWide(v.command.Footprint)
	if v.wide {
		g.wide++
		g.columns[v.column].wide.insert(v)
		return
	}
	v.keys = v.inline[:0]
	for i := range v.command.Footprint {
		v.keys = append(v.keys, g.keys.attach(v, &v.command.Footprint[i]))
	}
}

// detach is the opposite of attach.
func (g *Graph) detach(v *vertex) {
	if v.wide {
		g.wide--
		g.columns[v.column].wide.remove(v)
		return
	}
	for i := range v.keys {
		g.keys.detach(v, v.keys[i], &v.command.Footprint[i])
	}
	v.keys = nil
}

func isWide(footprint epaxos.Footprint) bool {
	for i := range footprint {
		if footprint[i].Range || footprint[i].Mode == epaxos.Everything {
			return true
		}
	}
	return false
}

// at is a column of a vector; a vector that is too short, or nil, names nothing.
func at(vector epaxos.Dependencies, column int) epaxos.Slot {
	if column < len(vector) {
		return vector[column]
	}
	return 0
}
