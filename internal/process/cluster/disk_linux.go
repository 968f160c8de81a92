package cluster

import (
	"fmt"
	"syscall"
)

func mountTemporary(dir string) error {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", diskBytes)); err != nil {
		return fmt.Errorf("%w: %w", ErrCannotMount, err)
	}
	return nil
}

func (d *Disk) unmount() error {
	if err := syscall.Unmount(d.dir, 0); err != nil {
		return fmt.Errorf("unmount the disk at %s: %w", d.dir, err)
	}
	return nil
}

func freeBytes(dir string) (uint64, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return 0, fmt.Errorf("ask for the room on the disk at %s: %w", dir, err)
	}
	return stat.Bavail * uint64(stat.Bsize), nil
}
