package deps

import (
	"slices"

	"github.com/264bc8cf/epaxos/epaxos"
)

// chunkEntries is the size at which a chunk is split in two.
const chunkEntries = 512

// ordered is a two-level tree of entries: chunks in order, entries in order inside each.
type ordered struct {
	chunks  []*chunk
	columns int
	points  bool // all entries are points, so that a key belongs to one chunk only
}

// chunk is a run of neighbouring entries.
//
// Invariants: entries is ascending and not empty. tops and reach are at least what the entries
// have; entries that were removed may have left more, which costs a look and changes no answer
// above the forgotten floor.
type chunk struct {
	entries   []*entry
	tops      []epaxos.Slot // highest slot by mode and column
	reach     string        // no entry goes beyond it,
	unbounded bool          // unless one has no upper bound
}

// modesMax is one more than the highest mode that touches keys.
const modesMax = int(epaxos.Add) + 1

// build replaces the content by the entries, which are in no order yet.
func (o *ordered) build(entries []*entry) {
	slices.SortFunc(entries, (*entry).compare)
	o.chunks = nil
	for part := range slices.Chunk(entries, chunkEntries/2) {
		// Grown by add later, so every chunk needs memory of its own.
		o.chunks = append(o.chunks, o.newChunk(slices.Clone(part)))
	}
}

// add puts a new entry in its place.
func (o *ordered) add(e *entry) {
	if len(o.chunks) == 0 {
		o.chunks = []*chunk{o.newChunk([]*entry{e})}
		return
	}
	at := o.chunkOf(e)
	c := o.chunks[at]
	place, _ := slices.BinarySearchFunc(c.entries, e, (*entry).compare)
	c.entries = slices.Insert(c.entries, place, e)
	c.extend(e)
	if len(c.entries) < chunkEntries {
		return
	}
	half := len(c.entries) / 2
	right := o.newChunk(slices.Clone(c.entries[half:]))
	o.chunks[at] = o.newChunk(slices.Clone(c.entries[:half]))
	o.chunks = slices.Insert(o.chunks, at+1, right)
}

// remove takes an entry out.
func (o *ordered) remove(e *entry) {
	at := o.chunkOf(e)
	c := o.chunks[at]
	place, found := slices.BinarySearchFunc(c.entries, e, (*entry).compare)
	if !found {
		panic("deps: an indexed entry is missing from its chunk")
	}
	c.entries = slices.Delete(c.entries, place, place+1)
	if len(c.entries) == 0 {
		o.chunks = slices.Delete(o.chunks, at, at+1)
	}
}

// record raises the maxima of the chunk that holds e.
func (o *ordered) record(e *entry, column int, slot epaxos.Slot, mode epaxos.Mode) {
	top := &o.chunks[o.chunkOf(e)].tops[modeOf(mode)*o.columns+column]
	*top = max(*top, slot)
}

// raise raises into to the highest instances of entries that overlap the access.
func (o *ordered) raise(access *epaxos.Access, into epaxos.Dependencies) {
	for _, c := range o.chunks[o.start(access):] {
		if past(access, c.entries[0].key) {
			return
		}
		if !c.reaches(access.Key) || !c.above(access.Mode, into) {
			continue
		}
		if c.within(access) {
			c.raise(access.Mode, into)
			continue
		}
		for _, e := range c.entries {
			if e.overlaps(access) {
				e.raise(access.Mode, into)
			}
		}
	}
}

// above appends the instances above floor of entries that overlap the access.
func (o *ordered) above(
	access *epaxos.Access, floor epaxos.Dependencies, found []epaxos.Position,
) []epaxos.Position {
	for _, c := range o.chunks[o.start(access):] {
		if past(access, c.entries[0].key) {
			break
		}
		if !c.reaches(access.Key) || !c.above(access.Mode, floor) {
			continue
		}
		for _, e := range c.entries {
			if e.overlaps(access) {
				found = e.history.above(access.Mode, floor, found)
			}
		}
	}
	return found
}

// start is the first chunk that may overlap the access. A range may reach over any number of
// chunks from the left, so among ranges it is the very first.
func (o *ordered) start(access *epaxos.Access) int {
	if !o.points {
		return 0
	}
	at, _ := slices.BinarySearchFunc(o.chunks, access.Key, func(c *chunk, key string) int {
		if c.entries[len(c.entries)-1].key < key {
			return -1
		}
		return 1
	})
	return at
}

// chunkOf is the chunk that holds e, or must take it.
func (o *ordered) chunkOf(e *entry) int {
	after, _ := slices.BinarySearchFunc(o.chunks, e, func(c *chunk, e *entry) int {
		if c.entries[0].compare(e) <= 0 {
			return -1
		}
		return 1
	})
	return max(after-1, 0)
}

func (o *ordered) newChunk(entries []*entry) *chunk {
	c := &chunk{entries: entries, tops: make([]epaxos.Slot, modesMax*o.columns)}
	for _, e := range entries {
		c.extend(e)
	}
	return c
}

// extend makes reach and tops cover an entry.
func (c *chunk) extend(e *entry) {
	switch {
	case e.end == nil:
		c.reach = max(c.reach, e.key)
	case *e.end == "":
		c.unbounded = true
	default:
		c.reach = max(c.reach, *e.end)
	}
	c.extendTops(&e.first)
	for i := range e.more {
		c.extendTops(&e.more[i])
	}
}

func (c *chunk) extendTops(t *track) {
	if t.last > 0 {
		top := &c.tops[modeOf(t.mode)*(len(c.tops)/modesMax)+int(t.column)]
		*top = max(*top, t.last)
	}
}

// modeOf folds a mode this program does not know into Write, which commutes with nothing either.
func modeOf(mode epaxos.Mode) int {
	if int(mode) >= modesMax {
		return int(epaxos.Write)
	}
	return int(mode)
}

// reaches reports whether some entry may go up to key or beyond.
func (c *chunk) reaches(key string) bool { return c.unbounded || c.reach >= key }

// within reports whether every entry overlaps the access, because all begin inside it.
func (c *chunk) within(access *epaxos.Access) bool {
	return access.Range && c.entries[0].key >= access.Key && !past(access, c.entries[len(c.entries)-1].key)
}

// above reports whether some entry may have an instance above floor that does not commute with mode.
func (c *chunk) above(mode epaxos.Mode, floor epaxos.Dependencies) bool {
	columns := len(c.tops) / modesMax
	for i, top := range c.tops {
		if top > at(floor, i%columns) && !epaxos.Mode(i/columns).CommutesWith(mode) {
			return true
		}
	}
	return false
}

func (c *chunk) raise(mode epaxos.Mode, into epaxos.Dependencies) {
	columns := len(c.tops) / modesMax
	for i, top := range c.tops {
		if top > into[i%columns] && !epaxos.Mode(i/columns).CommutesWith(mode) {
			into[i%columns] = top
		}
	}
}
