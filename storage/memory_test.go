package storage_test

import (
	"errors"
	"testing"

	"github.com/264bc8cf/epaxos/storage"
)

func batch(group, key, value string) storage.Batch {
	return storage.Batch{Group: []byte(group), Writes: []storage.Write{{Key: []byte(key), Value: []byte(value)}}}
}

func wantMemory(t *testing.T, m *storage.Memory, last uint64, value string) {
	t.Helper()
	if got := m.LastGroup(); got != last {
		t.Errorf("the last group is %d, want %d", got, last)
	}
	if got, _, err := m.Get([]byte("k")); err != nil || string(got) != value {
		t.Errorf("the key holds %q, %v; want %q", got, err, value)
	}
}

func TestMemoryCrash(t *testing.T) {
	for name, test := range map[string]struct {
		keep  bool
		last  uint64
		value string
	}{
		"loses what is not synced": {keep: false, last: 1, value: "1"},
		"or keeps it":              {keep: true, last: 3, value: "3"},
	} {
		t.Run(name, func(t *testing.T) {
			m := storage.NewMemory(storage.MemoryOptions{})
			err := errors.Join(m.Save(batch("a", "k", "1")), m.Begin(batch("b", "k", "2")), m.Begin(batch("c", "k", "3")))
			if err != nil {
				t.Fatal(err)
			}
			wantMemory(t, m, 1, "1") // what is begun is not yet to be seen
			next := m.Crash(test.keep)
			wantMemory(t, next, test.last, test.value)
			if err := m.Save(batch("d", "k", "4")); !errors.Is(err, storage.ErrClosed) {
				t.Errorf("the crashed store saves: %v", err)
			}
			if err := next.Save(batch("d", "k", "4")); err != nil {
				t.Fatal(err)
			}
			wantMemory(t, next, test.last+1, "4")
		})
	}
}

func TestMemorySync(t *testing.T) {
	m := storage.NewMemory(storage.MemoryOptions{})
	if err := errors.Join(m.Begin(batch("a", "k", "1")), m.Begin(batch("b", "k", "2")), m.Sync()); err != nil {
		t.Fatal(err)
	}
	wantMemory(t, m.Crash(false), 2, "2")
}

func TestMemoryFailedSaveKills(t *testing.T) {
	m := storage.NewMemory(storage.MemoryOptions{})
	broken := errors.New("the disk is broken")
	if err := m.Save(batch("a", "k", "1")); err != nil {
		t.Fatal(err)
	}
	m.FailNextSave(broken)
	wantError(t, m.Save(batch("b", "k", "2")), broken, "group 2")
	wantError(t, m.Save(batch("b", "k", "2")), broken, "earlier failure")
	_, _, err := m.Get([]byte("k"))
	wantError(t, err, broken)
	wantMemory(t, m.Crash(true), 1, "1")
}

func TestMemoryFull(t *testing.T) {
	m := storage.NewMemory(storage.MemoryOptions{})
	m.Full(true)
	wantError(t, m.Save(batch("a", "k", "1")), storage.ErrNoSpace)
	if free := m.Usage().FreeBytes; free != 0 {
		t.Errorf("a full disk has %d bytes free", free)
	}
	m = m.Crash(false)
	wantError(t, m.Save(batch("a", "k", "1")), storage.ErrNoSpace)
	m.Full(false)
	if err := m.Save(batch("a", "k", "1")); err != nil {
		t.Fatal(err)
	}
	wantMemory(t, m, 1, "1")
}

func TestMemoryCorrupt(t *testing.T) {
	m := storage.NewMemory(storage.MemoryOptions{})
	for _, group := range []string{"a", "b", "c"} {
		if err := m.Save(batch(group, "k", group)); err != nil {
			t.Fatal(err)
		}
	}
	m.Corrupt(2)
	for range 2 {
		var read []uint64
		err := m.Groups(func(number uint64, _ []byte) error { read = append(read, number); return nil })
		wantError(t, err, storage.ErrDamaged, "group 2")
		wantError(t, scrubAll(m, 1), storage.ErrDamaged, "group 2")
		if len(read) != 1 {
			t.Errorf("groups %v were read before the damaged one", read)
		}
		m = m.Crash(false)
	}
}

func TestMemoryClone(t *testing.T) {
	m := storage.NewMemory(storage.MemoryOptions{})
	if err := m.Save(batch("a", "k", "1")); err != nil {
		t.Fatal(err)
	}
	old := m.Clone()
	if err := m.Save(batch("b", "k", "2")); err != nil {
		t.Fatal(err)
	}
	wantMemory(t, old, 1, "1")
	if err := old.Save(batch("other", "k", "3")); err != nil {
		t.Fatal(err)
	}
	wantMemory(t, m, 2, "2")
	wantMemory(t, old, 2, "3")
}
