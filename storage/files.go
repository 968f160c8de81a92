package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const lockName = "lock"

// listDir names what a directory holds, sorted, but for what a fresh file system holds by itself
// and what an interrupted write of ours left.
func listDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("storage: list the data directory: %w", err)
	}
	var names []string
	for _, e := range entries {
		switch e.Name() {
		case "lost+found", identityName + ".tmp", condemnedName + ".tmp":
		default:
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// writeFileDurably replaces a file so that a crash leaves either the old content or the new.
func writeFileDurably(dir, name string, content []byte) error {
	path := filepath.Join(dir, name)
	file, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the names in a directory durable: syncing a file does not sync its name.
func syncDir(dir string) error {
	file, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("storage: open the directory %s: %w", dir, err)
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("storage: sync the directory %s: %w", dir, err)
	}
	return nil
}

// lockDir keeps other processes out until the file is closed. The lock is our own, taken before
// anything in the directory is touched; Badger takes another on the directory itself.
func lockDir(dir string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("storage: open the lock: %w", err)
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return file, nil
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("storage: another process uses %s; stop it first", dir)
	} else {
		err = fmt.Errorf("storage: lock %s: %w", dir, err)
	}
	return nil, errors.Join(err, file.Close())
}

// freeBytes is what an unprivileged process may still write to the file system of dir.
func freeBytes(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("storage: measure the free space of %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// allocatedBytes is what the files of dir take on disk. Badger's are sparse, so their sizes say little.
func allocatedBytes(dir string) (uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, fmt.Errorf("storage: list the data directory: %w", err)
	}
	var total uint64
	for _, e := range entries {
		var st unix.Stat_t
		// A file may have gone since it was listed: compaction runs in the background.
		if unix.Lstat(filepath.Join(dir, e.Name()), &st) == nil {
			total += uint64(st.Blocks) * 512
		}
	}
	return total, nil
}
