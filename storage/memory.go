package storage

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
)

// MemoryOptions configure a Memory. Zero values mean the defaults.
type MemoryOptions struct {
	// BatchBytesMax is what the method of that name tells; by default what a Badger with default options does.
	BatchBytesMax int
	// SaveBytesMax is the largest batch; by default likewise.
	SaveBytesMax int
	// ValueBytesMax is the largest value of the state; by default likewise.
	ValueBytesMax int
}

// Memory is a Store without a disk, for simulation: deterministic, and able to lose what a crash
// would lose and to fail as a disk fails. Unlike other stores it splits a Save, for a crash to fall
// in between: Begin writes, Sync makes durable. What is begun can be read only once it is synced.
//
// One goroutine uses a Memory at a time, but for what the Store's methods say.
type Memory struct {
	opts    MemoryOptions
	begun   []Batch // written, not synced
	damaged map[uint64]bool
	next    error // fails the next Save
	dead    error

	mu     sync.Mutex // lets other goroutines read; the one that saves holds it for writing only
	first  uint64     // the oldest group kept
	groups [][]byte   // group n is at n-first
	keys   []string   // of state, ascending
	state  map[string][]byte
	full   bool
	shut   error // dead, for other goroutines
	holds  holds
	past   []replaced
	staged *memoryStaged // nil if nothing is
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store.
func NewMemory(o MemoryOptions) *Memory {
	if o.BatchBytesMax == 0 {
		o.BatchBytesMax = BatchBytesMax(0)
	}
	if o.SaveBytesMax == 0 {
		o.SaveBytesMax = SaveBytesMax
	}
	if o.ValueBytesMax == 0 {
		o.ValueBytesMax = ValueBytesMax(0)
	}
	return &Memory{opts: o, first: 1, state: map[string][]byte{}, damaged: map[uint64]bool{}}
}

// BatchBytesMax is what Bytes of a batch may be for a store on disk to save it in one transaction.
func (m *Memory) BatchBytesMax() int { return m.opts.BatchBytesMax }

// SaveBytesMax is what Bytes of a batch may be for Save to take it.
func (m *Memory) SaveBytesMax() int { return m.opts.SaveBytesMax }

// Save implements Store.
func (m *Memory) Save(batch Batch) error {
	if err := m.Begin(batch); err != nil {
		return err
	}
	return m.Sync()
}

// Begin writes a batch without making it durable. It fails as Save does.
func (m *Memory) Begin(batch Batch) error {
	if err := m.alive(); err != nil {
		return err
	}
	kept := len(m.groups)
	for i := range m.begun {
		kept += 1 - m.begun[i].DropGroups
	}
	if err := batch.check(limits{m.opts.SaveBytesMax, m.opts.ValueBytesMax}, uint64(kept)); err != nil {
		return err
	}
	if batch.Adopt && !m.adoptable() {
		return ErrNotStaged
	}
	if err := m.room(); err != nil {
		return err
	}
	if m.next != nil {
		return m.fail(fmt.Errorf("storage: save group %d: %w", m.LastGroup()+1, m.next))
	}
	m.begun = append(m.begun, batch.clone())
	return nil
}

// adoptable tells whether something is staged that no batch begun has adopted.
func (m *Memory) adoptable() bool {
	return m.staged != nil && !slices.ContainsFunc(m.begun, func(b Batch) bool { return b.Adopt })
}

func (m *Memory) room() error {
	if m.full {
		return fmt.Errorf("%w: the memory store was told that its disk is full", ErrNoSpace)
	}
	return nil
}

// fail ends the use of the store.
func (m *Memory) fail(err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead, m.shut = err, err
	return err
}

// Sync makes durable what was begun, in order.
func (m *Memory) Sync() error {
	if err := m.alive(); err != nil {
		return err
	}
	m.syncBegun()
	return nil
}

func (m *Memory) syncBegun() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, batch := range m.begun {
		m.groups = append(m.groups[batch.DropGroups:], batch.Group)
		m.first += uint64(batch.DropGroups)
		number := m.lastGroup()
		if batch.Adopt {
			m.keys, m.state = m.staged.keys, m.staged.state
			m.staged, m.past = nil, nil
		}
		for _, w := range batch.Writes {
			m.write(number, w)
		}
		m.forget(m.holds.publish(number, batch, 0))
	}
	m.begun = nil
}

func (m *Memory) write(number uint64, w Write) {
	key := string(w.Key)
	at, found := slices.BinarySearch(m.keys, key)
	m.past = append(m.past, replaced{group: number, key: key, value: m.state[key], found: found})
	switch {
	case w.Delete && found:
		m.keys = slices.Delete(m.keys, at, at+1)
		delete(m.state, key)
	case !w.Delete:
		if !found {
			m.keys = slices.Insert(m.keys, at, key)
		}
		m.state[key] = w.Value
	}
}

// Get implements Store.
func (m *Memory) Get(key []byte) (value []byte, found bool, err error) {
	if err := m.alive(); err != nil {
		return nil, false, err
	}
	value, found = m.state[string(key)]
	return bytes.Clone(value), found, nil
}

// Scan implements Store.
func (m *Memory) Scan(from, to []byte, visit func(key, value []byte) error) error {
	if err := m.alive(); err != nil {
		return err
	}
	at, _ := slices.BinarySearch(m.keys, string(from))
	for _, key := range m.keys[at:] {
		if to != nil && key >= string(to) {
			return nil
		}
		if err := visit([]byte(key), bytes.Clone(m.state[key])); err != nil {
			return err
		}
	}
	return nil
}

// Groups implements Store.
func (m *Memory) Groups(visit func(number uint64, group []byte) error) error {
	if err := m.alive(); err != nil {
		return err
	}
	for i, group := range m.groups {
		number := m.first + uint64(i)
		if m.damaged[number] {
			return fmt.Errorf("%w: group %d does not fit its checksum", ErrDamaged, number)
		}
		if err := visit(number, bytes.Clone(group)); err != nil {
			return err
		}
	}
	return nil
}

// LastGroup implements Store.
func (m *Memory) LastGroup() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lastGroup()
}

func (m *Memory) lastGroup() uint64 { return m.first + uint64(len(m.groups)) - 1 }

// Usage implements Store: sizes without any overhead, and a disk that is either endless or full.
func (m *Memory) Usage() Usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := Usage{GroupFirst: m.first, GroupLast: m.lastGroup(), FreeBytes: math.MaxUint64}
	if m.full {
		u.FreeBytes = 0
	}
	for _, group := range m.groups {
		u.DiskBytes += uint64(len(group))
	}
	for _, key := range m.keys {
		u.DiskBytes += uint64(len(key) + len(m.state[key]))
	}
	return m.holds.usage(u)
}

// Close implements Store. What was begun and not synced is lost, as by Crash.
func (m *Memory) Close() error {
	_ = m.fail(ErrClosed)
	return nil
}

// Crash ends the process that uses the store, and returns the store that its successor finds: all that
// was synced, and what was merely begun if keepBegun, as either may happen. Damage and a full disk stay. The
// store itself answers ErrClosed from now on.
func (m *Memory) Crash(keepBegun bool) *Memory {
	if keepBegun {
		m.syncBegun()
	}
	successor := &Memory{
		opts: m.opts, first: m.first, groups: m.groups, keys: m.keys, state: m.state,
		damaged: m.damaged, full: m.full, staged: m.staged, past: m.past,
	}
	successor.restart(m.holds.held)
	_ = m.fail(ErrClosed)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.groups, m.keys, m.state, m.damaged, m.begun = nil, nil, nil, map[uint64]bool{}, nil
	m.staged, m.past = nil, nil
	return successor
}

// Clone is a copy of what is durable now, as a backup would take it. A replica started from an old
// one has forgotten what came after.
func (m *Memory) Clone() *Memory {
	c := NewMemory(m.opts)
	c.full, c.first = m.full, m.first
	c.keys = slices.Clone(m.keys)
	c.groups = slices.Clone(m.groups) // groups and values are never changed in place
	for _, key := range m.keys {
		c.state[key] = m.state[key]
	}
	c.past = slices.Clone(m.past)
	c.restart(m.holds.held)
	if m.staged != nil {
		c.staged = m.staged.clone()
	}
	for number := m.first; number <= m.LastGroup(); number++ {
		if m.damaged[number] {
			c.damaged[number] = true
		}
	}
	return c
}

// FailNextSave makes the next Save or Begin fail with err, which kills the store as a failed sync does.
func (m *Memory) FailNextSave(err error) {
	if err == nil {
		err = errors.New("injected failure")
	}
	m.next = err
}

// Full makes Save refuse with ErrNoSpace, until called with false.
func (m *Memory) Full(full bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.full = full
}

// Corrupt damages a group: Groups stops there with ErrDamaged, in successors of the store too.
func (m *Memory) Corrupt(number uint64) { m.damaged[number] = true }

func (m *Memory) alive() error { return usable(m.dead) }

// clone copies a batch, since the caller may use its bytes again.
func (b Batch) clone() Batch {
	c := b
	c.Group, c.Writes = bytes.Clone(b.Group), slices.Clone(b.Writes)
	for i := range c.Writes {
		c.Writes[i].Key = bytes.Clone(c.Writes[i].Key)
		c.Writes[i].Value = append([]byte{}, c.Writes[i].Value...)
	}
	return c
}
