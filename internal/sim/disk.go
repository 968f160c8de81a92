package sim

import (
	"errors"

	"github.com/264bc8cf/epaxos/storage"
)

var (
	errCrash = errors.New("simulated crash inside a save")
	errDisk  = errors.New("simulated failure of the disk")
)

// disk is a memory store that can end its replica's life in the middle of a save.
type disk struct {
	memory  *storage.Memory
	next    FaultKind           // what the next save meets, if spoiled
	spoiled bool                // the next save meets a fault
	saves   int                 // that were synced
	synced  func(storage.Batch) // hears of every durable batch
	ambush  func(moment) error  // how the replica dies now, or nil
}

// moment is one of the steps between two epochs.
type moment uint8

const (
	beforeSwitch moment = iota // a group that begins an epoch is not written yet
	withinSwitch               // written, not synced
	behindSwitch               // synced
	beforeStage                // a part of another state is not staged yet
	behindStage
	moments
)

// dies asks whether the replica dies at a moment, and how.
func (d *disk) dies(at moment) error {
	if d.ambush == nil {
		return nil
	}
	return d.ambush(at)
}

func newDisk(m *storage.Memory) *disk { return &disk{memory: m} }

// spoil makes the next save meet a fault.
func (d *disk) spoil(kind FaultKind) { d.next, d.spoiled = kind, true }

// Save implements node.Store.
func (d *disk) Save(batch storage.Batch) error {
	spoiled := d.spoiled
	d.spoiled = false
	if spoiled && d.next == CrashBeforeSave {
		return errCrash
	}
	if spoiled && d.next == FailedWrite {
		return errDisk // and would take the next batch, so that only the node's own refusal stops it
	}
	switches := saysMembers(&batch)
	if switches {
		if err := d.dies(beforeSwitch); err != nil {
			return err
		}
	}
	if err := d.memory.Begin(batch); err != nil {
		return err
	}
	if switches {
		if err := d.dies(withinSwitch); err != nil {
			return err
		}
	}
	if spoiled && d.next == CrashUnsynced {
		return errCrash
	}
	if spoiled && d.next == FailedSync {
		return errDisk
	}
	if err := d.memory.Sync(); err != nil {
		return err
	}
	d.saves++
	d.synced(batch)
	if switches {
		return d.dies(behindSwitch)
	}
	return nil
}

// Stage implements node.Store.
func (d *disk) Stage(writes []storage.Write, note []byte) error {
	if err := d.dies(beforeStage); err != nil {
		return err
	}
	if err := d.memory.Stage(writes, note); err != nil {
		return err
	}
	return d.dies(behindStage)
}

// Staged implements node.Store.
func (d *disk) Staged() ([]byte, error) { return d.memory.Staged() }

// ScanStaged implements node.Store.
func (d *disk) ScanStaged(after []byte, visit func(key, value []byte) error) error {
	return d.memory.ScanStaged(after, visit)
}

// DropStaged implements node.Store.
func (d *disk) DropStaged() error { return d.memory.DropStaged() }

// Changes implements node.Store.
func (d *disk) Changes(since, at uint64, after []byte, visit func(storage.Write) error) error {
	return d.memory.Changes(since, at, after, visit)
}

// At implements node.Store.
func (d *disk) At(group uint64) (storage.Past, error) { return d.memory.At(group) }

// Unpin implements node.Store.
func (d *disk) Unpin(group uint64) { d.memory.Unpin(group) }

// SaveBytesMax implements node.Store.
func (d *disk) SaveBytesMax() int { return d.memory.SaveBytesMax() }

// Get implements node.Store.
func (d *disk) Get(key []byte) ([]byte, bool, error) { return d.memory.Get(key) }

// Scan implements node.Store.
func (d *disk) Scan(from, to []byte, visit func(key, value []byte) error) error {
	return d.memory.Scan(from, to, visit)
}

// Groups implements node.Store.
func (d *disk) Groups(visit func(uint64, []byte) error) error { return d.memory.Groups(visit) }

// LastGroup implements node.Store.
func (d *disk) LastGroup() uint64 { return d.memory.LastGroup() }

// Held implements node.Store.
func (d *disk) Held() uint64 { return d.memory.Held() }

// Pin implements node.Store.
func (d *disk) Pin() uint64 { return d.memory.Pin() }

// BatchBytesMax implements node.Store.
func (d *disk) BatchBytesMax() int { return d.memory.BatchBytesMax() }
