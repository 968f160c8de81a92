package storage

import "fmt"

const (
	// KeyBytesMax bounds a key of the applied state.
	KeyBytesMax = 32 << 10
	// WriteBytesOverhead is what a batch pays for each write, and for its group, besides their bytes.
	WriteBytesOverhead = 128

	batchBytesFixed = 256
)

// SaveBytesMax is the size that Bytes of a batch may reach, unless options set a lower limit. A store keeps
// the batch in memory while it saves it, and reads it back whole if it is killed meanwhile.
const SaveBytesMax = 1 << 30

// BatchBytesMax is the size that Bytes of a batch may reach to be saved in one transaction, given the size of
// Badger's memory tables; 0 means the default size. Saving a larger one is possible, and takes some seconds per
// gigabyte, during which nothing else is saved.
func BatchBytesMax(memTableBytes int64) int {
	if memTableBytes == 0 {
		memTableBytes = MemTableBytesDefault
	}
	return int(memTableBytes * 15 / 100)
}

// ValueBytesMax is the size of the largest value of the applied state that a store with memory tables
// of this size takes; 0 means the default size. A group may be as large as the batch, but no more than
// 250 times that.
func ValueBytesMax(memTableBytes int64) int {
	if memTableBytes == 0 {
		memTableBytes = MemTableBytesDefault
	}
	return valueBytesMax(memTableBytes) - stateHeaderBytes
}

// Bytes is the size of the batch against BatchBytesMax and SaveBytesMax. It counts more than the bytes themselves,
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

const (
	// groupPartsMax is how many values a group may take. One byte counts them.
	groupPartsMax = 255
	// partOverhead is more than a transaction needs besides the one value it sets.
	partOverhead = 1 << 10
)

// limits are what a store takes.
type limits struct {
	save  int // Bytes of a batch
	value int // bytes of a value of the state
}

func (b Batch) check(l limits, groups uint64) error {
	if b.DropGroups < 0 || uint64(b.DropGroups) > groups {
		return fmt.Errorf("%w: %d groups are to be dropped, %d are kept", ErrBatchTooLarge, b.DropGroups, groups)
	}
	if b.Hold > HoldNone {
		return fmt.Errorf("%w: %d is no way to hold a state", ErrBatchTooLarge, b.Hold)
	}
	if size := b.Bytes(); size > l.save {
		return fmt.Errorf("%w: %d of %d bytes", ErrBatchTooLarge, size, l.save)
	}
	if most := groupPartsMax*(l.value-partOverhead) - groupHeaderBytes; len(b.Group) > most {
		return fmt.Errorf("%w: a group has %d of %d bytes", ErrBatchTooLarge, len(b.Group), most)
	}
	return checkWrites(b.Writes, l.value)
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
