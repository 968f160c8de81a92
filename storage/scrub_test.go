package storage_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/264bc8cf/epaxos/storage"
)

// A scrub finds nothing wrong while tables are flushed, compacted and deleted under it.
func TestScrubWhileCompacting(t *testing.T) {
	s := createBadger(t, damageOptions(filepath.Join(t.TempDir(), "data")))
	var scrubbing sync.WaitGroup
	stop := make(chan struct{})
	passes := 0
	scrubbing.Go(func() {
		for at := (storage.ScrubPosition{}); ; {
			var done bool
			var err error
			if at, done, err = s.Scrub(at, 20<<10); err != nil {
				t.Errorf("violation of integrity: %v", err)
				return
			}
			if done {
				passes++
				at = storage.ScrubPosition{}
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	newHistory(1200).save(t, s)
	close(stop)
	scrubbing.Wait()
	if passes == 0 {
		t.Error("no scrub came to its end")
	}
}

// What was removed or replaced under a running store is told too.
func TestScrubMissesNoFile(t *testing.T) {
	for _, name := range []string{"identity", "mark", "MANIFEST", "KEYREGISTRY", "*.sst", "*.mem"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			s := createBadger(t, damageOptions(dir))
			newHistory(20).save(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openBadger(t, damageOptions(dir))
			newHistory(2).save(t, s)
			if err := scrubAll(s, 1000); err != nil {
				t.Fatal(err)
			}
			files, err := filepath.Glob(filepath.Join(dir, name))
			if err != nil || len(files) == 0 {
				t.Fatalf("no %s: %v", name, err)
			}
			if err := os.Remove(files[len(files)-1]); err != nil {
				t.Fatal(err)
			}
			s.Impatient()
			wantError(t, scrubAll(s, 1000), storage.ErrDamaged)
		})
	}
}
