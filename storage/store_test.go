package storage_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/264bc8cf/epaxos/storage"
	"github.com/264bc8cf/epaxos/storage/storetest"
)

const (
	testMemTable     = 2 << 20
	testSaveBytesMax = 3 << 20
)

var testIdentity = storage.Identity{Cluster: [16]byte{0xc1, 15: 0x05}, Replica: 3, Incarnation: 7}

func testOptions(dir string) storage.Options {
	return storage.Options{Dir: dir, Identity: testIdentity, FreeReserveBytes: 1 << 20, MemTableBytes: testMemTable,
		SaveBytesMax: testSaveBytesMax}
}

func openBadger(t *testing.T, o storage.Options) *storage.Badger {
	t.Helper()
	s, err := storage.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func createBadger(t *testing.T, o storage.Options) *storage.Badger {
	t.Helper()
	if err := storage.Create(o); err != nil {
		t.Fatal(err)
	}
	return openBadger(t, o)
}

// copyDir copies a data directory as a kill of its process would leave it: what was written to mapped
// files is what other readers see. A kill takes no time, a copy does, so it is made again if a flush or
// a compaction came in between.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	for {
		to := filepath.Join(t.TempDir(), "copy")
		before := listing(t, from)
		if err := os.Mkdir(to, 0o700); err != nil {
			t.Fatal(err)
		}
		whole := true
		for _, name := range before.names {
			whole = whole && copyFile(t, filepath.Join(from, name), filepath.Join(to, name))
		}
		if whole && reflect.DeepEqual(listing(t, from), before) {
			return to
		}
	}
}

type dirListing struct {
	names    []string
	manifest []byte
}

func listing(t *testing.T, dir string) (l dirListing) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		l.names = append(l.names, e.Name())
	}
	if l.manifest, err = os.ReadFile(filepath.Join(dir, "MANIFEST")); err != nil {
		t.Fatal(err)
	}
	return l
}

// copyFile leaves out runs of zeros, most of what Badger's logs hold. It is false if the file is gone.
func copyFile(t *testing.T, from, to string) (found bool) {
	t.Helper()
	content, err := os.ReadFile(from)
	if errors.Is(err, os.ErrNotExist) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(int64(len(content))); err != nil {
		t.Fatal(err)
	}
	var zeros [64 << 10]byte
	for at := 0; at < len(content); at += len(zeros) {
		run := content[at:min(at+len(zeros), len(content))]
		if bytes.Equal(run, zeros[:len(run)]) {
			continue
		}
		if _, err := file.WriteAt(run, int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	return true
}

func TestBadgerKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Factory {
		dir := filepath.Join(t.TempDir(), "data")
		return storetest.Factory{
			BatchBytesMax: storage.BatchBytesMax(testMemTable),
			SaveBytesMax:  testSaveBytesMax,
			ValueBytesMax: storage.ValueBytesMax(testMemTable),
			Open:          func(t *testing.T) storage.Store { return createBadger(t, testOptions(dir)) },
			Reopen: func(t *testing.T, _ storage.Store) storage.Store {
				return openBadger(t, testOptions(dir))
			},
			Crash: func(t *testing.T, _ storage.Store) storage.Store {
				dir = copyDir(t, dir)
				return openBadger(t, testOptions(dir))
			},
		}
	})
}

func TestMemoryKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Factory {
		o := storage.MemoryOptions{
			BatchBytesMax: storage.BatchBytesMax(testMemTable),
			SaveBytesMax:  testSaveBytesMax,
			ValueBytesMax: storage.ValueBytesMax(testMemTable),
		}
		crash := func(_ *testing.T, s storage.Store) storage.Store { return s.(*storage.Memory).Crash(false) }
		return storetest.Factory{
			BatchBytesMax: o.BatchBytesMax,
			SaveBytesMax:  o.SaveBytesMax,
			ValueBytesMax: o.ValueBytesMax,
			Open:          func(t *testing.T) storage.Store { return storage.NewMemory(o) },
			Reopen:        crash,
			Crash:         crash,
		}
	})
}
