package storage_test

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/264bc8cf/epaxos/storage"
)

// A disk that runs full for real: the store refuses in time, Badger does not die of it, nothing is
// lost, and work goes on when there is room.
func TestFullDisk(t *testing.T) {
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("needs the right to mount a file system: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(mount, unix.MNT_DETACH) })
	o := damageOptions(filepath.Join(mount, "data"))
	o.FreeReserveBytes = 7 << 20
	s := createBadger(t, o)
	saved, err := saveUntilError(s, 0)
	wantError(t, err, storage.ErrNoSpace, "MiB are free", o.Dir)
	if saved < 100 {
		t.Fatalf("only %d groups fit", saved)
	}
	if err := newHistory(saved).check(s); err != nil {
		t.Fatalf("the full store: %v", err)
	}
	if u := s.Usage(); u.FreeBytes > 16<<20 || u.DiskBytes < 4<<20 {
		t.Errorf("a full disk of 16 MiB is told as %+v", u)
	}
	if err := unix.Mount("tmpfs", mount, "tmpfs", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(historyBatch(saved + 1)); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := newHistory(saved + 1).check(openBadger(t, o)); err != nil {
		t.Fatalf("after reopening: %v", err)
	}
}

func saveUntilError(s storage.Store, saved int) (int, error) {
	for {
		if err := s.Save(historyBatch(saved + 1)); err != nil {
			return saved, err
		}
		saved++
	}
}
