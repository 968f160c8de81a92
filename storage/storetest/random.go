package storetest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/264bc8cf/epaxos/storage"
)

// versionsModel is what a store must say about its states.
type versionsModel struct {
	states  []map[string]string // as of each group
	staged  map[string]string   // nil if nothing is
	pins    []uint64
	pasts   []openPast
	held    uint64
	adopted uint64
}

// openPast is a state that is being read.
type openPast struct {
	storage.Past
	group uint64
}

func (m *versionsModel) last() uint64 { return uint64(len(m.states) - 1) }

func (m *versionsModel) save(b storage.Batch) {
	state := maps.Clone(m.states[m.last()])
	if b.Adopt {
		state, m.staged, m.held = m.staged, nil, 0
		m.adopted = m.last() + 1
	}
	for _, w := range b.Writes {
		if w.Delete {
			delete(state, string(w.Key))
		} else {
			state[string(w.Key)] = string(w.Value)
		}
	}
	m.states = append(m.states, state)
	switch b.Hold {
	case storage.HoldThis:
		m.held = m.last()
	case storage.HoldNone:
		m.held = 0
	}
}

// readable are the groups whose state must be there.
func (m *versionsModel) readable() []uint64 {
	groups := []uint64{m.last()}
	pinned := slices.Clone(m.pins)
	for _, p := range m.pasts {
		pinned = append(pinned, p.group)
	}
	for _, group := range append(pinned, m.held) {
		if group >= m.adopted && (group > 0 || slices.Contains(pinned, 0)) {
			groups = append(groups, group)
		}
	}
	slices.Sort(groups)
	return slices.Compact(groups)
}

// check compares all that can be read with the model.
func (m *versionsModel) check(t *testing.T, s storage.Store) {
	t.Helper()
	const wrong = "violation of durability: "
	if s.Held() != m.held {
		t.Fatalf(wrong+"group %d is held, want %d", s.Held(), m.held)
	}
	for _, at := range m.readable() {
		wantStrings(t, fmt.Sprint(wrong, "as of ", at), changes(t, s, 0, at), sorted(m.states[at])...)
		for _, since := range m.readable() {
			if since == 0 || since > at {
				continue
			}
			// A change may be to the same value, so that no state but what is applied tells it.
			applied := maps.Clone(m.states[since])
			err := s.Changes(since, at, nil, func(w storage.Write) error {
				if w.Delete {
					delete(applied, string(w.Key))
				} else {
					applied[string(w.Key)] = string(w.Value)
				}
				return nil
			})
			what := fmt.Sprintf(wrong+"what changed since %d as of %d, %v", since, at, err)
			wantStrings(t, what, sorted(applied), sorted(m.states[at])...)
		}
	}
	for _, p := range m.pasts {
		m.checkPast(t, p)
	}
	if m.staged == nil {
		wantNoneStaged(t, s)
	} else {
		wantStrings(t, wrong+"staged", staged(t, s), sorted(m.staged)...)
	}
	wantStrings(t, wrong+"state", state(t, s, "", ""), sorted(m.states[m.last()])...)
}

// checkPast compares what one who reads an earlier state sees of it.
func (m *versionsModel) checkPast(t *testing.T, p openPast) {
	t.Helper()
	shown := map[string]string{}
	err := p.Scan([]byte("k1"), []byte("k3"), func(key, value []byte) error {
		shown[string(key)] = string(value)
		return nil
	})
	for i := 0; i < 40 && err == nil; i += 3 {
		key := fmt.Sprintf("k%02d", i)
		value, found, failed := p.Get([]byte(key))
		if want, there := m.states[p.group][key]; failed == nil && (found != there || string(value) != want) {
			t.Fatalf("violation of durability: as of %d %s is %q, %v, want %q", p.group, key, value, found, want)
		}
		err = failed
	}
	if p.group < m.adopted {
		if !errors.Is(err, storage.ErrGone) {
			t.Fatalf("as of %d, before another state was adopted: %v, want ErrGone", p.group, err)
		}
		return
	}
	want := maps.Clone(m.states[p.group])
	maps.DeleteFunc(want, func(key, _ string) bool { return key < "k1" || key >= "k3" })
	wantStrings(t, fmt.Sprint("violation of durability: read as of ", p.group, ", ", err), sorted(shown), sorted(want)...)
}

// leave ends what does not outlive a process.
func (m *versionsModel) leave() {
	for _, p := range m.pasts {
		p.Close()
	}
	m.pins, m.pasts = nil, nil
}

// look begins or ends to read a state.
func (m *versionsModel) look(t *testing.T, s storage.Store, r *rand.Rand) {
	t.Helper()
	if i := r.IntN(4); i < len(m.pasts) {
		m.pasts[i].Close()
		m.pasts = slices.Delete(m.pasts, i, i+1)
		return
	}
	readable := m.readable()
	group := readable[r.IntN(len(readable))]
	p, err := s.At(group)
	if err != nil {
		t.Fatalf("violation of durability: read as of %d: %v", group, err)
	}
	m.pasts = append(m.pasts, openPast{p, group})
}

func sorted(state map[string]string) (lines []string) {
	for _, key := range slices.Sorted(maps.Keys(state)) {
		lines = append(lines, key+"="+state[key])
	}
	return lines
}

// testRandomVersions lives through batches, holds, pins, stagings and restarts, as a model does.
func testRandomVersions(t *testing.T, f Factory) {
	r := rand.New(rand.NewPCG(20, 27))
	s := open(t, f)
	m := &versionsModel{states: []map[string]string{{}}}
	defer m.leave()
	for step := range 400 {
		switch act := r.IntN(33); {
		case act < 3:
			s = [...]func() storage.Store{
				func() storage.Store { return reopen(t, f, s) },
				func() storage.Store { return f.Crash(t, s) },
			}[r.IntN(2)]()
			m.leave()
		case act < 6:
			m.pins = append(m.pins, s.Pin())
		case act < 8 && len(m.pins) > 0:
			i := r.IntN(len(m.pins))
			s.Unpin(m.pins[i])
			m.pins = slices.Delete(m.pins, i, i+1)
		case act < 10:
			writes := randomWrites(r, 20, 0)
			stage(t, s, fmt.Sprint(step), writes...)
			if m.staged == nil {
				m.staged = map[string]string{}
			}
			for _, w := range writes {
				m.staged[string(w.Key)] = string(w.Value)
			}
		case act < 13:
			m.look(t, s, r)
		case act == 13:
			if err := s.DropStaged(); err != nil {
				t.Fatal(err)
			}
			m.staged = nil
		default:
			b := storage.Batch{Writes: randomWrites(r, 6, 3)}
			b.Hold = [...]storage.HoldAction{3: storage.HoldThis, 4: storage.HoldNone, 9: 0}[r.IntN(10)]
			b.Adopt = m.staged != nil && r.IntN(4) == 0
			saveBatch(t, s, b)
			m.save(b)
		}
		if step%8 == 0 || step > 390 {
			m.check(t, s)
		}
	}
}

// randomWrites of which one in so many is a deletion; 0 is none. A key has always the same value, but for the
// deletions, where none may be deleted.
func randomWrites(r *rand.Rand, n, deletions int) (writes []storage.Write) {
	for range r.IntN(n) {
		key := fmt.Sprintf("k%02d", r.IntN(40))
		switch {
		case deletions == 0:
			writes = append(writes, set(key, "staged "+key))
		case r.IntN(deletions) == 0:
			writes = append(writes, del(key))
		default:
			writes = append(writes, set(key, pattern(r.IntN(50), r.Int())))
		}
	}
	return writes
}
