package execution

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/epaxos"
)

// memory is a store without a disk.
type memory struct {
	values map[string]string
	reads  int
	err    error
}

func newMemory() *memory { return &memory{values: make(map[string]string)} }

func (m *memory) Get(key []byte) ([]byte, bool, error) {
	m.reads++
	value, found := m.values[string(key)]
	return []byte(value), found, m.err
}

func (m *memory) Scan(from, to []byte, visit func(key, value []byte) error) error {
	if m.err != nil {
		return m.err
	}
	var keys []string
	for key := range m.values {
		if key >= string(from) && (to == nil || key < string(to)) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		k, v := []byte(key), []byte(m.values[key])
		if err := visit(k, v); err != nil {
			return err
		}
		clear(k) // they are valid during the call only
		clear(v)
	}
	return nil
}

func (m *memory) save(writes []Write) {
	for _, w := range writes {
		if w.Delete {
			delete(m.values, string(w.Key))
		} else {
			m.values[string(w.Key)] = string(w.Value)
		}
	}
}

// script is a state machine whose payloads are lines of "get k", "put k v", "delete k",
// "merge k v" and "scan from to".
type script struct{}

// Merge adds bytes to a set of bytes, unless it is "fixed".
func (script) Merge(value []byte, _ bool, operand []byte) ([]byte, bool, error) {
	switch {
	case string(value) == "broken":
		return nil, false, errors.New("as told")
	case string(value) == "fixed":
		return nil, false, nil
	}
	set := append(slices.Clone(value), operand...)
	slices.Sort(set)
	return set, true, nil
}

func (script) Footprint([]byte) (epaxos.Footprint, error) { return nil, nil }

func (script) Apply(view View, payload []byte) ([]byte, error) {
	var answers []string
	for line := range strings.Lines(string(payload)) {
		words := strings.Fields(line)
		switch words[0] {
		case "get":
			value, found := view.Get(words[1])
			answers = append(answers, fmt.Sprintf("%s %t", value, found))
		case "put":
			view.Put(words[1], []byte(words[2]))
		case "delete":
			view.Delete(words[1])
		case "merge":
			answers = append(answers, fmt.Sprint(view.Merge(words[1], []byte(words[2]))))
		case "scan":
			view.Scan(words[1], strings.Join(words[2:], ""), func(key string, value []byte) bool {
				answers = append(answers, fmt.Sprintf("%s=%s", key, value))
				return key != "stop"
			})
		case "fail":
			return nil, errors.New("as told")
		}
	}
	return []byte(strings.Join(answers, ",")), nil
}

func scripted(footprint epaxos.Footprint, lines ...string) *epaxos.Command {
	cmd := &epaxos.Command{Footprint: footprint}
	for _, line := range lines {
		cmd.Requests = append(cmd.Requests, epaxos.Request{Payload: []byte(line)})
	}
	return cmd
}

func accesses(mode epaxos.Mode, keys ...string) (f epaxos.Footprint) {
	for _, key := range keys {
		f = append(f, epaxos.Access{Mode: mode, Key: key})
	}
	return f
}

func mustApply(t *testing.T, s *State, cmd *epaxos.Command) []string {
	t.Helper()
	results, err := s.Apply(script{}, cmd)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, result := range results {
		texts = append(texts, string(result))
	}
	return texts
}

// TestRequestsSeeEachOther, within a command and across commands, before anything is saved.
func TestRequestsSeeEachOther(t *testing.T) {
	store := newMemory()
	store.values["\x00a"] = "old"
	s := NewState(store)
	f := accesses(epaxos.Write, "a", "b")
	got := mustApply(t, s, scripted(f, "get a\nput a 1", "get a\ndelete a\nget a", "put b 2"))
	if want := []string{"old true", "1 true, false", ""}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := mustApply(t, s, scripted(f, "get b")); got[0] != "2 true" {
		t.Errorf("got %q", got)
	}
}

// TestFootprintIsEnforced: an access outside stops the replica, and leaves nothing behind.
func TestFootprintIsEnforced(t *testing.T) {
	const write, read = epaxos.Write, epaxos.Read
	many := accesses(write, "k")
	for i := range 2 * scanMax {
		many = append(many, epaxos.Access{Mode: read, Key: fmt.Sprintf("many-%d", i)})
	}
	ranged := append(many[:len(many):len(many)], epaxos.Access{Mode: write, Range: true, Key: "r", End: "s"})
	tests := []struct {
		name      string
		footprint epaxos.Footprint
		script    string
		allowed   bool
	}{
		{"read what is read", accesses(read, "k"), "get k", true},
		{"write what is read", accesses(read, "k"), "put k 1", false},
		{"delete what is read", accesses(read, "k"), "delete k", false},
		{"read what is written", accesses(write, "k"), "get k", true},
		{"write what is added to", accesses(epaxos.Add, "k"), "put k 1", false},
		{"read what is added to", accesses(epaxos.Add, "k"), "get k", false},
		{"add to what is added to", accesses(epaxos.Add, "k"), "merge k x", true},
		{"add to what is written", accesses(write, "k"), "merge k x", true},
		{"add to what is read", accesses(read, "k"), "merge k x", false},
		{"add to a range", epaxos.Footprint{{Mode: epaxos.Add, Range: true, Key: "a", End: "l"}}, "merge k x", true},
		{"scan a range", epaxos.Footprint{{Mode: read, Range: true, Key: "a", End: "l"}}, "scan a l", true},
		{"scan what is written", epaxos.Footprint{{Mode: write, Range: true, Key: "a", End: "l"}}, "scan b c", true},
		{"scan what is added to", epaxos.Footprint{{Mode: epaxos.Add, Range: true, Key: "a", End: "l"}}, "scan b c", false},
		{"scan below a range", epaxos.Footprint{{Mode: read, Range: true, Key: "b", End: "l"}}, "scan a l", false},
		{"scan beyond a range", epaxos.Footprint{{Mode: read, Range: true, Key: "a", End: "l"}}, "scan a m", false},
		{"scan without bound", epaxos.Footprint{{Mode: read, Range: true, Key: "a", End: "l"}}, "scan a", false},
		{"scan a range without bound", epaxos.Footprint{{Mode: read, Range: true, Key: "a"}}, "scan a", true},
		{"scan points", accesses(write, "a", "b"), "scan a b", false},
		{"scan another space", epaxos.Footprint{{Mode: read, Space: epaxos.SpaceSession, Range: true}}, "scan a", false},
		{"scan everything", epaxos.Footprint{{Mode: epaxos.Everything}}, "scan a", true},
		{"read elsewhere", accesses(write, "k"), "get l", false},
		{"another space", epaxos.Footprint{{Mode: write, Space: epaxos.SpaceSession, Key: "k"}}, "get k", false},
		{"inside a range", epaxos.Footprint{{Mode: write, Range: true, Key: "a", End: "l"}}, "put k 1", true},
		{"at the end of a range", epaxos.Footprint{{Mode: write, Range: true, Key: "a", End: "k"}}, "put k 1", false},
		{"range without bound", epaxos.Footprint{{Mode: write, Range: true, Key: "a"}}, "put k 1", true},
		{"everything", epaxos.Footprint{{Mode: epaxos.Everything}}, "put k 1", true},
		{"write of many", many, "put k 1", true},
		{"read of many", many, "get many-17", true},
		{"write of what many read", many, "put many-17 1", false},
		{"outside of many", many, "get l", false},
		{"range of many", ranged, "put r1 1", true},
		{"outside the range of many", ranged, "put s 1", false},
		{"nothing", nil, "get k", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := NewState(newMemory())
			_, err := s.Apply(script{}, scripted(test.footprint, test.script))
			if test.allowed != (err == nil) || err != nil && !errors.Is(err, ErrFootprint) {
				t.Fatalf("error %v, allowed %t", err, test.allowed)
			}
			if err != nil && s.PendingBytes() != 0 {
				t.Errorf("%d bytes written by a forbidden access", s.PendingBytes())
			}
		})
	}
}

// TestFaultsStop: what is wrong with the replica, not with the request, is an error that names the request.
func TestFaultsStop(t *testing.T) {
	broken := errors.New("broken disk")
	store := newMemory()
	store.err = broken
	_, err := NewState(newMemory()).Apply(script{}, scripted(accesses(epaxos.Write, "k"), "put k 1\nget k", "get j"))
	if !errors.Is(err, ErrFootprint) || !strings.Contains(err.Error(), "request 2 of 2") {
		t.Errorf("got %v", err)
	}
	_, err = NewState(store).Apply(script{}, scripted(accesses(epaxos.Read, "k"), "get k"))
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := NewState(newMemory()).Apply(script{}, scripted(nil, "fail")); err == nil {
		t.Error("the machine's own fault got lost")
	}
}

// TestViewAfterApply: a machine that keeps its view cannot use it.
func TestViewAfterApply(t *testing.T) {
	s := NewState(newMemory())
	mustApply(t, s, scripted(accesses(epaxos.Write, "k"), "put k 1"))
	if _, found := s.view.Get("k"); found {
		t.Error("a view answers after Apply returned")
	}
	s.view.Put("k", nil)
	if got, _, _ := s.Get(epaxos.SpaceState, "k"); string(got) != "1" {
		t.Errorf("a view wrote after Apply returned: %q", got)
	}
}

// TestTake: writes come sorted, the last of each key, with the space in front; what was taken stays
// readable until it is saved.
func TestTake(t *testing.T) {
	store := newMemory()
	s := NewState(store)
	s.LimitCache(0)
	s.Put(epaxos.SpaceSession, "a", []byte("session"))
	mustApply(t, s, scripted(accesses(epaxos.Write, "a", "b"), "put b long-value", "put a 1", "put a 2", "delete b"))
	if got, want := s.PendingBytes(), len("\x01asession")+len("\x00a2")+len("\x00b"); got != want {
		t.Errorf("%d bytes pending, want %d", got, want)
	}
	writes := s.Take()
	if got, want := listing(writes), `put "\x00a" "2", delete "\x00b", put "\x01a" "session"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if s.PendingBytes() != 0 {
		t.Errorf("%d bytes pending after Take", s.PendingBytes())
	}
	if got, _, _ := s.Get(epaxos.SpaceState, "a"); string(got) != "2" || store.reads != 0 {
		t.Errorf("%q with %d reads: what was taken must stay readable", got, store.reads)
	}
	s.Put(epaxos.SpaceState, "a", []byte("3"))
	store.save(writes)
	s.Saved()
	if got, _, _ := s.Get(epaxos.SpaceState, "a"); string(got) != "3" {
		t.Errorf("a write after Take got lost: %q", got)
	}
	if got, _, _ := s.Get(epaxos.SpaceSession, "a"); string(got) != "session" || store.reads != 1 {
		t.Errorf("%q with %d reads: saved and not cached, so it comes from the store", got, store.reads)
	}
	if got, want := listing(s.Take()), `put "\x00a" "3"`; got != want {
		t.Errorf("second take: got %s, want %s", got, want)
	}
}

func listing(writes []Write) string {
	var texts []string
	for _, w := range writes {
		if w.Delete {
			texts = append(texts, fmt.Sprintf("delete %q", w.Key))
		} else {
			texts = append(texts, fmt.Sprintf("put %q %q", w.Key, w.Value))
		}
	}
	return strings.Join(texts, ", ")
}

// TestCache: the second read of a key costs no read of the store, a found one or not, until more
// recent keys have pushed it out.
func TestCache(t *testing.T) {
	store := newMemory()
	s := NewState(store)
	s.LimitCache(4 * (cellBytes + 4))
	get := func(key string) {
		if _, _, err := s.Get(epaxos.SpaceState, key); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"a", "b", "c", "a", "d", "a", "e", "a"} {
		get(key)
	}
	if store.reads != 5 {
		t.Errorf("%d reads, want 5: a was in use all the time", store.reads)
	}
	if get("b"); store.reads != 6 {
		t.Error("b was the least recently used and is still there")
	}
	if len(s.cells) > 4 {
		t.Errorf("%d cells cached", len(s.cells))
	}
}

// TestStateAgreesWithAMap over applying, taking, saving and restarting, with a cache of any size.
func TestStateAgreesWithAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		store, model := newMemory(), make(map[string]string)
		s := NewState(store)
		limit := rapid.IntRange(0, 1000).Draw(t, "cache")
		s.LimitCache(limit)
		var taken []Write
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			key := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "key")
			switch rapid.IntRange(0, 5).Draw(t, "act") {
			case 0, 1:
				value := rapid.StringN(0, 40, -1).Draw(t, "value")
				s.Put(epaxos.SpaceState, key, []byte(value))
				model[key] = value
			case 2:
				s.Delete(epaxos.SpaceState, key)
				delete(model, key)
			case 3:
				store.save(taken)
				taken = s.Take()
			case 4:
				store.save(taken)
				taken = nil
				s.Saved()
			case 5:
				value, found, _ := s.Get(epaxos.SpaceState, key)
				if want, there := model[key]; found != there || string(value) != want {
					t.Fatalf("%s = %q %t, want %q %t", key, value, found, want, there)
				}
			}
		}
		checkCells(t, s)
	})
}

// checkCells is the invariant of cell, and that the sizes are those of the cells.
func checkCells(t *rapid.T, s *State) {
	clean, pending, known := 0, 0, len(s.dirty)
	for c := s.clean.older; c != &s.clean; c = c.older {
		clean += c.size()
		known++
		if c.dirty || c.taken || s.cells[c.key] != c {
			t.Fatalf("cell %q is cached and pending", c.key)
		}
	}
	for _, c := range s.dirty {
		pending += len(c.key) + len(c.value)
	}
	for _, c := range s.taken {
		if !c.dirty {
			known++
		}
	}
	if clean != s.cleanBytes || pending != s.pendingBytes || known != len(s.cells) {
		t.Fatalf("clean %d as %d, pending %d as %d, %d cells of %d",
			clean, s.cleanBytes, pending, s.pendingBytes, known, len(s.cells))
	}
}
