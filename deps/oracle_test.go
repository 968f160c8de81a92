package deps

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/epaxos"
)

// oracle is the obviously right index: a list of everything inserted.
type oracle struct {
	inserted []inserted
}

type inserted struct {
	epaxos.Position
	footprint epaxos.Footprint
}

func (o *oracle) Insert(column int, slot epaxos.Slot, footprint epaxos.Footprint) {
	o.inserted = append(o.inserted, inserted{epaxos.Position{Column: column, Slot: slot}, footprint})
}

func (o *oracle) Raise(footprint epaxos.Footprint, into epaxos.Dependencies) {
	for _, i := range o.inserted {
		if i.footprint.Interferes(footprint) {
			into[i.Column] = max(into[i.Column], i.Slot)
		}
	}
}

func (o *oracle) Above(footprint epaxos.Footprint, floor epaxos.Dependencies) []epaxos.Position {
	var found []epaxos.Position
	for _, i := range o.inserted {
		if i.footprint.Interferes(footprint) && !floor.Covers(i.Column, i.Slot) {
			found = append(found, i.Position)
		}
	}
	slices.SortFunc(found, func(a, b epaxos.Position) int {
		return cmp.Or(cmp.Compare(a.Column, b.Column), cmp.Compare(a.Slot, b.Slot))
	})
	return slices.Compact(found)
}

const testColumns = 3

// generator draws footprints over few keys, so that they meet.
type generator struct {
	keys   int
	ranges bool
}

func (g generator) access(t *rapid.T) epaxos.Access {
	a := epaxos.Access{
		Mode:  rapid.SampledFrom([]epaxos.Mode{epaxos.Read, epaxos.Write, epaxos.Add}).Draw(t, "mode"),
		Space: rapid.SampledFrom([]epaxos.Space{epaxos.SpaceState, epaxos.SpaceSession}).Draw(t, "space"),
		Key:   g.key(t),
	}
	if g.ranges && rapid.IntRange(0, 3).Draw(t, "range") == 0 {
		a.Range, a.End = true, g.key(t)
	}
	if g.ranges && rapid.IntRange(0, 30).Draw(t, "everything") == 0 {
		a = epaxos.Access{Mode: epaxos.Everything}
	}
	return a
}

// key may be empty: the first of all keys, and as an end, no bound.
func (g generator) key(t *rapid.T) string {
	n := rapid.IntRange(0, g.keys).Draw(t, "key")
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%04d", n)
}

func (g generator) footprint(t *rapid.T) epaxos.Footprint {
	return rapid.SliceOfN(rapid.Custom(g.access), 0, 4).Draw(t, "footprint")
}

func slotsUpTo(t *rapid.T, highest int) epaxos.Dependencies {
	vector := make(epaxos.Dependencies, testColumns)
	for i := range vector {
		vector[i] = epaxos.Slot(rapid.IntRange(0, highest).Draw(t, "slot"))
	}
	return vector
}

// TestIndexAgreesWithTheOracle is I1 and I2: whatever was inserted, in whatever order of slots and
// however often, both answers are those of the compatibility table over the whole list.
func TestIndexAgreesWithTheOracle(t *testing.T) {
	for _, g := range []generator{{keys: 4}, {keys: 4, ranges: true}, {keys: 40, ranges: true}} {
		t.Run(fmt.Sprintf("keys=%d ranges=%t", g.keys, g.ranges), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { checkAgainstOracle(t, g) })
		})
	}
}

func checkAgainstOracle(t *rapid.T, g generator) {
	index, slow := New(testColumns), &oracle{}
	footprints := make(map[epaxos.Position]epaxos.Footprint)
	for range rapid.IntRange(1, 60).Draw(t, "steps") {
		if rapid.IntRange(0, 2).Draw(t, "act") > 0 {
			p := epaxos.Position{
				Column: rapid.IntRange(0, testColumns-1).Draw(t, "column"),
				Slot:   epaxos.Slot(rapid.IntRange(1, 30).Draw(t, "slot")),
			}
			footprint, known := footprints[p]
			if !known {
				footprint = g.footprint(t)
				footprints[p] = footprint
			}
			index.Insert(p.Column, p.Slot, footprint)
			slow.Insert(p.Column, p.Slot, footprint)
			continue
		}
		compareAnswers(t, index, slow, g.footprint(t), slotsUpTo(t, 30))
		compareAbove(t, index, slow, g.footprint(t), nil)
	}
}

func compareAnswers(t *rapid.T, index *Index, slow *oracle, footprint epaxos.Footprint, floor epaxos.Dependencies) {
	got, want := floor.Clone(), floor.Clone()
	index.Raise(footprint, got)
	slow.Raise(footprint, want)
	if !got.Equal(want) {
		t.Fatalf("raise %v by %v: got %v, want %v", floor, footprint, got, want)
	}
	compareAbove(t, index, slow, footprint, floor)
}

func compareAbove(t *rapid.T, index *Index, slow *oracle, footprint epaxos.Footprint, floor epaxos.Dependencies) {
	above, wanted := index.Above(footprint, floor), slow.Above(footprint, floor)
	if !slices.Equal(above, wanted) {
		t.Fatalf("above %v of %v: got %.999v, want %.999v", floor, footprint, above, wanted)
	}
}

// TestForgetChangesNothingAboveTheFloor: an index that has forgotten gives, raised to the floor,
// the same vectors as one that has not, and the same instances above it.
func TestForgetChangesNothingAboveTheFloor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := generator{keys: 12, ranges: true}
		index, slow := New(testColumns), &oracle{}
		floor := make(epaxos.Dependencies, testColumns)
		next := make([]epaxos.Slot, testColumns)
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "act") {
			case 0:
				for i := range floor {
					floor[i] = max(floor[i], epaxos.Slot(rapid.IntRange(0, int(next[i])).Draw(t, "floor")))
				}
				index.Forget(floor, rapid.IntRange(0, 600).Draw(t, "entries"))
			case 1:
				compareAnswers(t, index, slow, g.footprint(t), raised(floor, slotsUpTo(t, 30)))
			default:
				column := rapid.IntRange(0, testColumns-1).Draw(t, "column")
				next[column]++
				footprint := g.footprint(t)
				index.Insert(column, next[column], footprint)
				slow.Insert(column, next[column], footprint)
			}
		}
		forgetAll(index, next)
		if n := index.Len(); n != 0 {
			t.Fatalf("%d keys remembered after everything was forgotten", n)
		}
	})
}

// forgetAll ends the round under way and goes once round.
func forgetAll(index *Index, floor epaxos.Dependencies) {
	for range 2 {
		for !index.Forget(floor, 100) {
			continue
		}
	}
}

func raised(a, b epaxos.Dependencies) epaxos.Dependencies {
	a = a.Clone()
	a.Raise(b)
	return a
}

// TestManyKeysUnderRanges makes chunks split, fill and empty, which few keys never do.
func TestManyKeysUnderRanges(t *testing.T) {
	const keys = 3 * chunkEntries
	for _, early := range []bool{true, false} {
		t.Run(fmt.Sprintf("ordered from the start=%t", early), func(t *testing.T) {
			index, slow := New(testColumns), &oracle{}
			if early {
				index.Above(epaxos.Footprint{{Mode: epaxos.Read, Range: true}}, nil)
			}
			for i := range keys {
				key := fmt.Sprintf("%04d", i*7919%keys)
				footprint := epaxos.Footprint{{Mode: epaxos.Mode(1 + i%3), Key: key}}
				if i%5 == 0 {
					footprint[0].Range, footprint[0].End = true, fmt.Sprintf("%04d", i*7919%keys+i%9)
				}
				index.Insert(i%testColumns, epaxos.Slot(1+i/testColumns), footprint)
				slow.Insert(i%testColumns, epaxos.Slot(1+i/testColumns), footprint)
			}
			floor := epaxos.Dependencies{keys / 5, keys / 6, 0}
			index.Forget(floor, 10*keys)
			rapid.Check(t, func(t *rapid.T) {
				g := generator{keys: keys, ranges: true}
				compareAnswers(t, index, slow, g.footprint(t), raised(floor, slotsUpTo(t, keys/testColumns)))
			})
		})
	}
}
