package execution

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
)

// story drives a graph and writes down what executes, components in brackets. Stories without numbers in
// them are in testdata, as scripts.
type story struct {
	t     *testing.T
	graph *Graph
}

func newStory(t *testing.T) *story { return &story{t: t, graph: NewGraph(threeVoters())} }

func (s *story) learn(replica, slot int, keys ...string) {
	s.graph.Learn(id(replica, slot), writes(keys...))
}

func (s *story) commit(replica, slot int, deps epaxos.Dependencies, keys ...string) {
	s.graph.Commit(id(replica, slot), writes(keys...), deps)
}

// expect compares what executes now with "1.1 [1.2 3.1]".
func (s *story) expect(want string) {
	s.t.Helper()
	var components []string
	for c := s.graph.Next(); c != nil; c = s.graph.Next() {
		var ids []string
		for _, v := range c {
			ids = append(ids, v.ID.String())
		}
		text := strings.Join(ids, " ")
		if len(ids) > 1 {
			text = "[" + text + "]"
		}
		components = append(components, text)
	}
	if got := strings.Join(components, " "); got != want {
		s.t.Errorf("executed %q, want %q", got, want)
	}
}

// TestListForgetsFromTheMiddle: of a list that a search has seen a later part of, what was ordered
// goes out with its low, so that the lows behind it stay those of their own prefixes.
func TestListForgetsFromTheMiddle(t *testing.T) {
	var l slotList
	indexes := []int32{5, 9, 2, 7}
	for i, index := range indexes {
		l.insert(&vertex{id: id(1, 1+i), state: visiting, index: index})
	}
	if v := l.unseen(4, 1); v != nil {
		t.Fatalf("%v not seen", v.id)
	}
	l.remove(l.vertices[1])
	for slot, want := range map[epaxos.Slot]int32{1: 5, 2: 5, 3: 2, 4: 2} {
		if got := l.lowest(slot); got != want {
			t.Errorf("lowest up to slot %d: %d, want %d", slot, got, want)
		}
	}
	l.remove(l.vertices[0])
	if got := l.lowest(2); got != math.MaxInt32 {
		t.Errorf("lowest of nothing: %d", got)
	}
	l.remove(l.vertices[2])
	if got := l.lowest(4); got != 2 || l.highest(4).id.Slot != 3 {
		t.Errorf("lowest of the last one: %d, want 2", got)
	}
}

// TestForeignInstancesAreIgnored: other epochs, other replicas, no slot.
func TestForeignInstancesAreIgnored(t *testing.T) {
	g := NewGraph(threeVoters())
	for _, foreign := range []epaxos.InstanceID{
		{Epoch: 2, Replica: 1, Slot: 1}, {Epoch: 1, Replica: 9, Slot: 1}, {Epoch: 1, Replica: 1},
	} {
		g.Restore(foreign)
		g.Learn(foreign, writes("k"))
		g.Commit(foreign, writes("k"), epaxos.Dependencies{0, 0, 0})
		if g.Next() != nil || g.IsExecuted(foreign) || g.Pending() != 0 {
			t.Errorf("%v was taken in", foreign)
		}
	}
}

// TestMemoryIsReleased over several pages of slots, executed against the order of arrival.
func TestMemoryIsReleased(t *testing.T) {
	const length = 5 * pageSlots
	s := newStory(t)
	for slot := length; slot >= 1; slot-- {
		s.commit(1, slot, epaxos.Dependencies{epaxos.Slot(slot - 1), 0, 0}, "k")
		if slot%7 == 0 {
			s.expect("")
		}
	}
	if n := drain(s.graph); n != length {
		t.Fatalf("%d of %d executed", n, length)
	}
	c := &s.graph.columns[0]
	if c.executed != length || len(c.pages) > 1 || len(s.graph.keys.spaces[0]) != 0 || cap(s.graph.ready) > length {
		t.Errorf("executed %d, %d pages, %d keys kept", c.executed, len(c.pages), len(s.graph.keys.spaces[0]))
	}
	for slot := 1; slot <= length; slot++ {
		if !s.graph.IsExecuted(id(1, slot)) {
			t.Fatalf("1.%d was executed and is not known to be", slot)
		}
	}
	s.commit(1, 3, epaxos.Dependencies{0, 0, 0}, "k")
	s.expect("")
}

// TestRestorePrefix drops what single marks had left below it.
func TestRestorePrefix(t *testing.T) {
	g := NewGraph(threeVoters())
	for _, slot := range []int{1, 2, pageSlots - 1, pageSlots, 3*pageSlots + 1, 3*pageSlots + 3} {
		g.Restore(id(2, slot))
	}
	g.RestorePrefix(epaxos.Dependencies{0, 3 * pageSlots, 0})
	if got := g.Executed(); got[1] != 3*pageSlots+1 || len(g.columns[1].pages) != 1 {
		t.Errorf("executed %v with %d pages", got, len(g.columns[1].pages))
	}
	if !g.IsExecuted(id(2, 3*pageSlots+3)) || g.IsExecuted(id(2, 3*pageSlots+2)) {
		t.Error("marks above the prefix got lost")
	}
}

// TestBlockedIsBounded although a vector may name any number of unknown slots.
func TestBlockedIsBounded(t *testing.T) {
	s := newStory(t)
	s.commit(2, 1, epaxos.Dependencies{1 << 40, 0, 0}, "k")
	s.expect("")
	blocked := s.graph.Blocked()
	if len(blocked) != blockedMax || blocked[0] != id(1, 1) {
		t.Errorf("%d named, from %v on", len(blocked), blocked[0])
	}
}

// TestBacklogIsLinear counts searches: on a hot key where every second command is late, each late one
// causes a bounded number, although thousands wait.
func TestBacklogIsLinear(t *testing.T) {
	const size = 4000
	s := newStory(t)
	for slot := 1; slot <= size; slot++ {
		s.learn(1, slot, "hot")
	}
	for first := 2; first >= 1; first-- {
		for slot := first; slot <= size; slot += 2 {
			s.commit(1, slot, epaxos.Dependencies{epaxos.Slot(slot - 1), 0, 0}, "hot")
			drain(s.graph)
		}
	}
	if s.graph.Pending() != 0 {
		t.Fatalf("%d pending", s.graph.Pending())
	}
	if s.graph.round > 3*size {
		t.Errorf("%d searches for %d commands", s.graph.round, size)
	}
}

// A peer may name any slot: what is listed is looked for where something is known.
func TestExecutedAboveAFarSlot(t *testing.T) {
	m := epaxos.NewMembership(1, 1, 2, 3)
	g := NewGraph(m)
	far := m.ID(1, 1<<61)
	for _, id := range []epaxos.InstanceID{far, m.ID(1, 700), m.ID(1, 3)} {
		g.Commit(id, nil, make(epaxos.Dependencies, 3))
	}
	if got, want := g.ExecutedAbove(), []epaxos.InstanceID{m.ID(1, 3), m.ID(1, 700), far}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}
