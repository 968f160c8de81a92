package storage

import "fmt"

const (
	// KeyBytesMax bounds a key of the applied state.
	KeyBytesMax = 32 << 10
	// WriteBytesOverhead is what a batch pays for each write, and for its group, besides their bytes.
	WriteBytesOverhead = 128

	batchBytesFixed = 256
)

// BatchBytesMax is the size that Bytes of a batch may reach, given the size of Badger's memory
// tables; 0 means the default size.
func BatchBytesMax(memTableBytes int64) int {
	if memTableBytes == 0 {
		memTableBytes = MemTableBytesDefault
	}
	return int(memTableBytes * 15 / 100)
}

// ValueBytesMax is the size of the largest value of the applied state that a store with memory tables
// of this size takes; 0 means the default size. A group may be as large as the batch.
func ValueBytesMax(memTableBytes int64) int {
	if memTableBytes == 0 {
		memTableBytes = MemTableBytesDefault
	}
	return valueBytesMax(memTableBytes) - stateHeaderBytes
}

// Bytes is the size of the batch against BatchBytesMax. It counts more than the bytes themselves,
// so that a batch within the budget never meets Badger's limits on size or number of entries.
func (b Batch) Bytes() int {
	size := batchBytesFixed + WriteBytesOverhead*(1+b.DropGroups) + len(b.Group)
	for i := range b.Writes {
		size += b.Writes[i].Bytes()
	}
	return size
}

// Bytes is what the write adds to the size of its batch.
func (w Write) Bytes() int {
	return WriteBytesOverhead + len(w.Key) + len(w.Value)
}

// checkStaged checks what is to be staged.
func checkStaged(writes []Write, valueBytesMax int) error {
	for i := range writes {
		if writes[i].Delete {
			return fmt.Errorf("%w: a deletion of key %q cannot be staged", ErrBatchTooLarge, writes[i].Key)
		}
	}
	return checkWrites(writes, valueBytesMax)
}

func (b Batch) check(batchBytesMax, valueBytesMax int, groups uint64) error {
	if b.DropGroups < 0 || uint64(b.DropGroups) > groups {
		return fmt.Errorf("%w: %d groups are to be dropped, %d are kept", ErrBatchTooLarge, b.DropGroups, groups)
	}
	if b.Hold > HoldNone {
		return fmt.Errorf("%w: %d is no way to hold a state", ErrBatchTooLarge, b.Hold)
	}
	if size := b.Bytes(); size > batchBytesMax {
		return fmt.Errorf("%w: %d of %d bytes", ErrBatchTooLarge, size, batchBytesMax)
	}
	return checkWrites(b.Writes, valueBytesMax)
}

func checkWrites(writes []Write, valueBytesMax int) error {
	for i := range writes {
		w := &writes[i]
		if len(w.Key) > KeyBytesMax {
			return fmt.Errorf("%w: a key has %d of %d bytes", ErrBatchTooLarge, len(w.Key), KeyBytesMax)
		}
		if len(w.Value) > valueBytesMax {
			return fmt.Errorf("%w: a value has %d of %d bytes", ErrBatchTooLarge, len(w.Value), valueBytesMax)
		}
	}
	return nil
}
