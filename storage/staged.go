package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync"

	badger "github.com/dgraph-io/badger/v4"
)

// stagedRecord tells what is staged. Each change writes one with the next sequence number under a key of its
// own, and the highest counts: two values of one key in one version would leave it to Badger which one is
// the newer.
type stagedRecord struct {
	seq        uint64
	active     bool // or what was staged last has been adopted or dropped
	generation byte // of the state keys that hold it
	note       []byte
}

const (
	stagedKeyBytes    = 1 + 8
	stagedHeaderBytes = 4 + 1 + 1
)

// ended is the record after what was staged has been adopted or dropped.
func (r stagedRecord) ended() stagedRecord {
	return stagedRecord{seq: r.seq + 1, generation: r.generation}
}

func (r stagedRecord) key() []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixStaged}, r.seq)
}

func (r stagedRecord) encode() []byte {
	b := make([]byte, 4, stagedHeaderBytes+len(r.note))
	if r.active {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	b = append(append(b, r.generation), r.note...)
	binary.BigEndian.PutUint32(b, stateChecksum(r.key(), b[4:]))
	return b
}

func parseStaged(key, value []byte) (r stagedRecord, err error) {
	if len(key) != stagedKeyBytes || key[0] != prefixStaged || len(value) < stagedHeaderBytes ||
		binary.BigEndian.Uint32(value) != crc32.Update(crc32.Checksum(key, crcState), crcState, value[4:]) ||
		value[4] > 1 {
		return r, fmt.Errorf("%w: the record of what is staged does not fit its checksum", ErrDamaged)
	}
	return stagedRecord{
		seq: binary.BigEndian.Uint64(key[1:]), active: value[4] == 1, generation: value[5],
		note: bytes.Clone(value[stagedHeaderBytes:]),
	}, nil
}

// staged is the newest record. Only the saver changes it, so only others need the lock to read it.
type staged struct {
	mu     sync.Mutex
	record stagedRecord
}

func (s *staged) set(r stagedRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record = r
}

func (s *staged) get() stagedRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record
}

// loadStaged finds what was staged.
func (b *Badger) loadStaged() error {
	r := stagedRecord{generation: b.meta.generation}
	err := b.iterate([]byte{prefixStaged}, []byte{prefixStaged}, func(key, value []byte) (err error) {
		r, err = parseStaged(key, value)
		return err
	})
	if err != nil {
		return err
	}
	b.staged.set(r)
	return nil
}

// Stage implements Staging: in as many transactions as it takes, the note in the last.
func (b *Badger) Stage(writes []Write, note []byte) error {
	if err := b.alive(); err != nil {
		return err
	}
	if err := checkStaged(writes, ValueBytesMax(b.opts.MemTableBytes)); err != nil {
		return err
	}
	if limit := b.BatchBytesMax() / 4; len(note) > limit {
		return fmt.Errorf("%w: a note has %d of %d bytes", ErrBatchTooLarge, len(note), limit)
	}
	if err := b.spaceFor(Batch{Group: note, Writes: writes}.Bytes()); err != nil {
		return err
	}
	if err := b.stage(writes, note); err != nil {
		return b.fail(fmt.Errorf("storage: stage: %w", err))
	}
	return nil
}

func (b *Badger) stage(writes []Write, note []byte) error {
	r := b.staged.record
	r.seq++
	if !r.active {
		generation, err := b.freshGeneration()
		if err != nil {
			return err
		}
		r.active, r.generation = true, generation
	}
	r.note = append([]byte{}, note...)
	for {
		n := fitting(writes, b.BatchBytesMax()/2)
		part := Batch{Group: r.note, Writes: writes[:n]}
		last := n == len(writes)
		err := b.transact(part, func(w *writer) error {
			err := w.states(r.generation, part.Writes)
			if err != nil || !last {
				return err
			}
			return b.noteStaged(w.txn, r)
		})
		if err != nil {
			return err
		}
		if writes = writes[n:]; last {
			b.meta = b.meta.withHolds()
			b.staged.set(r)
			return nil
		}
	}
}

// fitting is how many of the writes, at least one, stay within so many bytes.
func fitting(writes []Write, bytesMax int) (n int) {
	for size := 0; n < len(writes); n++ {
		if size += writes[n].Bytes(); size > bytesMax && n > 0 {
			break
		}
	}
	return n
}

// noteStaged writes a record instead of the one before, and makes sure that no program goes on that would not
// understand it.
func (b *Badger) noteStaged(txn *badger.Txn, r stagedRecord) error {
	if b.meta.format < formatHolds {
		if err := txn.Set([]byte{prefixMeta}, b.meta.withHolds().encode()); err != nil {
			return err
		}
	}
	if err := txn.Delete(b.staged.record.key()); err != nil {
		return err
	}
	return txn.Set(r.key(), r.encode())
}

// Staged implements Staging.
func (b *Badger) Staged() (note []byte, err error) {
	if err := b.gate.err(); err != nil {
		return nil, err
	}
	if r := b.staged.get(); r.active {
		return append([]byte{}, r.note...), nil
	}
	return nil, nil
}

// ScanStaged implements Staging.
func (b *Badger) ScanStaged(after []byte, visit func(key, value []byte) error) error {
	if err := b.gate.enter(); err != nil {
		return err
	}
	defer b.gate.leave()
	r := b.staged.get()
	if !r.active {
		return nil
	}
	txn := b.db.NewTransactionAt(newestVersion, false)
	defer txn.Discard()
	prefix := appendStateKey(nil, r.generation, nil)
	it, err := newIterator(txn, badger.IteratorOptions{Prefix: prefix})
	if err != nil {
		return err
	}
	defer it.Close()
	first := bytes.Clone(prefix)
	if after != nil {
		first = append(append(first, after...), 0) // the least key above it
	}
	return walk(it, first, func(item *badger.Item, stored []byte) error {
		if err := b.gate.err(); err != nil {
			return err
		}
		value, err := parseStateValue(item.Key(), stored)
		if err != nil {
			return err
		}
		return visit(item.Key()[len(prefix):], value)
	})
}

// DropStaged implements Staging. What was staged is deleted later, bit by bit.
func (b *Badger) DropStaged() error {
	if err := b.alive(); err != nil {
		return err
	}
	old := b.staged.record
	if !old.active {
		return nil
	}
	if err := b.spaceFor(Batch{}.Bytes()); err != nil {
		return err
	}
	if err := b.transact(Batch{}, func(w *writer) error { return b.noteStaged(w.txn, old.ended()) }); err != nil {
		return b.fail(fmt.Errorf("storage: drop what is staged: %w", err))
	}
	b.staged.set(old.ended())
	b.garbage.add(old.generation)
	return nil
}
