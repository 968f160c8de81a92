package execution

import (
	"slices"

	"github.com/264bc8cf/epaxos/epaxos"
)

// pageSlots is how many slots share an allocation.
const pageSlots = 256

// page holds the vertices of neighbouring slots; nil is an unknown instance.
type page [pageSlots]*vertex

// column is the instances of one replica.
//
// Invariants: everything at or below known is known, at or below ordered is ordered or executed, at
// or below executed is executed, each up to the first slot that is not; executed <= ordered <=
// known. Pages exist only where they hold a known slot above executed.
type column struct {
	pages    map[epaxos.Slot]*page
	executed epaxos.Slot
	ordered  epaxos.Slot
	known    epaxos.Slot
	top      epaxos.Slot // the highest slot ever set
	last     epaxos.Slot // the highest slot executed, but for prefixes restored as a whole
	wide     slotList    // unexecuted vertices with a range or everything access
	gaps     gapHeap     // vertices that wait for unknown slots of this column
}

// at returns the vertex of a slot, executed for an executed one, nil for an unknown one.
func (c *column) at(slot epaxos.Slot) *vertex {
	if slot <= c.executed {
		return executed
	}
	p := c.pages[slot/pageSlots]
	if p == nil {
		return nil
	}
	return p[slot%pageSlots]
}

func (c *column) set(slot epaxos.Slot, v *vertex) {
	c.top = max(c.top, slot)
	p := c.pages[slot/pageSlots]
	if p == nil {
		p = new(page)
		c.pages[slot/pageSlots] = p
	}
	p[slot%pageSlots] = v
}

// pageNumbers lists the pages, ascending: there are few, however far apart the slots are that peers name.
func (c *column) pageNumbers() []epaxos.Slot {
	numbers := make([]epaxos.Slot, 0, len(c.pages))
	//lint:ordered they are sorted below
	for number := range c.pages {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	return numbers
}

// advance moves the three prefixes as far as they go.
func (c *column) advance() {
	for v := c.at(c.known + 1); v != nil; v = c.at(c.known + 1) {
		c.known++
	}
	for c.ordered < c.known && c.at(c.ordered+1).state >= ordered {
		c.ordered++
	}
	for c.executed < c.ordered && c.at(c.executed+1) == executed {
		c.executed++
		if c.executed%pageSlots == pageSlots-1 {
			delete(c.pages, c.executed/pageSlots)
		}
	}
}

// skip marks everything up to slot as executed.
func (c *column) skip(slot epaxos.Slot) {
	if slot <= c.executed {
		return
	}
	for number := c.executed / pageSlots; number < (slot+1)/pageSlots && len(c.pages) > 0; number++ {
		delete(c.pages, number)
	}
	c.executed = slot
	c.ordered = max(c.ordered, slot)
	c.known = max(c.known, slot)
}

// needed is the highest slot that some vertex waits to become known.
func (c *column) needed() epaxos.Slot {
	var highest epaxos.Slot
	for i := range c.gaps {
		highest = max(highest, c.gaps[i].slot)
	}
	return highest
}

// gapHeap is a binary heap, the lowest slot first.
type gapHeap []gap

// gap is a vertex that waits until everything up to a slot is known.
type gap struct {
	slot epaxos.Slot
	v    *vertex
}

func (h *gapHeap) push(slot epaxos.Slot, v *vertex) {
	*h = append(*h, gap{slot: slot, v: v})
	all := *h
	for i := len(all) - 1; i > 0; {
		parent := (i - 1) / 2
		if all[parent].slot <= all[i].slot {
			return
		}
		all[parent], all[i] = all[i], all[parent]
		i = parent
	}
}

// pop removes a vertex that waits for no slot above known, and returns nil if there is none.
func (h *gapHeap) pop(known epaxos.Slot) *vertex {
	all := *h
	if len(all) == 0 || all[0].slot > known {
		return nil
	}
	v := all[0].v
	last := len(all) - 1
	all[0], all[last] = all[last], gap{}
	all = all[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if all[child].slot < all[least].slot {
				least = child
			}
		}
		if least == i {
			break
		}
		all[least], all[i] = all[i], all[least]
		i = least
	}
	*h = all
	return v
}

// fifo is a queue of vertices.
type fifo struct {
	items []*vertex
	head  int
}

func (q *fifo) push(v *vertex) {
	if q.head > 64 && q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, v)
}

// pop returns the oldest vertex, nil if there is none.
func (q *fifo) pop() *vertex {
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
		return nil
	}
	v := q.items[q.head]
	q.items[q.head] = nil
	q.head++
	return v
}
