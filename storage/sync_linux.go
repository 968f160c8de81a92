package storage

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncData makes the content of a file durable, also what was written through a mapping.
func syncData(file *os.File) error {
	for {
		if err := unix.Fdatasync(int(file.Fd())); err != unix.EINTR {
			return err
		}
	}
}
