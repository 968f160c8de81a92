package epaxos_test

import "hash/maphash"

// visited is a set of 128-bit hashes without the cost of a Go map: 256 tables with open addressing, each of
// which grows by itself, so that no moment needs twice the memory.
type visited struct {
	seeds  [2]maphash.Seed
	tables [256]hashTable
	count  int
}

type hashTable struct {
	slots [][2]uint64 // zero is free
	used  int
}

func newVisited() *visited {
	return &visited{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
}

func (v *visited) hash(state []byte) [2]uint64 {
	return [2]uint64{maphash.Bytes(v.seeds[0], state) | 1, maphash.Bytes(v.seeds[1], state)}
}

// add reports whether the state is new.
func (v *visited) add(state []byte) bool {
	h := v.hash(state)
	t := &v.tables[h[1]&255]
	if 4*t.used >= 3*len(t.slots) {
		t.grow()
	}
	at := t.find(h)
	if t.slots[at] == h {
		return false
	}
	t.slots[at] = h
	t.used++
	v.count++
	return true
}

func (t *hashTable) find(h [2]uint64) int {
	mask := len(t.slots) - 1
	at := int(h[0]>>8) & mask
	for t.slots[at] != h && t.slots[at] != [2]uint64{} {
		at = (at + 1) & mask
	}
	return at
}

func (t *hashTable) grow() {
	old := t.slots
	t.slots = make([][2]uint64, max(256, 2*len(old)))
	for _, h := range old {
		if h != ([2]uint64{}) {
			t.slots[t.find(h)] = h
		}
	}
}

// bytes is the memory in use.
func (v *visited) bytes() int {
	n := 0
	for i := range v.tables {
		n += 16 * len(v.tables[i].slots)
	}
	return n
}

// queue holds states of one depth, in order, in chunks that are given back once they are read.
type queue struct {
	chunks [][]byte
	count  int
}

const chunkBytes = 1 << 20

// push appends a state behind its length.
func (q *queue) push(state []byte) {
	last := len(q.chunks) - 1
	if last < 0 || len(q.chunks[last])+len(state)+2 > chunkBytes {
		q.chunks = append(q.chunks, make([]byte, 0, chunkBytes))
		last++
	}
	q.chunks[last] = append(q.chunks[last], byte(len(state)), byte(len(state)>>8))
	q.chunks[last] = append(q.chunks[last], state...)
	q.count++
}

// drain hands out all states in order, until take returns false.
func (q *queue) drain(take func(state []byte) bool) bool {
	for i, chunk := range q.chunks {
		for len(chunk) > 0 {
			n := int(chunk[0]) | int(chunk[1])<<8
			if !take(chunk[2 : 2+n]) {
				return false
			}
			chunk = chunk[2+n:]
		}
		q.chunks[i] = nil
	}
	return true
}

func (q *queue) bytes() int { return len(q.chunks) * chunkBytes }

// lineage remembers how each state was found first: from which state, by which input.
type lineage struct {
	parents [][]uint32
	inputs  [][]inputID
	count   int
}

const lineageChunk = 1 << 18

func (l *lineage) add(parent int, by inputID) {
	if l.count%lineageChunk == 0 {
		l.parents = append(l.parents, make([]uint32, lineageChunk))
		l.inputs = append(l.inputs, make([]inputID, lineageChunk))
	}
	l.parents[l.count/lineageChunk][l.count%lineageChunk] = uint32(parent)
	l.inputs[l.count/lineageChunk][l.count%lineageChunk] = by
	l.count++
}

func (l *lineage) of(state int) (int, inputID) {
	return int(l.parents[state/lineageChunk][state%lineageChunk]), l.inputs[state/lineageChunk][state%lineageChunk]
}

func (l *lineage) bytes() int { return 6 * lineageChunk * len(l.parents) }
