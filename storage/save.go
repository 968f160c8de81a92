package storage

import (
	"encoding/binary"
	"errors"
	"fmt"

	badger "github.com/dgraph-io/badger/v4"
)

// Save implements Store. A batch of up to BatchBytesMax is one Badger transaction and one sync. A larger one
// takes as many as it has megabytes, twice: see redo.go.
func (b *Badger) Save(batch Batch) error {
	if err := b.alive(); err != nil {
		return err
	}
	kept := b.last.Load() + 1 - b.meta.first
	if err := batch.check(b.limits(), kept); err != nil {
		return err
	}
	large := batch.Bytes() > b.BatchBytesMax()
	if batch.Adopt && !b.staged.record.active {
		return ErrNotStaged
	}
	reserve := b.opts.FreeReserveBytes
	if batch.Hold == HoldNone {
		reserve /= 2 // or what is held could keep a full disk full for ever
	}
	if err := b.spaceWithin(reserve, batch.Bytes()); err != nil {
		return err
	}
	number := b.last.Load() + 1
	var err error
	if large {
		err = b.commitRedo(number, batch)
	} else {
		err = b.commit(number, batch)
	}
	if err != nil {
		return b.fail(fmt.Errorf("storage: save group %d: %w", number, err))
	}
	// The mark follows the group, so it is never ahead of what is durable, and guards the group from here on.
	if err := b.mark.move(number); err != nil {
		return b.fail(err)
	}
	b.last.Store(number)
	b.publish(number, batch)
	return nil
}

// publish lets the new group be read by other goroutines, and compaction drop what newer versions replaced.
func (b *Badger) publish(number uint64, batch Batch) {
	b.discard(b.holds.publish(number, batch, b.meta.generation))
}

// spaceFor fails with ErrNoSpace where so much may not be written, which leaves the store as it was.
func (b *Badger) spaceFor(bytes int) error { return b.spaceWithin(b.opts.FreeReserveBytes, bytes) }

func (b *Badger) spaceWithin(reserve uint64, bytes int) error {
	err := b.checkSpace(reserve, bytes)
	if err != nil && !errors.Is(err, ErrNoSpace) {
		return b.fail(err)
	}
	return err
}

// checkSpace refuses before anything is written. Badger maps sparse files into memory, so on a full
// disk it does not fail but dies of SIGBUS.
func (b *Badger) checkSpace(reserve uint64, bytes int) error {
	free, err := b.free()
	if err != nil {
		return err
	}
	if bytes > b.BatchBytesMax() {
		bytes *= redoSpace
	}
	if need := reserve + uint64(bytes); free < need {
		return fmt.Errorf("%w: %d MiB are free for %s, %d MiB must be; make room", ErrNoSpace,
			free>>20, b.opts.Dir, need>>20)
	}
	return nil
}

func (b *Badger) commit(number uint64, batch Batch) error {
	chain := b.lastChain.next(number, batch.Group)
	var after meta
	var staged stagedRecord
	var swept sweep
	err := b.transactAt(groupVersion(number), batch, func(w *writer) (err error) {
		if after, staged, err = b.settle(w, number, batch); err != nil {
			return err
		}
		header := b.newGroupHeader(number, chain, batch.Group)
		for part := range header.parts {
			if err := w.groupPart(header, part, batch.Group); err != nil {
				return err
			}
		}
		if err := w.states(after.generation, batch.Writes); err != nil {
			return err
		}
		swept, err = b.sweep(w.txn, b.BatchBytesMax()-batch.Bytes())
		return err
	})
	if err != nil {
		return err
	}
	b.garbage.swept(swept)
	b.committed(chain, after, staged)
	return nil
}

// committed goes on from a group that is durable.
func (b *Badger) committed(chain chain, after meta, staged stagedRecord) {
	if after.generation != b.meta.generation {
		b.garbage.add(b.meta.generation)
	}
	if staged.seq != b.staged.record.seq {
		b.staged.set(staged)
	}
	b.lastChain, b.meta = chain, after
	b.first.Store(after.first)
}

// settle adds what a batch changes besides the group and the state: where the log begins, what is held, and
// which generation of the state is in force.
func (b *Badger) settle(w *writer, number uint64, batch Batch) (after meta, staged stagedRecord, err error) {
	after, staged = b.meta, b.staged.record
	if batch.DropGroups > 0 {
		after, err = b.drop(w.txn, batch.DropGroups)
	}
	after.held = batch.Hold.apply(after.held, number, batch.Adopt)
	if err == nil && batch.Adopt {
		after.generation = staged.generation
		staged = staged.ended()
		err = b.noteStaged(w.txn, staged)
	}
	if err == nil && after != b.meta {
		after = after.upgraded()
		err = w.txn.Set([]byte{prefixMeta}, after.encode())
	}
	return after, staged, err
}

// transact makes what fill writes durable without a group: in the version of the newest one, so that the
// state as of that group has it, once a later group puts it in force. Size is a batch as large.
func (b *Badger) transact(size Batch, fill func(w *writer) error) error {
	return b.transactAt(groupVersion(b.last.Load()), size, fill)
}

func (b *Badger) transactAt(version uint64, size Batch, fill func(w *writer) error) error {
	if b.opts.step != nil {
		if err := b.opts.step(); err != nil {
			return err
		}
	}
	txn := b.db.NewTransactionAt(newestVersion, true)
	defer txn.Discard()
	if err := fill(b.newWriter(txn, size)); err != nil {
		return err
	}
	return b.commitSynced(txn, version, size.Bytes())
}

// commitSynced returns when the transaction is durable, or as soon as Badger reports a failure from
// the background: where its flushes fail for good, a commit would wait for ever.
func (b *Badger) commitSynced(txn *badger.Txn, version uint64, bytes int) error {
	committed := make(chan error, 1)
	err := guard("commit", func() error {
		return txn.CommitAt(version, func(err error) { committed <- err })
	})
	if err != nil {
		return err
	}
	select {
	case err = <-committed:
	case <-b.log.failed:
	}
	if err := errors.Join(err, b.log.err()); err != nil {
		return err
	}
	return b.wal.sync(bytes)
}

// writer fills a transaction. Keys, values and entries live in buffers that the next Save uses again:
// Badger needs them until it has committed, and no longer.
type writer struct {
	txn          *badger.Txn
	buffer       []byte
	entries      []badger.Entry
	partBytesMax int
}

// newWriter makes the buffers large enough for a batch of this size at once, since entries must not move.
func (b *Badger) newWriter(txn *badger.Txn, size Batch) *writer {
	if need := size.Bytes(); cap(b.buffer) < need {
		b.buffer = make([]byte, 0, need)
	}
	if need := len(size.Writes) + b.parts(size.Group); cap(b.entries) < need {
		b.entries = make([]badger.Entry, 0, need)
	}
	return &writer{txn: txn, buffer: b.buffer[:0], entries: b.entries[:0], partBytesMax: b.partBytesMax()}
}

// partBytesMax is the size of a value that holds a part of a group, or of a redo: alone in a transaction it
// fits into it.
func (b *Badger) partBytesMax() int { return ValueBytesMax(b.opts.MemTableBytes) - partOverhead }

// parts is into how many values a group is cut: one, unless it exceeds what one value may hold.
func (b *Badger) parts(group []byte) int { return 1 + (groupHeaderBytes+len(group)-1)/b.partBytesMax() }

func (b *Badger) newGroupHeader(number uint64, chain chain, group []byte) groupHeader {
	return groupHeader{number: number, chain: chain, parts: b.parts(group)}
}

// partSize is a batch as large as a part of a group.
func (b *Badger) partSize(group []byte, part int) Batch {
	return Batch{Group: partOf(group, part, b.partBytesMax())}
}

// partOf is what a part has of the group: the first one less, since it begins with the header.
func partOf(group []byte, part, partBytesMax int) []byte {
	from := max(0, part*partBytesMax-groupHeaderBytes)
	to := (part+1)*partBytesMax - groupHeaderBytes
	return group[from:min(to, len(group))]
}

func (w *writer) groupPart(h groupHeader, part int, group []byte) error {
	start := len(w.buffer)
	w.buffer = appendGroupKey(w.buffer, h.number, part)
	keyEnd := len(w.buffer)
	if part == 0 {
		w.buffer = h.append(w.buffer)
	}
	w.buffer = append(w.buffer, partOf(group, part, w.partBytesMax)...)
	return w.set(start, keyEnd)
}

func (w *writer) states(generation byte, writes []Write) error {
	for i := range writes {
		if err := w.state(generation, writes[i]); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) state(generation byte, write Write) error {
	start := len(w.buffer)
	w.buffer = appendStateKey(w.buffer, generation, write.Key)
	keyEnd := len(w.buffer)
	if write.Delete {
		return w.txn.Delete(w.buffer[start:keyEnd:keyEnd])
	}
	sum := stateChecksum(w.buffer[start:keyEnd], write.Value)
	w.buffer = append(binary.BigEndian.AppendUint32(w.buffer, sum), write.Value...)
	return w.set(start, keyEnd)
}

// set adds the entry whose key and value are the last bytes of the buffer.
func (w *writer) set(start, keyEnd int) error {
	end := len(w.buffer)
	w.entries = append(w.entries, badger.Entry{
		Key:   w.buffer[start:keyEnd:keyEnd],
		Value: w.buffer[keyEnd:end:end],
	})
	return w.txn.SetEntry(&w.entries[len(w.entries)-1])
}
