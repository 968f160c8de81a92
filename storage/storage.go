package storage

import "errors"

// Store keeps one replica's log and applied state. It knows neither instances nor commands: a log
// group is opaque bytes, state is keys and values. One goroutine uses a Store at a time, the one that
// saves, except where a method says otherwise.
type Store interface {
	// Save makes one group and the writes that belong to it durable, all or nothing: when it returns
	// nil, both survive any crash. After an error other than ErrNoSpace, ErrBatchTooLarge and
	// ErrNotStaged (which leave everything as it was) the store is dead: every later call fails, and
	// the process must stop, since a second sync may claim success for pages the first one lost.
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

	Versions
	Staging

	// Scrub verifies the next part of what the store has, reading about budget bytes, or one part that is
	// larger: the log and the state against their checksums, and whatever else it keeps on disk. It goes on
	// where an earlier call ended, the zero position is the beginning; done tells that it came to the
	// end. ErrDamaged is damage found: the replica must stop, as if its store had refused to open. Any
	// goroutine, but one at a time, while others are saved.
	Scrub(from ScrubPosition, budget int) (next ScrubPosition, done bool, err error)
	// Usage reports disk use. Any goroutine.
	Usage() Usage
	// Close releases the store. What was saved stays saved.
	Close() error
}

// Versions lets the state be read as it was after an earlier group, while later ones are saved. Any
// goroutine may call its methods, at any time.
type Versions interface {
	// Changes calls visit, ascending, for the keys of the state as of group at that are greater than
	// after (nil: all) and were written after group since. With since 0 that is every key there is;
	// above 0 a key that was deleted since is visited with Delete set. What is held or pinned can be read,
	// and what is newest; ErrGone if at, or a since above 0, is older than all that is still kept. Once
	// begun, a visit goes on undisturbed by Save, and by an Unpin. Key and value of a Write are valid
	// during the call only. An error of visit ends it and is returned.
	Changes(since, at uint64, after []byte, visit func(Write) error) error
	// Pin keeps the state as of the newest group readable until as many calls of Unpin for that group.
	// A pin ends with the process, and becomes void when another state is adopted.
	Pin() (group uint64)
	Unpin(group uint64)
	// At lets the state as of a group be read that is held, pinned or newest, and keeps it readable until the Past is
	// closed; ErrGone if it is older than all that is still kept.
	At(group uint64) (Past, error)
	// Held is the group whose state is held durably by a Batch; 0 if none is.
	Held() (group uint64)
}

// Past is the state as it was after one group. Get and Scan are those of Store, but for one thing: once another state
// was adopted they fail with ErrGone. One goroutine uses a Past at a time, any one, while others use the store.
type Past interface {
	Get(key []byte) (value []byte, found bool, err error)
	Scan(from, to []byte, visit func(key, value []byte) error) error
	// Close lets go of the state. It must be called, once.
	Close()
}

// Staging takes in another replica's state, hidden beside the own one until a Batch adopts it. What is
// staged outlives the process, until it is adopted or dropped.
type Staging interface {
	// Stage adds keys and values, durably when it returns nil, and a note that replaces the one before,
	// such as the position to go on from. After a crash during it the old note stands, with any of the
	// writes: stage them again. A key that was staged may only be staged again with the same
	// value, and nothing can be deleted; DropStaged first. Errors are final as those of Save.
	Stage(writes []Write, note []byte) error
	// Staged is the latest note, nil if nothing is staged. Any goroutine.
	Staged() (note []byte, err error)
	// ScanStaged calls visit for everything staged whose key is greater than after (nil: all), ascending, as Scan
	// does. Any goroutine.
	ScanStaged(after []byte, visit func(key, value []byte) error) error
	// DropStaged forgets everything staged.
	DropStaged() error
}

// Batch is what one turn saves. Group gets the number LastGroup()+1. A store keeps nothing of it after
// Save has returned.
type Batch struct {
	Group  []byte
	Writes []Write
	// DropGroups is how many of the oldest groups are deleted with it, of those kept before; 0 is none.
	// What they hold and somebody still needs must stand in later groups, at the latest in this one.
	DropGroups int
	// Hold tells which state is held for Versions from this group on.
	Hold HoldAction
	// Adopt puts what is staged in the place of the state; Writes apply on top of it. Older states, held
	// or pinned, are void. ErrNotStaged where nothing is staged.
	Adopt bool
}

// HoldAction is what a batch does to the durable hold, of which there is one at most.
type HoldAction byte

// The actions.
const (
	HoldKeep HoldAction = iota // the hold stays as it is
	HoldThis                   // this group's state is held instead of what was, however many groups follow
	HoldNone                   // nothing is held any more
)

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
	// Held is the group whose state is held, 0 if none is. HeldBytes is what was saved since then, or since the
	// store was opened if that is later: as long as a state is held or pinned, nothing of that is ever
	// given back, be it overwritten or dropped.
	Held      uint64
	HeldBytes uint64
}

var (
	// ErrBatchTooLarge: the batch exceeds SaveBytesMax, or part of it a limit of its own. Nothing was saved.
	ErrBatchTooLarge = errors.New("storage: batch is more than can be saved")
	// ErrNoSpace: free space is below the reserve. Nothing was saved; free space and go on. A batch that releases
	// what is held may use half of the reserve.
	ErrNoSpace = errors.New("storage: free disk space is below the reserve")
	// ErrDamaged: the directory lost or changed what it once held. The replica must not vote
	// with it: Condemn it. A new incarnation takes its place.
	ErrDamaged = errors.New("storage: data directory is damaged")
	// ErrCondemned: Condemn was called on the directory. Replace the replica by a new member.
	ErrCondemned = errors.New("storage: data directory is condemned")
	// ErrForeign: the directory belongs to another replica, cluster or incarnation.
	ErrForeign = errors.New("storage: data directory belongs to another replica")
	// ErrFormat: the directory was written in a format that this program does not read.
	ErrFormat = errors.New("storage: data directory has an unsupported format")
	// ErrEmpty: the directory holds no replica, and was not initialised as one.
	ErrEmpty = errors.New("storage: data directory is empty")
	// ErrGone: the state asked for is no longer kept, or is not there yet. Begin again with a newer one.
	ErrGone = errors.New("storage: the state of that group is not kept")
	// ErrNotStaged: a batch adopts what was staged, but nothing is. Nothing was saved.
	ErrNotStaged = errors.New("storage: there is no staged state to adopt")
	// ErrClosed: the store was used after Close.
	ErrClosed = errors.New("storage: store is closed")
)
