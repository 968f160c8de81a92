package deps

import (
	"cmp"
	"slices"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Index is the conflict index of one replica in one epoch. It is not safe for concurrent use.
type Index struct {
	all        []runs  // each column: every instance with a footprint
	everything history // instances that interfere with everything
	spaces     []space // by epaxos.Space
	floor      epaxos.Dependencies
	sweep      cursor
}

var _ epaxos.ConflictIndex = (*Index)(nil)

// cursor is where Forget goes on.
type cursor struct{ space, entry int }

// New returns an empty index for vectors of that many columns, at most epaxos.VotersMax.
func New(columns int) *Index {
	return &Index{all: make([]runs, columns), floor: make(epaxos.Dependencies, columns)}
}

// Insert records the initial footprint of an instance. A repetition changes nothing. The index
// keeps the keys of the footprint.
func (x *Index) Insert(column int, slot epaxos.Slot, footprint epaxos.Footprint) {
	if len(footprint) == 0 || x.floor.Covers(column, slot) {
		return
	}
	x.all[column].add(slot)
	for i := range footprint {
		access := &footprint[i]
		if access.Mode == epaxos.Everything {
			x.everything.record(column, slot, epaxos.Everything)
			continue
		}
		x.space(access.Space).insert(column, slot, access)
	}
}

// Raise raises into, column by column, to the highest inserted instance that interferes with the
// footprint. Where Forget was called it is exact above the forgotten floor; at or below it any value
// up to the floor may show, which the watermark rules of docs/protocol.md make equal on all replicas.
func (x *Index) Raise(footprint epaxos.Footprint, into epaxos.Dependencies) {
	if len(footprint) == 0 {
		return
	}
	x.everything.raise(epaxos.Everything, into)
	for i := range footprint {
		access := &footprint[i]
		if access.Mode == epaxos.Everything {
			for column := range x.all {
				into[column] = max(into[column], x.all[column].top())
			}
			return
		}
		if int(access.Space) < len(x.spaces) {
			x.spaces[access.Space].raise(access, into)
		}
	}
}

// Above returns the inserted instances that interfere with the footprint and are not covered by
// floor, ascending by column, then slot, each once.
func (x *Index) Above(footprint epaxos.Footprint, floor epaxos.Dependencies) []epaxos.Position {
	if len(footprint) == 0 {
		return nil
	}
	found := x.everything.above(epaxos.Everything, floor, nil)
	for i := range footprint {
		access := &footprint[i]
		if access.Mode == epaxos.Everything {
			return x.allAbove(floor)
		}
		if int(access.Space) < len(x.spaces) {
			found = x.spaces[access.Space].above(access, floor, found)
		}
	}
	slices.SortFunc(found, func(a, b epaxos.Position) int {
		return cmp.Or(cmp.Compare(a.Column, b.Column), cmp.Compare(a.Slot, b.Slot))
	})
	return slices.Compact(found)
}

func (x *Index) allAbove(floor epaxos.Dependencies) []epaxos.Position {
	var found []epaxos.Position
	for column := range x.all {
		found = x.all[column].above(column, at(floor, column), found)
	}
	return found
}

// Forget drops instances at or below floor, which must be the replica's truncation vector G and
// never decreases. One call looks at no more than entries keys and ranges, going round, so that the
// cost can be spread over turns; what is left over is dropped by later calls. It reports whether it
// has come round to the first key.
func (x *Index) Forget(floor epaxos.Dependencies, entries int) (round bool) {
	x.floor.Raise(floor)
	for column := range x.all {
		x.all[column].forget(x.floor[column])
	}
	x.everything.forget(x.floor)
	const freeEntries = 64 // that are passed over at the cost of one in use
	for budget := entries * freeEntries; budget > 0; {
		if x.sweep.space >= len(x.spaces) {
			x.sweep = cursor{}
			return true
		}
		s := &x.spaces[x.sweep.space]
		if x.sweep.entry >= s.used {
			x.sweep = cursor{space: x.sweep.space + 1}
			budget--
			continue
		}
		e := s.entry(x.sweep.entry)
		budget--
		if e.inUse() {
			budget -= freeEntries - 1
			s.forget(e, x.floor)
		}
		x.sweep.entry++
	}
	return false
}

// Len is the number of distinct keys and ranges that the index remembers.
func (x *Index) Len() int {
	n := 0
	for i := range x.spaces {
		n += len(x.spaces[i].keys) + len(x.spaces[i].spans)
	}
	return n
}

func (x *Index) space(id epaxos.Space) *space {
	for len(x.spaces) <= int(id) {
		x.spaces = append(x.spaces, newSpace(len(x.all)))
	}
	return &x.spaces[id]
}
