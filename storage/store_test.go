package storage_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/264bc8cf/epaxos/storage"
	"github.com/264bc8cf/epaxos/storage/storetest"
)

const testMemTable = 2 << 20

var testIdentity = storage.Identity{Cluster: [16]byte{0xc1, 15: 0x05}, Replica: 3, Incarnation: 7}

func testOptions(dir string) storage.Options {
	return storage.Options{Dir: dir, Identity: testIdentity, FreeReserveBytes: 1 << 20, MemTableBytes: testMemTable}
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
// files is what other readers see.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(filepath.Join(to, "copy"), os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(to, "copy")
}

func TestBadgerKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Factory {
		dir := filepath.Join(t.TempDir(), "data")
		return storetest.Factory{
			BatchBytesMax: storage.BatchBytesMax(testMemTable),
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
			ValueBytesMax: storage.ValueBytesMax(testMemTable),
		}
		crash := func(_ *testing.T, s storage.Store) storage.Store { return s.(*storage.Memory).Crash(false) }
		return storetest.Factory{
			BatchBytesMax: o.BatchBytesMax,
			ValueBytesMax: o.ValueBytesMax,
			Open:          func(t *testing.T) storage.Store { return storage.NewMemory(o) },
			Reopen:        crash,
			Crash:         crash,
		}
	})
}
