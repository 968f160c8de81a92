package storage_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/264bc8cf/epaxos/storage"
)

// FuzzOpen changes some bytes of some file of a data directory, or cuts it: what is opened is what was
// acknowledged, or an error says that it is damaged. The files are those of Badger too: manifest, tables,
// the log of a memory table, and the value log, which holds nothing.
func FuzzOpen(f *testing.F) {
	dir, acked := directory(f)
	entries, err := os.ReadDir(dir)
	if err != nil {
		f.Fatal(err)
	}
	for file := range byte(len(entries)) {
		f.Add(file, uint32(0), []byte{}, true)
		f.Add(file, uint32(9), []byte{0x40}, false)
		f.Add(file, uint32(200), []byte{1, 2, 3, 4}, false)
	}
	f.Fuzz(func(t *testing.T, file byte, offset uint32, change []byte, cut bool) {
		spoilt := copyDir(t, dir)
		path := filepath.Join(spoilt, entries[int(file)%len(entries)].Name())
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := 0
		if len(content) > 0 {
			at = int(offset) % len(content)
		}
		for i := range min(len(change), len(content)-at) {
			content[at+i] ^= change[i]
		}
		if cut {
			content = content[:at]
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := openAndCheck(spoilt, acked); err != nil && !errors.Is(err, storage.ErrDamaged) &&
			!errors.Is(err, storage.ErrFormat) {
			t.Errorf("violation of durability: %s changed at %d: %v, want ErrDamaged, ErrFormat or no error",
				filepath.Base(path), at, err)
		}
	})
}

// directory is what a kill leaves of a store with a table and an unflushed log, and what is in it.
func directory(f *testing.F) (string, history) {
	f.Helper()
	o := damageOptions(filepath.Join(f.TempDir(), "data"))
	if err := storage.Create(o); err != nil {
		f.Fatal(err)
	}
	acked := newHistory(16)
	var running *storage.Badger
	for i, b := range acked.batches {
		if i%8 == 0 {
			if running != nil {
				if err := running.Close(); err != nil {
					f.Fatal(err)
				}
			}
			var err error
			if running, err = storage.Open(o); err != nil {
				f.Fatal(err)
			}
		}
		if err := running.Save(b); err != nil {
			f.Fatal(err)
		}
	}
	killed := filepath.Join(f.TempDir(), "killed")
	if err := os.CopyFS(killed, os.DirFS(o.Dir)); err != nil {
		f.Fatal(err)
	}
	if err := running.Close(); err != nil {
		f.Fatal(err)
	}
	return killed, acked
}
