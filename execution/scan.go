package execution

import (
	"container/heap"
	"errors"
	"fmt"

	"github.com/264bc8cf/epaxos/epaxos"
)

// errScanned ends a scan of the store early, without a fault.
var errScanned = errors.New("enough was read")

// Scan calls visit for every key of a space in [from, to), ascending, until it returns false; an empty to is
// no bound. Values are valid during the call, and must not be changed; visit must not change the state.
//
// It merges the saved keys with those that were written since. These are few, and in no order: each scan
// looks at all of them, and brings in order those that it gets to. It leaves the cache alone, so that one
// long range does not push out what is hot.
func (s *State) Scan(space epaxos.Space, from, to string, visit func(key string, value []byte) bool) error {
	first, last := string([]byte{byte(space)})+from, string([]byte{byte(space)})+to
	if to == "" {
		last = string([]byte{byte(space) + 1})
	}
	over := s.unsaved(first, last)
	// before visits what was written below a key, and reports whether to go on.
	before := func(key string) bool {
		for len(over) > 0 && over[0].key < key {
			c := heap.Pop(&over).(*cell)
			if c.found && !visit(c.key[1:], c.value) {
				return false
			}
		}
		return true
	}
	err := s.reader.Scan([]byte(first), []byte(last), func(saved, value []byte) error {
		key := string(saved)
		if !before(key) {
			return errScanned
		}
		if len(over) > 0 && over[0].key == key {
			return nil // it was written since: its turn comes
		}
		if !visit(key[1:], value) {
			return errScanned
		}
		return nil
	})
	switch {
	case errors.Is(err, errScanned):
		return nil
	case err != nil:
		return fmt.Errorf("read the keys from %q on: %w", from, err)
	}
	before(last)
	return nil
}

// unsaved is the cells of [first, last), as storage keys, that the store does not hold as they are now.
func (s *State) unsaved(first, last string) cellHeap {
	var over cellHeap
	for _, c := range s.dirty {
		if first <= c.key && c.key < last {
			over = append(over, c)
		}
	}
	for _, c := range s.taken {
		if !c.dirty && first <= c.key && c.key < last { // a dirty one is among those above
			over = append(over, c)
		}
	}
	heap.Init(&over)
	return over
}

// cellHeap is cells for container/heap, the lowest key first.
type cellHeap []*cell

func (h cellHeap) Len() int           { return len(h) }
func (h cellHeap) Less(i, j int) bool { return h[i].key < h[j].key }
func (h cellHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *cellHeap) Push(c any)        { *h = append(*h, c.(*cell)) }

func (h *cellHeap) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	*h = (*h)[:last]
	return c
}
