package execution

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/264bc8cf/epaxos/epaxos"
)

// ErrFootprint means that a state machine touched a key that its Footprint did not name. Replicas
// order commands by their footprints alone, so going on would let them differ.
var ErrFootprint = errors.New("execution: access outside the footprint; fix the state machine's Footprint")

// view is the View of one request: the state within the fence of a footprint.
type view struct {
	state     *State
	machine   StateMachine
	footprint epaxos.Footprint
	points    []epaxos.Access // of a large footprint, by key
	fault     error           // the first one; nothing is read or written after it
}

var _ View = (*view)(nil)

// scanMax is the footprint up to which looking at every entry beats sorting them.
const scanMax = 16

func (v *view) open(m StateMachine, footprint epaxos.Footprint) {
	v.machine = m
	// A command's requests share its footprint, so the sorted form is made once for all of them.
	same := len(v.footprint) == len(footprint) && len(footprint) > 0 && &v.footprint[0] == &footprint[0]
	v.footprint, v.fault = footprint, nil
	if same || len(footprint) <= scanMax {
		return
	}
	v.points = v.points[:0]
	for i := range footprint {
		if footprint[i].Mode != epaxos.Everything && !footprint[i].Range {
			v.points = append(v.points, footprint[i])
		}
	}
	slices.SortFunc(v.points, byName)
}

func byName(a, b epaxos.Access) int {
	return cmp.Or(cmp.Compare(a.Space, b.Space), strings.Compare(a.Key, b.Key))
}

func (v *view) close() error {
	fault := v.fault
	v.fault = errClosed
	return fault
}

var errClosed = errors.New("execution: view used after Apply returned")

func (v *view) Get(key string) (value []byte, found bool) {
	if !v.allow(key, reading) {
		return nil, false
	}
	value, found, err := v.state.Get(epaxos.SpaceState, key)
	if err != nil {
		v.fault = err
	}
	return value, found
}

func (v *view) Put(key string, value []byte) {
	if v.allow(key, writing) {
		v.state.Put(epaxos.SpaceState, key, value)
	}
}

func (v *view) Delete(key string) {
	if v.allow(key, writing) {
		v.state.Delete(epaxos.SpaceState, key)
	}
}

func (v *view) Merge(key string, operand []byte) (ok bool) {
	if !v.allow(key, merging) {
		return false
	}
	m, able := v.machine.(Merger)
	if !able {
		v.fault = fmt.Errorf("merge into key %q: the state machine has no Merge", key)
		return false
	}
	value, found, err := v.state.Get(epaxos.SpaceState, key)
	if err != nil {
		v.fault = err
		return false
	}
	merged, ok, err := m.Merge(value, found, operand)
	switch {
	case err != nil:
		v.fault = fmt.Errorf("merge into key %q: %w", key, err)
		return false
	case ok:
		if v.state.recording {
			v.state.note(key, ChangeMerge, slices.Clone(operand))
		}
		v.state.write(epaxos.SpaceState, key, merged, true)
	}
	return ok
}

func (v *view) Scan(from, to string, visit func(key string, value []byte) bool) {
	if v.fault != nil {
		return
	}
	if !v.spans(from, to) {
		v.fault = fmt.Errorf("scan from key %q to %q: %w", from, to, ErrFootprint)
		return
	}
	if err := v.state.Scan(epaxos.SpaceState, from, to, visit); err != nil && v.fault == nil {
		v.fault = err
	}
}

// spans reports whether one entry of the footprint permits to read all of [from, to).
func (v *view) spans(from, to string) bool {
	for i := range v.footprint {
		switch a := &v.footprint[i]; {
		case a.Mode == epaxos.Everything:
			return true
		case !a.Range || a.Space != epaxos.SpaceState || !reading.within(a.Mode):
		case a.Key <= from && (a.End == "" || to != "" && to <= a.End):
			return true
		}
	}
	return false
}

// act is a way to touch a key.
type act uint8

const (
	reading act = iota
	writing
	merging
)

var actNames = [...]string{reading: "read of", writing: "write to", merging: "merge into"}

// within reports whether a mode permits an act. To read what others may be adding to, in an order that
// replicas do not agree about, would let them differ.
func (a act) within(mode epaxos.Mode) bool {
	switch mode {
	case epaxos.Read:
		return a == reading
	case epaxos.Add:
		return a == merging
	default: // it commutes with nothing
		return true
	}
}

// allow reports whether the footprint permits the access, and records a fault where it does not.
func (v *view) allow(key string, a act) bool {
	if v.fault != nil {
		return false
	}
	if v.permits(epaxos.SpaceState, key, a) {
		return true
	}
	v.fault = fmt.Errorf("%s key %q: %w", actNames[a], key, ErrFootprint)
	return false
}

func (v *view) permits(space epaxos.Space, key string, by act) bool {
	if len(v.footprint) <= scanMax {
		for i := range v.footprint {
			if a := &v.footprint[i]; covers(a, space, key) && by.within(a.Mode) {
				return true
			}
		}
		return false
	}
	at, _ := slices.BinarySearchFunc(v.points, epaxos.Access{Space: space, Key: key}, byName)
	for ; at < len(v.points) && v.points[at].Key == key && v.points[at].Space == space; at++ {
		if by.within(v.points[at].Mode) {
			return true
		}
	}
	for i := range v.footprint {
		a := &v.footprint[i]
		if (a.Range || a.Mode == epaxos.Everything) && covers(a, space, key) && by.within(a.Mode) {
			return true
		}
	}
	return false
}

func covers(a *epaxos.Access, space epaxos.Space, key string) bool {
	switch {
	case a.Mode == epaxos.Everything:
		return true
	case a.Space != space:
		return false
	case !a.Range:
		return a.Key == key
	default:
		return a.Key <= key && (a.End == "" || key < a.End)
	}
}
