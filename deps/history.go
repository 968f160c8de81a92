package deps

import (
	"math"
	"slices"

	"github.com/264bc8cf/epaxos/epaxos"
)

// history is which instances touched one thing: a key, a range, or everything. Most things are
// touched by one replica in one mode, so the first track needs no allocation.
type history struct {
	first track
	more  []track
}

// track is the slots of one column that touched the thing in one mode.
//
// Invariants: last is the highest slot, 0 only in an unused track; older holds the others,
// ascending and distinct.
type track struct {
	last   epaxos.Slot
	older  []epaxos.Slot
	column uint8
	mode   epaxos.Mode
}

// record adds an instance. Slots come in any order, and more than once.
func (h *history) record(column int, slot epaxos.Slot, mode epaxos.Mode) {
	if h.first.last == 0 {
		h.first = track{last: slot, column: uint8(column), mode: mode}
		return
	}
	if h.first.is(column, mode) {
		h.first.record(slot)
		return
	}
	for i := range h.more {
		if h.more[i].is(column, mode) {
			h.more[i].record(slot)
			return
		}
	}
	h.more = append(h.more, track{last: slot, column: uint8(column), mode: mode})
}

// raise raises into to the highest instances that do not commute with mode.
func (h *history) raise(mode epaxos.Mode, into epaxos.Dependencies) {
	h.first.raise(mode, into)
	for i := range h.more {
		h.more[i].raise(mode, into)
	}
}

// above appends the instances above floor that do not commute with mode.
func (h *history) above(mode epaxos.Mode, floor epaxos.Dependencies, found []epaxos.Position) []epaxos.Position {
	found = h.first.above(mode, floor, found)
	for i := range h.more {
		found = h.more[i].above(mode, floor, found)
	}
	return found
}

// forget drops what floor covers, and reports whether nothing is left.
func (h *history) forget(floor epaxos.Dependencies) (empty bool) {
	kept := h.more[:0]
	for i := range h.more {
		if h.more[i].forget(floor) {
			kept = append(kept, h.more[i])
		}
	}
	clear(h.more[len(kept):])
	h.more = kept
	if h.first.last == 0 || h.first.forget(floor) {
		return h.first.last == 0
	}
	if len(kept) == 0 {
		*h = history{}
		return true
	}
	h.first = kept[len(kept)-1]
	kept[len(kept)-1] = track{}
	h.more = kept[:len(kept)-1]
	return false
}

func (t *track) is(column int, mode epaxos.Mode) bool {
	return int(t.column) == column && t.mode == mode
}

func (t *track) record(slot epaxos.Slot) {
	if slot > t.last {
		t.older = append(t.older, t.last)
		t.last = slot
		return
	}
	if slot == t.last {
		return
	}
	if at, known := slices.BinarySearch(t.older, slot); !known {
		t.older = slices.Insert(t.older, at, slot)
	}
}

func (t *track) raise(mode epaxos.Mode, into epaxos.Dependencies) {
	if t.last > 0 && t.last > into[t.column] && !t.mode.CommutesWith(mode) {
		into[t.column] = t.last
	}
}

func (t *track) above(mode epaxos.Mode, floor epaxos.Dependencies, found []epaxos.Position) []epaxos.Position {
	column := int(t.column)
	if t.last <= at(floor, column) || t.mode.CommutesWith(mode) {
		return found
	}
	from, _ := slices.BinarySearch(t.older, at(floor, column)+1)
	for _, slot := range t.older[from:] {
		found = append(found, epaxos.Position{Column: column, Slot: slot})
	}
	return append(found, epaxos.Position{Column: column, Slot: t.last})
}

// forget drops the covered slots, and reports whether any is left.
func (t *track) forget(floor epaxos.Dependencies) bool {
	covered := at(floor, int(t.column))
	if t.last <= covered {
		return false
	}
	if len(t.older) > 0 && t.older[0] <= covered {
		from, _ := slices.BinarySearch(t.older, covered+1)
		t.older = t.older[from:] // the memory in front goes when the list grows next
	}
	return true
}

// at is a column of a vector; a vector that is too short, or nil, covers nothing.
func at(vector epaxos.Dependencies, column int) epaxos.Slot {
	if column < len(vector) {
		return vector[column]
	}
	return 0
}

// runs is a set of slots of one column. Slots are dense, so however many instances there are, the
// runs are few.
//
// Invariant: ascending, disjoint, and no two runs adjacent.
type runs []run

type run struct{ from, to epaxos.Slot }

func (r *runs) add(slot epaxos.Slot) {
	all := *r
	// after is the first run that does not lie wholly below slot-1: the one that slot may extend.
	after := len(all)
	for after > 0 && all[after-1].to+1 >= slot {
		after--
	}
	switch {
	case after == len(all):
		*r = append(all, run{from: slot, to: slot})
	case all[after].from <= slot:
		if all[after].to < slot {
			all[after].to = slot
			r.join(after)
		}
	case all[after].from == slot+1:
		all[after].from = slot
	default:
		*r = slices.Insert(all, after, run{from: slot, to: slot})
	}
}

// join merges run i with the next one if they have become adjacent.
func (r *runs) join(i int) {
	all := *r
	if i+1 < len(all) && all[i].to+1 == all[i+1].from {
		all[i].to = all[i+1].to
		*r = slices.Delete(all, i+1, i+2)
	}
}

func (r runs) top() epaxos.Slot {
	if len(r) == 0 {
		return 0
	}
	return r[len(r)-1].to
}

func (r runs) above(column int, floor epaxos.Slot, found []epaxos.Position) []epaxos.Position {
	first, _ := slices.BinarySearchFunc(r, floor, func(one run, floor epaxos.Slot) int {
		if one.to <= floor {
			return -1
		}
		return 1
	})
	for _, one := range r[first:] {
		for slot := max(one.from, floor+1); slot <= one.to && slot < math.MaxUint64; slot++ {
			found = append(found, epaxos.Position{Column: column, Slot: slot})
		}
	}
	return found
}

func (r *runs) forget(floor epaxos.Slot) {
	all := *r
	gone := 0
	for gone < len(all) && all[gone].to <= floor {
		gone++
	}
	all = slices.Delete(all, 0, gone)
	if len(all) > 0 {
		all[0].from = max(all[0].from, floor+1)
	}
	*r = all
}
