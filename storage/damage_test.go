package storage_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/264bc8cf/epaxos/storage"
)

const damageMemTable = 1 << 20 // the smallest, so that few groups fill several tables

func damageOptions(dir string) storage.Options {
	o := testOptions(dir)
	o.MemTableBytes = damageMemTable
	return o
}

// history is what a store must hold after so many groups: all derived from their numbers.
type history struct {
	batches []storage.Batch
	state   map[string]string
	dropped int
}

const historyKeys = 200

func newHistory(groups int) history {
	h := history{state: map[string]string{}}
	for number := 1; number <= groups; number++ {
		b := historyBatch(number)
		h.batches = append(h.batches, b)
		h.dropped += b.DropGroups
		for _, w := range b.Writes {
			if w.Delete {
				delete(h.state, string(w.Key))
			} else {
				h.state[string(w.Key)] = string(w.Value)
			}
		}
	}
	return h
}

// noise is what groups are cut from: bytes that look alike nowhere.
var noise = func() []byte {
	b := make([]byte, 4096+12000)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}()

// historyBatch sets two keys and, now and then, deletes one, or many old groups.
func historyBatch(number int) storage.Batch {
	r := rand.New(rand.NewPCG(uint64(number), 1))
	at := r.IntN(4096)
	b := storage.Batch{Group: noise[at : at+r.IntN(12000)]}
	value := fmt.Appendf(nil, "%d-%s", number, strings.Repeat("v", number%90))
	b.Writes = []storage.Write{{Key: historyKey(number), Value: value}, {Key: historyKey(number * 7), Value: value}}
	if number%11 == 0 {
		b.Writes = append(b.Writes, storage.Write{Key: historyKey(number * 3), Delete: true})
	}
	if number%60 == 0 {
		b.DropGroups = 15
	}
	return b
}

func historyKey(i int) []byte { return fmt.Appendf(nil, "key-%04d", i%historyKeys) }

func (h history) save(t *testing.T, s storage.Store) {
	t.Helper()
	for _, b := range h.batches {
		if err := s.Save(b); err != nil {
			t.Fatal(err)
		}
	}
}

// write saves the history into a new directory and returns what a kill right after the last
// acknowledgement leaves: tables, an unflushed log, and everything else.
func (h history) write(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	h.save(t, createBadger(t, damageOptions(dir)))
	return copyDir(t, dir)
}

// check reads everything, and fails unless it is just this history. An error of the store is returned.
func (h history) check(s storage.Store) error {
	next := h.dropped
	var wrong error
	err := s.Groups(func(number uint64, group []byte) error {
		if wrong == nil && (number != uint64(next)+1 || !bytes.Equal(group, h.batches[next].Group)) {
			wrong = fmt.Errorf("wrong data in group %d", number) // unless the end says that it is damaged
		}
		next++
		return nil
	})
	if err := cmp.Or(err, wrong); err != nil {
		return err
	}
	if next < len(h.batches) {
		return fmt.Errorf("%d of %d groups, and no error", next, len(h.batches))
	}
	return h.checkState(s)
}

func (h history) checkState(s storage.Store) error {
	for i := range historyKeys {
		key := historyKey(i)
		got, found, err := s.Get(key)
		if err != nil {
			return err
		}
		if want, ok := h.state[string(key)]; found != ok || string(got) != want {
			return fmt.Errorf("wrong data: key %s is %q, %v", key, got, found)
		}
	}
	seen := 0
	err := s.Scan(nil, nil, func(key, value []byte) error {
		if seen++; h.state[string(key)] != string(value) {
			return fmt.Errorf("wrong data: a scan shows %q under key %s", value, key)
		}
		return nil
	})
	if err == nil && seen != len(h.state) {
		err = fmt.Errorf("a scan shows %d of %d keys, and no error", seen, len(h.state))
	}
	return err
}

// damage is one way to spoil one file.
type damage struct {
	file   string
	kind   string // flip, cut, append or remove
	offset int64
	data   int64 // bytes of the file, without the zeros at its end
}

func (d damage) String() string { return fmt.Sprintf("%s %s %d", d.kind, d.file, d.offset) }

func (d damage) apply(dir string) error {
	path := filepath.Join(dir, d.file)
	switch d.kind {
	case "cut":
		return os.Truncate(path, d.offset)
	case "remove":
		return os.Remove(path)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if d.kind == "append" {
		content = append(content, "\x07garbage after the end\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"...)
	} else {
		content[d.offset] ^= 1 << (d.offset % 8)
	}
	return os.WriteFile(path, content, 0o600)
}

// damages samples the ways to spoil a directory: every file, every kind, and flips in proportion.
func damages(t *testing.T, dir string) []damage {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 4))
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []damage
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		name, size := e.Name(), int64(len(bytes.TrimRight(content, "\x00")))
		add := func(kind string, offsets ...int64) {
			slices.Sort(offsets)
			for _, offset := range slices.Compact(offsets) {
				all = append(all, damage{name, kind, offset, size})
			}
		}
		add("remove", 0)
		switch {
		case strings.EqualFold(name, "lock"):
		case name == "KEYREGISTRY", name == "DISCARD", filepath.Ext(name) == ".vlog": // hold nothing of ours
			add("cut", 0)
			add("flip", r.Int64N(max(1, size)))
		default:
			add("cut", 0, size/2, size-1)
			add("append", 0)
			add("flip", 0, min(20, size-1), r.Int64N(size), r.Int64N(size), size-1)
		}
		if filepath.Ext(name) == ".mem" {
			add("flip", size+7, 9, r.Int64N(size), r.Int64N(size), r.Int64N(size))
		}
	}
	return all
}

// mustBeNoticed tells the damage after which the directory cannot be whole: whatever holds data, and
// what guards it. The rest may be harmless, for example among the zeros behind a log.
func (d damage) mustBeNoticed() bool {
	switch filepath.Ext(d.file) {
	case ".sst":
		return true
	case ".mem":
		// Its first 8 bytes name a key of encryption, 12 more would salt it.
		flippedData := d.kind == "flip" && (d.offset < 8 || d.offset >= 20) && d.offset < d.data
		return d.kind == "remove" || d.kind == "cut" || flippedData
	}
	return d.file == "MANIFEST" || d.file == "identity" || (d.file == "mark" && d.kind == "remove")
}

// The claim of the package: damage is told, or does not matter. It never turns into other data, nor
// into fewer groups than were acknowledged.
func TestDamageIsNeverTakenForData(t *testing.T) {
	acked := newHistory(560)
	dir := acked.write(t)
	if tables, _ := filepath.Glob(filepath.Join(dir, "*.sst")); len(tables) == 0 {
		t.Fatal("no table was flushed")
	}
	for _, d := range damages(t, dir) {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			spoilt := copyDir(t, dir)
			if err := d.apply(spoilt); err != nil {
				t.Fatal(err)
			}
			err := openAndCheck(spoilt, acked)
			if err == nil && d.mustBeNoticed() {
				t.Fatal("the damage went unnoticed")
			}
			if err != nil && !errors.Is(err, storage.ErrDamaged) {
				t.Fatalf("%v, want ErrDamaged or no error at all", err)
			}
		})
	}
}

func openAndCheck(dir string, want history) error {
	s, err := storage.Open(damageOptions(dir))
	if err != nil {
		return err
	}
	return errors.Join(want.check(s), s.Close())
}

func TestUndamagedIsIntact(t *testing.T) {
	acked := newHistory(560)
	dir := acked.write(t)
	for range 2 { // after a crash, and after a close
		if err := openAndCheck(dir, acked); err != nil {
			t.Fatal(err)
		}
	}
}
