package storage

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
)

// replaced is what a key held before a group wrote it. Read from the end, a list of them leads back to
// the state of an earlier group.
type replaced struct {
	group uint64
	key   string
	value []byte
	found bool
}

// forget drops what leads back further than the floor.
func (m *Memory) forget(floor uint64) {
	keep, _ := slices.BinarySearchFunc(m.past, floor+1, func(r replaced, group uint64) int {
		return cmp.Compare(r.group, group)
	})
	m.past = slices.Delete(m.past, 0, keep)
}

// restart is what a process finds: what is held is, what was pinned is not.
func (m *Memory) restart(held uint64) {
	m.holds.restore(m.lastGroup(), held, 0)
	m.forget(m.holds.floor)
}

// Changes implements Versions.
func (m *Memory) Changes(since, at uint64, after []byte, visit func(Write) error) error {
	writes, err := m.changes(since, at, after)
	if err != nil {
		return err
	}
	for _, w := range writes {
		if err := visit(w); err != nil {
			return err
		}
	}
	return nil
}

func (m *Memory) changes(since, at uint64, after []byte) ([]Write, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shut != nil {
		return nil, usable(m.shut)
	}
	m.holds.mu.Lock()
	err := m.holds.check(since, at)
	m.holds.mu.Unlock()
	if err != nil {
		return nil, err
	}
	earlier := map[string]replaced{} // as of at, where it is not as it is now
	var keys []string
	for _, r := range slices.Backward(m.past) {
		if r.group > at {
			earlier[r.key] = r
		}
		if (since == 0) == (r.group > at) && r.group > since {
			keys = append(keys, r.key)
		}
	}
	if since == 0 {
		keys = append(keys, m.keys...)
	}
	slices.Sort(keys)
	var writes []Write
	for _, key := range slices.Compact(keys) {
		if after != nil && key <= string(after) {
			continue
		}
		value, found := m.state[key]
		if r, changed := earlier[key]; changed {
			value, found = r.value, r.found
		}
		if found || since > 0 {
			writes = append(writes, Write{Key: []byte(key), Value: bytes.Clone(value), Delete: !found})
		}
	}
	return writes, nil
}

// memoryPast is an earlier state of a Memory.
type memoryPast struct {
	store *Memory
	group uint64
}

// At implements Versions.
func (m *Memory) At(group uint64) (Past, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shut != nil {
		return nil, usable(m.shut)
	}
	if err := m.holds.pinAt(group); err != nil {
		return nil, err
	}
	return &memoryPast{store: m, group: group}, nil
}

// Get implements Past.
func (p *memoryPast) Get(key []byte) (value []byte, found bool, err error) {
	m := p.store
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shut != nil {
		return nil, false, usable(m.shut)
	}
	if err := m.holds.kept(p.group); err != nil {
		return nil, false, err
	}
	value, found = m.state[string(key)]
	for _, r := range m.past {
		if r.group > p.group && r.key == string(key) { // the first that replaced it
			value, found = r.value, r.found
			break
		}
	}
	return bytes.Clone(value), found, nil
}

// Scan implements Past.
func (p *memoryPast) Scan(from, to []byte, visit func(key, value []byte) error) error {
	return p.store.Changes(0, p.group, nil, func(w Write) error {
		if bytes.Compare(w.Key, from) < 0 || to != nil && bytes.Compare(w.Key, to) >= 0 {
			return nil
		}
		return visit(w.Key, w.Value)
	})
}

// Close implements Past.
func (p *memoryPast) Close() { p.store.Unpin(p.group) }

// Pin implements Versions.
func (m *Memory) Pin() (group uint64) { return m.holds.pin() }

// Unpin implements Versions.
func (m *Memory) Unpin(group uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(m.holds.unpin(group))
}

// Held implements Versions.
func (m *Memory) Held() (group uint64) {
	m.holds.mu.Lock()
	defer m.holds.mu.Unlock()
	return m.holds.held
}

// memoryStaged is a staged state.
type memoryStaged struct {
	note  []byte
	keys  []string // ascending
	state map[string][]byte
}

func (s *memoryStaged) clone() *memoryStaged {
	c := &memoryStaged{note: s.note, keys: slices.Clone(s.keys), state: map[string][]byte{}}
	for _, key := range s.keys {
		c.state[key] = s.state[key]
	}
	return c
}

// Stage implements Staging. It is durable at once.
func (m *Memory) Stage(writes []Write, note []byte) error {
	if err := m.alive(); err != nil {
		return err
	}
	if err := checkStaged(writes, m.opts.ValueBytesMax); err != nil {
		return err
	}
	if limit := m.opts.BatchBytesMax / 4; len(note) > limit {
		return fmt.Errorf("%w: a note has %d of %d bytes", ErrBatchTooLarge, len(note), limit)
	}
	if err := m.room(); err != nil {
		return err
	}
	if m.next != nil {
		return m.fail(fmt.Errorf("storage: stage: %w", m.next))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.staged == nil {
		m.staged = &memoryStaged{state: map[string][]byte{}}
	}
	m.staged.note = append([]byte{}, note...)
	for _, w := range writes {
		key := string(w.Key)
		if at, found := slices.BinarySearch(m.staged.keys, key); !found {
			m.staged.keys = slices.Insert(m.staged.keys, at, key)
		}
		m.staged.state[key] = append([]byte{}, w.Value...)
	}
	return nil
}

// Staged implements Staging.
func (m *Memory) Staged() (note []byte, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shut != nil || m.staged == nil {
		return nil, usable(m.shut)
	}
	return append([]byte{}, m.staged.note...), nil
}

// ScanStaged implements Staging.
func (m *Memory) ScanStaged(after []byte, visit func(key, value []byte) error) error {
	m.mu.Lock()
	var writes []Write
	err := usable(m.shut)
	if err == nil && m.staged != nil {
		for _, key := range m.staged.keys {
			if after != nil && key <= string(after) {
				continue
			}
			writes = append(writes, Write{Key: []byte(key), Value: bytes.Clone(m.staged.state[key])})
		}
	}
	m.mu.Unlock()
	for i := 0; i < len(writes) && err == nil; i++ {
		err = visit(writes[i].Key, writes[i].Value)
	}
	return err
}

// DropStaged implements Staging.
func (m *Memory) DropStaged() error {
	if err := m.alive(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.staged = nil
	return nil
}

// Scrub implements Store.
func (m *Memory) Scrub(from ScrubPosition, budget int) (next ScrubPosition, done bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shut != nil {
		return from, false, usable(m.shut)
	}
	next.group = max(from.group, m.first)
	for budget = max(1, budget); budget > 0; {
		if next.group > m.lastGroup() {
			return ScrubPosition{}, true, nil
		}
		if m.damaged[next.group] {
			return from, false, fmt.Errorf("scrub: %w: group %d does not fit its checksum", ErrDamaged, next.group)
		}
		budget -= 1 + len(m.groups[next.group-m.first])
		next.group++
	}
	return next, false, nil
}
