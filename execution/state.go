package execution

import (
	"fmt"
	"slices"
	"strings"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Reader is the saved state; storage.Store is one.
type Reader interface {
	// Get returns the value of a key, and whether there is one. The caller may keep the value.
	Get(key []byte) (value []byte, found bool, err error)
	// Scan calls visit for every key in [from, to), ascending; a nil to is no bound. Keys and values are
	// valid during the call only. An error of visit ends the scan and is returned.
	Scan(from, to []byte, visit func(key, value []byte) error) error
}

// Write sets or deletes one key of the saved state.
type Write struct {
	Key    []byte
	Value  []byte
	Delete bool
}

// CacheBytesDefault is how much of the saved state a State keeps in memory at first.
const CacheBytesDefault = 64 << 20

// State is the applied state of a replica: what the store has saved, and over it what was applied
// since. Keys carry their epaxos.Space as first byte in the store, so that the records of sessions
// live beside the keys of the state machine.
//
// A turn of the node applies commands, then takes their writes for its next synced group:
//
//	results, err := state.Apply(machine, command) // as often as it likes
//	batch.Writes = state.Take()
//	err = store.Save(batch)
//	state.Saved()
//
// Between Take and Saved, reads still show the taken writes. A State is not safe for concurrent
// use. After an error of Apply, Get, Scan or Run the replica must stop: the state is undefined.
type State struct {
	reader Reader
	view   view
	cells  map[string]*cell // by storage key
	key    []byte           // scratch

	windows map[epaxos.InstanceID]*window // of sessions that were asked for
	packs   bool                          // see PackRecords

	dirty        []*cell // in the order of their first write
	pendingBytes int
	taken        []*cell

	clean      cell // ring of clean cells, most recently used first
	cleanBytes int
	cleanMax   int

	recording bool
	changes   []Change // since they were last taken
}

// cell is one key of the state in memory.
//
// Invariant: a cell is in dirty, or in taken, or in both, or else in the ring of clean ones.
type cell struct {
	key          string // with the space
	value        []byte
	found        bool
	dirty        bool // written, not yet taken
	taken        bool // taken, not yet saved
	older, newer *cell
}

// cellBytes is what a cell takes beside its key and value, roughly.
const cellBytes = 128

func (c *cell) size() int { return cellBytes + len(c.key) + len(c.value) }

// NewState returns the state that reader has saved.
func NewState(reader Reader) *State {
	s := &State{reader: reader, cells: make(map[string]*cell), cleanMax: CacheBytesDefault}
	s.clean.older, s.clean.newer = &s.clean, &s.clean
	s.view.state = s
	return s
}

// LimitCache sets how many bytes of saved state are kept in memory; 0 keeps none.
func (s *State) LimitCache(bytes int) {
	s.cleanMax = bytes
	s.evict()
}

// Apply carries out the requests of a command one after the other, each seeing what those before
// it wrote, and returns one result for each. The error names the request that failed.
func (s *State) Apply(m StateMachine, cmd *epaxos.Command) (results [][]byte, err error) {
	results = make([][]byte, 0, len(cmd.Requests))
	for i := range cmd.Requests {
		result, err := s.Run(m, cmd.Footprint, cmd.Requests[i].Payload)
		if err != nil {
			return nil, fmt.Errorf("apply request %d of %d: %w", i+1, len(cmd.Requests), err)
		}
		results = append(results, result)
	}
	return results, nil
}

// Run carries out one request within a footprint. It is for a node that decides request by request,
// as deduplication does.
func (s *State) Run(m StateMachine, footprint epaxos.Footprint, payload []byte) (result []byte, err error) {
	s.view.open(m, footprint)
	result, err = m.Apply(&s.view, payload)
	if fault := s.view.close(); fault != nil {
		return nil, fault
	}
	return result, err
}

// Get returns a value of the applied state. The caller must not change it.
func (s *State) Get(space epaxos.Space, key string) (value []byte, found bool, err error) {
	c, err := s.load(space, key)
	if err != nil {
		return nil, false, err
	}
	return c.value, c.found, nil
}

// Put sets a value of the applied state. The state keeps value; the caller must not change it.
func (s *State) Put(space epaxos.Space, key string, value []byte) {
	if space == epaxos.SpaceState {
		s.note(key, ChangePut, value)
	}
	s.write(space, key, value, true)
}

// Delete removes a key of the applied state.
func (s *State) Delete(space epaxos.Space, key string) {
	if space == epaxos.SpaceState {
		s.note(key, ChangeDelete, nil)
	}
	s.write(space, key, nil, false)
}

// PendingBytes is the size of the keys and values that Take would return now.
func (s *State) PendingBytes() int { return s.pendingBytes }

// Take returns the writes since it was last called, one for each key, ascending by key. The caller
// must save them in the next group, and call Saved when that is done, before it calls Take again;
// it must not change them. Taking again counts as having saved.
func (s *State) Take() []Write {
	s.Saved()
	if len(s.dirty) == 0 {
		return nil
	}
	slices.SortFunc(s.dirty, func(a, b *cell) int { return strings.Compare(a.key, b.key) })
	writes := make([]Write, len(s.dirty))
	for i, c := range s.dirty {
		writes[i] = Write{Key: []byte(c.key), Value: c.value, Delete: !c.found}
		c.dirty, c.taken = false, true
	}
	s.taken, s.dirty = s.dirty, s.taken[:0]
	s.pendingBytes = 0
	return writes
}

// Saved tells that the store holds what was taken.
func (s *State) Saved() {
	for i, c := range s.taken {
		c.taken = false
		if !c.dirty {
			s.cache(c)
		}
		s.taken[i] = nil
	}
	s.taken = s.taken[:0]
	s.evict()
}

// storageKey is the key in the store, valid until the next call.
func (s *State) storageKey(space epaxos.Space, key string) []byte {
	s.key = append(append(s.key[:0], byte(space)), key...)
	return s.key
}

// load finds the cell of a key, or reads it from the store.
func (s *State) load(space epaxos.Space, key string) (*cell, error) {
	name := s.storageKey(space, key)
	if c := s.cells[string(name)]; c != nil {
		if !c.dirty && !c.taken {
			s.uncache(c)
			s.cache(c)
		}
		return c, nil
	}
	value, found, err := s.reader.Get(name)
	if err != nil {
		return nil, fmt.Errorf("read key %q: %w", key, err)
	}
	c := &cell{key: string(name), value: value, found: found}
	s.cells[c.key] = c
	s.cache(c)
	s.evict()
	return c, nil
}

func (s *State) write(space epaxos.Space, key string, value []byte, found bool) {
	if space == epaxos.SpaceSession {
		s.learn(key, value, found)
	}
	name := s.storageKey(space, key)
	c := s.cells[string(name)]
	switch {
	case c == nil:
		c = &cell{key: string(name)}
		s.cells[c.key] = c
	case c.dirty:
		s.pendingBytes -= len(c.key) + len(c.value)
	case !c.taken:
		s.uncache(c)
	}
	if !c.dirty {
		c.dirty = true
		s.dirty = append(s.dirty, c)
	}
	c.value, c.found = value, found
	s.pendingBytes += len(c.key) + len(c.value)
}

// cache makes a clean cell the most recently used one.
func (s *State) cache(c *cell) {
	c.newer, c.older = &s.clean, s.clean.older
	c.older.newer, s.clean.older = c, c
	s.cleanBytes += c.size()
}

func (s *State) uncache(c *cell) {
	c.newer.older, c.older.newer = c.older, c.newer
	c.newer, c.older = nil, nil
	s.cleanBytes -= c.size()
}

// evict drops the least recently used clean cells. What is dropped depends on the requests alone,
// so a run can be repeated exactly.
func (s *State) evict() {
	for s.cleanBytes > s.cleanMax && s.clean.newer != &s.clean {
		c := s.clean.newer
		s.uncache(c)
		delete(s.cells, c.key)
	}
}
