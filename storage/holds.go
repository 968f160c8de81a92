package storage

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
)

// holds knows which states must remain readable. Its floor is the oldest group whose state can still be
// read: below it, versions that newer ones replaced may be gone, and what was deleted has left no trace.
// So a floor never goes back, and a state is held or pinned only where the floor has not passed.
type holds struct {
	mu      sync.Mutex
	last    uint64 // the newest group
	held    uint64 // durably, 0 is none
	bytes   uint64 // saved since it is held
	adopted uint64 // the group that put another state in place; older ones are void
	// generation is that of the state keys in force, for those who are not the saver
	generation byte
	floor      uint64
	pins       []pin // ascending by group
}

type pin struct {
	group uint64
	count int
}

// restore begins after a start: whatever lies below what is held may have been discarded.
func (h *holds) restore(last, held uint64, generation byte) {
	h.last, h.held, h.generation = last, held, generation
	h.raise()
}

// publish makes a group the newest, and returns the floor from then on. It comes after the group is durable.
func (h *holds) publish(number uint64, batch Batch, generation byte) (floor uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last, h.generation = number, generation
	h.held = batch.Hold.apply(h.held, number, batch.Adopt)
	h.bytes += uint64(batch.Bytes())
	if h.held == 0 || h.held == number {
		h.bytes = 0
	}
	if batch.Adopt {
		h.adopted = number
	}
	return h.raise()
}

// apply is what is held after a group.
func (a HoldAction) apply(held, number uint64, adopt bool) uint64 {
	switch {
	case a == HoldThis:
		return number
	case a == HoldNone || adopt:
		return 0
	}
	return held
}

// raise lifts the floor to the oldest state that is asked for.
func (h *holds) raise() uint64 {
	to := h.last
	if h.held > 0 {
		to = min(to, h.held)
	}
	for _, p := range h.pins {
		if p.group >= h.adopted {
			to = min(to, p.group)
			break
		}
	}
	h.floor = max(h.floor, to)
	return h.floor
}

func (h *holds) pin() (group uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.pins); n == 0 || h.pins[n-1].group != h.last {
		h.pins = append(h.pins, pin{group: h.last})
	}
	h.pins[len(h.pins)-1].count++
	return h.last
}

// pinAt pins the state of an earlier group, if it can still be read.
func (h *holds) pinAt(group uint64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.check(0, group); err != nil {
		return err
	}
	at, found := h.find(group)
	if !found {
		h.pins = slices.Insert(h.pins, at, pin{group: group})
	}
	h.pins[at].count++
	return nil
}

// find is where the pin of a group is, or belongs.
func (h *holds) find(group uint64) (at int, found bool) {
	return slices.BinarySearchFunc(h.pins, group, func(p pin, group uint64) int { return cmp.Compare(p.group, group) })
}

// kept tells whether a pinned group is still what the store holds: its own goroutine may have adopted another state.
// What was read before the answer is right.
func (h *holds) kept(group uint64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.check(0, group)
}

// unpin takes one pin of a group back, and returns the floor from then on.
func (h *holds) unpin(group uint64) (floor uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, found := h.find(group)
	if !found {
		panic(fmt.Sprintf("storage: group %d is unpinned, but not pinned", group))
	}
	if h.pins[at].count--; h.pins[at].count == 0 {
		h.pins = slices.Delete(h.pins, at, at+1)
	}
	return h.raise()
}

// check tells whether the changes between two groups can be read. The caller holds mu.
func (h *holds) check(since, at uint64) error {
	switch {
	case at > h.last:
		return fmt.Errorf("%w: group %d is asked for, the newest is %d", ErrGone, at, h.last)
	case at < h.floor || at < h.adopted:
		return fmt.Errorf("%w: group %d is asked for, the oldest is %d", ErrGone, at, h.floor)
	case since > at:
		return fmt.Errorf("%w: changes since group %d as of group %d", ErrGone, since, at)
	case since > 0 && since < h.floor:
		return fmt.Errorf("%w: changes since group %d are asked for, the oldest is %d", ErrGone, since, h.floor)
	}
	return nil
}

// usage adds what is held.
func (h *holds) usage(u Usage) Usage {
	h.mu.Lock()
	defer h.mu.Unlock()
	u.Held, u.HeldBytes = h.held, h.bytes
	return u
}
