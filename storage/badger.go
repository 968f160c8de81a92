package storage

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	badger "github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"
)

// newestVersion reads the latest version of everything. Versions are ours to choose (managed mode):
// group n is committed as version n+1, which saves Badger's own bookkeeping of running transactions.
const newestVersion = math.MaxUint64

// metaVersion is before the version of every group.
const metaVersion = 1

// Badger is the Store of production. Make one with Open.
type Badger struct {
	opts   Options
	db     *badger.DB
	log    *badgerLog
	lock   *os.File
	mark   *mark
	reader *badger.Txn // reads the newest version, so it serves for the life of the store

	meta      meta
	staged    staged
	garbage   garbage
	lastChain chain
	last      atomic.Uint64
	first     atomic.Uint64 // meta.first, for any goroutine
	dead      error         // why nothing more is saved or read; only the goroutine that saves touches it
	holds     holds
	gate      gate // for the goroutines that do not save

	free    func() (uint64, error) // a test makes a disk run full
	wal     wal
	buffer  []byte         // keys and values of one Save
	entries []badger.Entry // likewise

	usage usageCache

	registry []byte // what Badger's file of that name holds, which never changes
	patience int    // of a scrub
}

var _ Store = (*Badger)(nil)

// Open opens the data directory of the replica that o names, and locks it. The log is checked as far
// as its two ends tell: that it ends at or above the mark. The whole is checked by Groups, which a
// replica must have run to the end before it votes.
//
// It fails with ErrEmpty where Create was never called, ErrForeign where another replica's directory
// is, ErrFormat, ErrDamaged, ErrCondemned and ErrNoSpace as they say; any other error is of the operating system.
// Reading every table once, it takes time in proportion to the size of the database.
func Open(o Options) (*Badger, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := refuseCondemned(o.Dir); err != nil {
		return nil, fmt.Errorf("open %s: %w", o.Dir, err)
	}
	found, _, err := readIdentity(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", o.Dir, err)
	}
	if found != o.Identity {
		return nil, fmt.Errorf("open %s: %w: it is of %v, this is %v", o.Dir, ErrForeign, found, o.Identity)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	b := &Badger{opts: o, lock: lock, log: newBadgerLog(o.Logger), wal: wal{dir: o.Dir}, patience: scrubPatience}
	b.free = func() (uint64, error) { return freeBytes(o.Dir) }
	if err := b.start(); err != nil {
		err = fmt.Errorf("open %s: %w", o.Dir, err)
		if b.db != nil {
			err = errors.Join(err, b.closeBadger())
		}
		return nil, errors.Join(err, b.release())
	}
	return b, nil
}

func (b *Badger) start() error {
	// Read under the lock: another process may just have made its first start, or been condemned, and ended.
	if err := refuseCondemned(b.opts.Dir); err != nil {
		return err
	}
	_, ran, err := readIdentity(b.opts.Dir)
	if err != nil {
		return err
	}
	if err := b.inspect(ran); err != nil {
		return err
	}
	if err := b.openBadger(); err != nil {
		return err
	}
	if !ran {
		if err := b.initialise(); err != nil {
			return err
		}
	}
	if err := b.loadMeta(); err != nil {
		return err
	}
	for _, step := range []func() error{b.loadStaged, b.finishRedo, b.loadLast, b.findGarbage} {
		if err := step(); err != nil {
			return err
		}
	}
	b.holds.restore(b.last.Load(), b.meta.held, b.meta.generation)
	b.discard(b.holds.floor) // before this, compaction discards nothing
	if b.mark == nil {
		if b.mark, err = openMark(b.opts.Dir); err != nil {
			return err
		}
	}
	last := b.last.Load()
	if last < b.mark.number {
		return fmt.Errorf("%w: the log ends at group %d, but group %d was durable once",
			ErrDamaged, last, b.mark.number)
	}
	if last > b.mark.number { // a crash came between the group and the mark
		return b.mark.move(last)
	}
	return nil
}

func (b *Badger) openBadger() error {
	err := guard("open the database", func() error {
		db, err := badger.OpenManaged(badgerOptions(b.opts, b.log))
		if err == nil {
			b.db = db // what comes with an error cannot even be closed
		}
		return err
	})
	if err == nil {
		err = b.log.err()
	}
	switch {
	case err == nil:
	case errors.Is(err, ErrDamaged):
		return err
	case isSystemError(err):
		return fmt.Errorf("storage: open the database: %w; it may be healthy, remove the cause and start again", err)
	default:
		return fmt.Errorf("%w: the database cannot be opened: %w", ErrDamaged, err)
	}
	b.reader = b.db.NewTransactionAt(newestVersion, false)
	if b.registry, err = os.ReadFile(filepath.Join(b.opts.Dir, badger.KeyRegistryFileName)); err != nil {
		return fmt.Errorf("storage: read the key registry: %w", err)
	}
	return nil
}

// initialise makes the first start of a replica durable, the identity last: until then a crash leaves
// a directory that never ran, and the next start does all of this again.
func (b *Badger) initialise() error {
	last, err := b.findLast()
	if err != nil {
		return err
	}
	if last > 0 {
		return fmt.Errorf("%w: the log has %d groups, but file %s says that the replica never started",
			ErrDamaged, last, identityName)
	}
	txn := b.db.NewTransactionAt(newestVersion, true)
	defer txn.Discard()
	err = txn.Set([]byte{prefixMeta}, newMeta(b.opts.Identity).encode())
	if err == nil {
		err = txn.CommitAt(metaVersion, nil)
	}
	if err == nil {
		err = b.wal.sync(entryOverhead)
	}
	if err != nil {
		return fmt.Errorf("storage: write the meta record: %w", err)
	}
	if b.mark, err = createMark(b.opts.Dir); err != nil {
		return err
	}
	return writeIdentity(b.opts.Dir, b.opts.Identity, true)
}

func (b *Badger) loadMeta() error {
	value, found, err := b.read([]byte{prefixMeta})
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("%w: the database has no meta record", ErrDamaged)
	}
	if b.meta, err = parseMeta(value); err != nil {
		return err
	}
	b.first.Store(b.meta.first)
	if b.meta.identity != b.opts.Identity {
		return fmt.Errorf("%w: its database is of %v, this is %v", ErrForeign, b.meta.identity, b.opts.Identity)
	}
	return nil
}

func (b *Badger) loadLast() error {
	last, err := b.findLast()
	if err != nil {
		return err
	}
	if last < b.meta.first {
		b.last.Store(b.meta.first - 1)
		b.lastChain = b.meta.before
		return nil
	}
	value, found, err := b.read(appendGroupKey(nil, last, 0))
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("%w: the beginning of group %d is missing", ErrDamaged, last)
	}
	header, _, err := parseGroupHeader(value)
	if err != nil {
		return err
	}
	b.last.Store(last)
	b.lastChain = header.chain
	return nil
}

// findLast is the number of the newest group, 0 if there is none.
func (b *Badger) findLast() (last uint64, err error) {
	err = guard("find the end of the log", func() error {
		it := b.reader.NewIterator(badger.IteratorOptions{Reverse: true})
		defer it.Close()
		it.Seek(appendGroupKey(nil, math.MaxUint64, math.MaxUint8))
		if !it.ValidForPrefix([]byte{prefixGroup}) {
			return nil
		}
		var err error
		last, _, err = parseGroupKey(it.Item().Key())
		return err
	})
	return last, err
}

func groupVersion(number uint64) uint64 { return number + metaVersion }

// LastGroup implements Store.
func (b *Badger) LastGroup() uint64 { return b.last.Load() }

// BatchBytesMax is what Bytes of a batch may be for Save to need one transaction only.
func (b *Badger) BatchBytesMax() int { return BatchBytesMax(b.opts.MemTableBytes) }

// SaveBytesMax is what Bytes of a batch may be for Save to take it.
func (b *Badger) SaveBytesMax() int { return b.opts.SaveBytesMax }

func (b *Badger) limits() limits {
	return limits{save: b.opts.SaveBytesMax, value: ValueBytesMax(b.opts.MemTableBytes)}
}

// Close implements Store. It waits for those who read in other goroutines, whose next step fails. It
// flushes Badger's memory tables and moves the mark to the last group, so
// that the loss of any group of a store that was closed is noticed. A dead store is only let go, since
// nothing more may be written to it; the memory it took goes with the process.
func (b *Badger) Close() error {
	if errors.Is(b.dead, ErrClosed) {
		return nil
	}
	failed := b.dead != nil
	b.dead = ErrClosed
	b.gate.close(ErrClosed)
	b.gate.wait()
	if failed {
		return b.release()
	}
	b.reader.Discard()
	err := b.closeBadger()
	if err == nil {
		err = b.mark.move(b.last.Load())
	}
	return errors.Join(err, b.release())
}

// closeBadger waits no longer than until Badger reports a failure: it retries a flush for ever.
func (b *Badger) closeBadger() error {
	closed := make(chan error, 1)
	go func() { closed <- guard("close the database", b.db.Close) }()
	select {
	case err := <-closed:
		return errors.Join(err, b.log.err())
	case <-b.log.failed:
		return b.log.err()
	}
}

// release lets go of what is not Badger's.
func (b *Badger) release() error {
	var err error
	if b.mark != nil {
		err = b.mark.close()
	}
	return errors.Join(err, b.wal.close(), b.lock.Close())
}

func (b *Badger) alive() error { return usable(b.dead) }

// fail ends the use of the store.
func (b *Badger) fail(err error) error {
	b.dead = err
	b.gate.close(err)
	return err
}

// usable is what a call to a store answers that is dead for this reason; nil if it lives.
func usable(dead error) error {
	if dead == nil || errors.Is(dead, ErrClosed) {
		return dead
	}
	return fmt.Errorf("storage: stopped by an earlier failure: %w", dead)
}

// guard runs a call into Badger, which panics on some damage.
func guard(act string, call func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %s: %v", ErrDamaged, act, r)
		}
	}()
	return call()
}

// isSystemError tells a refusal of the operating system, which no damage of the directory explains.
// Badger flattens what it wraps, so only the text is left to go by.
func isSystemError(err error) bool {
	text := err.Error()
	for _, code := range []unix.Errno{unix.EACCES, unix.EPERM, unix.EROFS, unix.ENOSPC, unix.EDQUOT, unix.EMFILE,
		unix.ENFILE, unix.ENOMEM, unix.EWOULDBLOCK, unix.EIO} {
		if strings.Contains(text, code.Error()) {
			return true
		}
	}
	return false
}
