package cluster

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Disk is the file system of one replica, in memory.
type Disk struct{ dir string }

// ErrCannotMount: this process may not mount file systems.
var ErrCannotMount = errors.New("a file system of its own for each replica needs the right to mount one")

const (
	diskBytes   = 512 << 20
	diskReserve = 128 << 20 // four memtables, the least that a replica accepts
	ballastStep = 4 << 20
	ballastName = "ballast"
)

// mountDisk puts a file system over a data directory, with the same content.
func mountDisk(dir string) (*Disk, error) {
	before := dir + ".made"
	if err := os.CopyFS(before, os.DirFS(dir)); err != nil {
		return nil, fmt.Errorf("make a disk: %w", err)
	}
	if err := mountTemporary(dir); err != nil {
		return nil, err
	}
	disk := &Disk{dir: dir}
	if err := errors.Join(os.Chmod(dir, 0o700), os.CopyFS(dir, os.DirFS(before))); err != nil {
		return nil, errors.Join(fmt.Errorf("make a disk: %w", err), disk.unmount())
	}
	return disk, nil
}

// Fill takes room until less is free than a replica wants to have.
func (d *Disk) Fill() error {
	file, err := os.OpenFile(d.ballast(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("fill a disk: %w", err)
	}
	defer file.Close() //nolint:errcheck // what it holds does not matter
	block := make([]byte, ballastStep)
	rand.Read(block) //nolint:errcheck // it never fails
	for {
		free, err := freeBytes(d.dir)
		if err != nil {
			return err
		}
		if free < diskReserve/2 {
			return nil
		}
		if _, err := file.Write(block); err != nil {
			return fmt.Errorf("fill a disk: %w", err)
		}
	}
}

// Empty gives the room back.
func (d *Disk) Empty() error {
	if err := os.Remove(d.ballast()); err != nil {
		return fmt.Errorf("empty a disk: %w", err)
	}
	return nil
}

// ballast is a file beside those of the replica.
func (d *Disk) ballast() string { return filepath.Join(d.dir, ballastName) }

func (d *Disk) save(to string) error {
	if err := os.Remove(d.ballast()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("save a disk: %w", err)
	}
	if err := os.CopyFS(to, os.DirFS(d.dir)); err != nil {
		return fmt.Errorf("save a disk: %w", err)
	}
	return nil
}
