package storage

import "errors"

// Store keeps one replica's log and applied state. It knows neither instances nor commands: a log
// group is opaque bytes, state is keys and values. One goroutine uses a Store at a time, except
// where a method says otherwise.
type Store interface {
	// Save makes one group and the writes that belong to it durable, all or nothing, in one synced
	// transaction: when it returns nil, both survive any crash. After an error other than
	// ErrNoSpace and ErrBatchTooLarge (which leave everything as it was) the store is dead: every
	// later call fails, and the process must stop, since a second sync may claim success for pages
	// the first one lost.
	Save(batch Batch) error
	// Get reads the applied state. found is false where there is no such key. A value that does
	// not fit its checksum is an error, never data. The caller may keep the value.
	Get(key []byte) (value []byte, found bool, err error)
	// Scan calls visit for every key of the state in [from, to), ascending; a nil to is no bound.
	// Keys and values are valid during the call only. An error of visit ends the scan and is returned.
	Scan(from, to []byte, visit func(key, value []byte) error) error
	// Groups calls visit for every saved group, ascending from the oldest kept. Group is valid
	// during the call only. A hole, a broken chain, a log that does not begin where the last batch that
	// dropped groups left it, or one that ends below its mark, is ErrDamaged.
	Groups(visit func(number uint64, group []byte) error) error
	// LastGroup is the number of the newest durable group; 0 if there is none. Any goroutine.
	LastGroup() uint64
	// Usage reports disk use. Any goroutine.
	Usage() Usage
	// Close releases the store. What was saved stays saved.
	Close() error
}

// Batch is what one turn saves. Group gets the number LastGroup()+1. A store keeps nothing of it after
// Save has returned.
type Batch struct {
	Group  []byte
	Writes []Write
	// DropGroups is how many of the oldest groups are deleted with it, of those kept before; 0 is none.
	// What they hold and somebody still needs must stand in later groups, at the latest in this one.
	DropGroups int
}

// Write sets or deletes one key of the applied state.
type Write struct {
	Key    []byte
	Value  []byte
	Delete bool
}

// Usage is what a store takes and what is left for it.
type Usage struct {
	DiskBytes  uint64 // allocated blocks of the data directory, not apparent size
	FreeBytes  uint64 // available on its file system
	GroupFirst uint64
	GroupLast  uint64
}

var (
	// ErrBatchTooLarge: the batch exceeds BatchBytesMax. Nothing was saved; cut it.
	ErrBatchTooLarge = errors.New("storage: batch exceeds the byte budget of a transaction")
	// ErrNoSpace: free space is below the reserve. Nothing was saved; free space and go on.
	ErrNoSpace = errors.New("storage: free disk space is below the reserve")
	// ErrDamaged: the directory lost or changed what it once held. The replica must not vote
	// with it; it comes back under a new incarnation.
	ErrDamaged = errors.New("storage: data directory is damaged")
	// ErrForeign: the directory belongs to another replica, cluster or incarnation.
	ErrForeign = errors.New("storage: data directory belongs to another replica")
	// ErrFormat: the directory was written in a format that this program does not read.
	ErrFormat = errors.New("storage: data directory has an unsupported format")
	// ErrEmpty: the directory holds no replica, and was not initialised as one.
	ErrEmpty = errors.New("storage: data directory is empty")
	// ErrClosed: the store was used after Close.
	ErrClosed = errors.New("storage: store is closed")
)
