package execution

import (
	"math"
	"slices"
	"sort"

	"github.com/264bc8cf/epaxos/epaxos"
)

// keyTable finds the unexecuted vertices that touch a key. Vertices with a range or everything
// access are not in it.
type keyTable struct {
	spaces []map[string]*key // by epaxos.Space
	free   []*key            // memory of keys that nobody touches any more
}

// key is one key that unexecuted vertices touch.
type key struct {
	name   string
	space  epaxos.Space
	tracks []track
	live   int // entries in tracks
}

// track is the vertices of one column that touch a key in one mode.
type track struct {
	column int
	mode   epaxos.Mode
	slotList
}

const (
	freeKeysMax  = 4096 // keys kept for the next ones
	freeTrackMax = 64   // memory for vertices that such a key may keep in a track
)

func (t *keyTable) attach(v *vertex, access *epaxos.Access) *key {
	for len(t.spaces) <= int(access.Space) {
		t.spaces = append(t.spaces, make(map[string]*key))
	}
	k := t.spaces[access.Space][access.Key]
	if k == nil {
		k = t.allocate()
		k.name, k.space = access.Key, access.Space
		t.spaces[access.Space][access.Key] = k
	}
	if k.track(v.column, access.Mode).insert(v) {
		k.live++
	}
	return k
}

// find returns the key of an access, nil if no unexecuted vertex touches it.
func (t *keyTable) find(access *epaxos.Access) *key {
	if int(access.Space) >= len(t.spaces) {
		return nil
	}
	return t.spaces[access.Space][access.Key]
}

func (t *keyTable) detach(v *vertex, k *key, access *epaxos.Access) {
	if !k.track(v.column, access.Mode).remove(v) {
		return // the footprint names the key twice in one mode
	}
	if k.live--; k.live > 0 {
		return
	}
	delete(t.spaces[k.space], k.name)
	k.name = ""
	if len(t.free) < freeKeysMax {
		t.free = append(t.free, k)
	}
}

func (t *keyTable) allocate() *key {
	n := len(t.free)
	if n == 0 {
		return &key{}
	}
	k := t.free[n-1]
	t.free = t.free[:n-1]
	for i := range k.tracks {
		if cap(k.tracks[i].vertices) > freeTrackMax {
			k.tracks[i].slotList = slotList{}
		}
	}
	// The tracks stay within the capacity, with the memory of their lists.
	k.tracks = k.tracks[:0]
	return k
}

// track finds or makes the list of a column and mode.
func (k *key) track(column int, mode epaxos.Mode) *track {
	for i := range k.tracks {
		if k.tracks[i].column == column && k.tracks[i].mode == mode {
			return &k.tracks[i]
		}
	}
	if n := len(k.tracks); n < cap(k.tracks) {
		k.tracks = k.tracks[:n+1]
	} else {
		k.tracks = append(k.tracks, track{})
	}
	t := &k.tracks[len(k.tracks)-1]
	t.column, t.mode = column, mode
	return t
}

// slotList is vertices of one column, ascending by slot. A search keeps its place in it, so that
// all vertices of one component together pass it once: a dependency vector names a prefix of the
// list, and of a prefix that was seen only the lowest index on the stack matters.
//
// Invariants: the list is vertices[head:]. While round is the running search's, all vertices before
// visited are on its stack, and lows[i-base] is the lowest index among those in [head, i].
type slotList struct {
	vertices []*vertex
	head     int

	round   uint64
	visited int
	base    int
	lows    []int32
}

// insert adds a vertex, and reports whether it was missing.
func (l *slotList) insert(v *vertex) bool {
	if l.head > 16 && l.head > len(l.vertices)/2 {
		n := copy(l.vertices, l.vertices[l.head:])
		clear(l.vertices[n:])
		l.vertices, l.head = l.vertices[:n], 0
	}
	l.start(0) // positions move: the place of an earlier search is void
	n := len(l.vertices)
	if n == l.head || l.vertices[n-1].id.Slot < v.id.Slot {
		l.vertices = append(l.vertices, v)
		return true
	}
	place := l.after(v.id.Slot - 1)
	if l.vertices[place] == v {
		return false
	}
	l.vertices = slices.Insert(l.vertices, place, v)
	return true
}

// remove takes a vertex out, and reports whether it was there.
func (l *slotList) remove(v *vertex) bool {
	place := l.after(v.id.Slot - 1)
	if place == len(l.vertices) || l.vertices[place] != v {
		return false
	}
	switch {
	case place > l.head:
		l.vertices = slices.Delete(l.vertices, place, place+1)
		if place < l.visited {
			l.lows = slices.Delete(l.lows, place-l.base, place-l.base+1)
			l.visited--
		}
	case len(l.vertices) == l.head+1:
		l.vertices[l.head] = nil
		l.vertices, l.head = l.vertices[:0], 0
		l.start(l.round)
	default:
		l.vertices[l.head] = nil
		l.head++
	}
	return true
}

// after is the position of the first vertex above a slot.
func (l *slotList) after(slot epaxos.Slot) int {
	live := l.vertices[l.head:]
	if n := len(live); n == 0 || live[n-1].id.Slot <= slot {
		return len(l.vertices)
	}
	return l.head + sort.Search(len(live), func(i int) bool { return live[i].id.Slot > slot })
}

// start begins a search's way through the list.
func (l *slotList) start(round uint64) {
	l.round, l.visited, l.base, l.lows = round, l.head, l.head, l.lows[:0]
}

// unseen returns the lowest vertex up to a slot that is not on the stack of the search, nil if all are.
func (l *slotList) unseen(upTo epaxos.Slot, round uint64) *vertex {
	if l.round != round || l.visited < l.head { // new here, or all that was seen has been ordered
		l.start(round)
	}
	for l.visited < len(l.vertices) {
		v := l.vertices[l.visited]
		if v.id.Slot > upTo {
			return nil
		}
		if v.state != visiting {
			return v
		}
		low := v.index
		if l.visited > l.head {
			low = min(low, l.lows[l.visited-1-l.base])
		}
		l.lows = append(l.lows, low)
		l.visited++
	}
	return nil
}

// lowest is the lowest index on the stack among the vertices up to a slot, all of which were seen.
func (l *slotList) lowest(upTo epaxos.Slot) int32 {
	end := l.visited
	if end > l.head && l.vertices[end-1].id.Slot > upTo {
		end = l.after(upTo)
	}
	if end <= l.head {
		return math.MaxInt32
	}
	return l.lows[end-1-l.base]
}

// highest is the highest vertex up to a slot, nil if there is none.
func (l *slotList) highest(upTo epaxos.Slot) *vertex {
	if end := l.after(upTo); end > l.head {
		return l.vertices[end-1]
	}
	return nil
}
