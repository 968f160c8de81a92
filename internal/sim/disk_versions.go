package sim

import "github.com/264bc8cf/epaxos/storage"

// Changes implements node.Store.
func (d *disk) Changes(since, at uint64, after []byte, visit func(storage.Write) error) error {
	return d.memory.Changes(since, at, after, visit)
}

// Unpin implements node.Store.
func (d *disk) Unpin(group uint64) { d.memory.Unpin(group) }

// Stage implements node.Store.
func (d *disk) Stage(writes []storage.Write, note []byte) error { return d.memory.Stage(writes, note) }

// Staged implements node.Store.
func (d *disk) Staged() ([]byte, error) { return d.memory.Staged() }

// ScanStaged implements node.Store.
func (d *disk) ScanStaged(visit func(key, value []byte) error) error { return d.memory.ScanStaged(visit) }

// DropStaged implements node.Store.
func (d *disk) DropStaged() error { return d.memory.DropStaged() }
