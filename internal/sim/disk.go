package sim

import (
	"errors"

	"github.com/264bc8cf/epaxos/storage"
)

// errCrash: the replica dies inside a save.
var errCrash = errors.New("simulated crash inside a save")

// disk is a memory store that can end its replica's life in the middle of a save.
type disk struct {
	memory  *storage.Memory
	crashAt int                 // 1: before anything is written, 2: written but not synced
	synced  func(storage.Batch) // hears of every durable batch
}

func newDisk(m *storage.Memory) *disk { return &disk{memory: m} }

// Save implements node.Store.
func (d *disk) Save(batch storage.Batch) error {
	at := d.crashAt
	d.crashAt = 0
	if at == 1 {
		return errCrash
	}
	if err := d.memory.Begin(batch); err != nil {
		return err
	}
	if at == 2 {
		return errCrash
	}
	if err := d.memory.Sync(); err != nil {
		return err
	}
	d.synced(batch)
	return nil
}

// Get implements node.Store.
func (d *disk) Get(key []byte) ([]byte, bool, error) { return d.memory.Get(key) }

// Groups implements node.Store.
func (d *disk) Groups(visit func(uint64, []byte) error) error { return d.memory.Groups(visit) }

// LastGroup implements node.Store.
func (d *disk) LastGroup() uint64 { return d.memory.LastGroup() }

// BatchBytesMax implements node.Store.
func (d *disk) BatchBytesMax() int { return d.memory.BatchBytesMax() }
