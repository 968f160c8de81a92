package storage

import (
	"encoding/binary"
	"errors"
	"fmt"

	badger "github.com/dgraph-io/badger/v4"
)

// Save implements Store: one Badger transaction, one sync.
func (b *Badger) Save(batch Batch) error {
	if err := b.alive(); err != nil {
		return err
	}
	kept := b.last.Load() + 1 - b.meta.first
	if err := batch.check(b.BatchBytesMax(), ValueBytesMax(b.opts.MemTableBytes), kept); err != nil {
		return err
	}
	if batch.Adopt && !b.staged.record.active {
		return ErrNotStaged
	}
	if err := b.spaceFor(batch.Bytes()); err != nil {
		return err
	}
	number := b.last.Load() + 1
	if err := b.commit(number, batch); err != nil {
		if !errors.Is(err, ErrBatchTooLarge) {
			return b.fail(err)
		}
		return err
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
func (b *Badger) spaceFor(bytes int) error {
	err := b.checkSpace(bytes)
	if err != nil && !errors.Is(err, ErrNoSpace) {
		return b.fail(err)
	}
	return err
}

// checkSpace refuses before anything is written. Badger maps sparse files into memory, so on a full
// disk it does not fail but dies of SIGBUS.
func (b *Badger) checkSpace(bytes int) error {
	free, err := b.free()
	if err != nil {
		return err
	}
	if need := b.opts.FreeReserveBytes + uint64(bytes); free < need {
		return fmt.Errorf("%w: %d MiB are free for %s, %d MiB must be; make room", ErrNoSpace,
			free>>20, b.opts.Dir, need>>20)
	}
	return nil
}

func (b *Badger) commit(number uint64, batch Batch) error {
	txn := b.db.NewTransactionAt(newestVersion, true)
	defer txn.Discard()
	chain := b.lastChain.next(number, batch.Group)
	w := b.newWriter(txn, batch)
	after, staged, err := b.settle(w, number, batch)
	if err == nil {
		err = w.group(groupHeader{number: number, chain: chain}, batch.Group)
	}
	for i := 0; i < len(batch.Writes) && err == nil; i++ {
		err = w.state(after.generation, batch.Writes[i])
	}
	var swept sweep
	if err == nil {
		swept, err = b.sweep(txn, b.BatchBytesMax()-batch.Bytes())
	}
	if errors.Is(err, badger.ErrTxnTooBig) {
		return fmt.Errorf("%w: %w", ErrBatchTooLarge, err)
	}
	if err == nil {
		err = b.commitSynced(txn, groupVersion(number), batch.Bytes())
	}
	if err != nil {
		return fmt.Errorf("storage: save group %d: %w", number, err)
	}
	replaced := b.meta.generation
	b.lastChain, b.meta = chain, after
	b.first.Store(after.first)
	b.garbage.swept(swept)
	if batch.Adopt {
		b.garbage.add(replaced)
		b.staged.set(staged)
	}
	return nil
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
	txn           *badger.Txn
	buffer        []byte
	entries       []badger.Entry
	valueBytesMax int
}

// newWriter makes the buffers large enough at once, since entries must not move.
func (b *Badger) newWriter(txn *badger.Txn, batch Batch) *writer {
	valueMax := valueBytesMax(b.opts.MemTableBytes)
	if need := batch.Bytes(); cap(b.buffer) < need {
		b.buffer = make([]byte, 0, need)
	}
	if need := len(batch.Writes) + 1 + (groupHeaderBytes+len(batch.Group))/valueMax; cap(b.entries) < need {
		b.entries = make([]badger.Entry, 0, need)
	}
	return &writer{txn: txn, buffer: b.buffer[:0], entries: b.entries[:0], valueBytesMax: valueMax}
}

// group adds the parts of a group: one, unless it exceeds what one value may hold.
func (w *writer) group(h groupHeader, body []byte) error {
	h.parts = 1 + (groupHeaderBytes+len(body)-1)/w.valueBytesMax
	for part := range h.parts {
		start := len(w.buffer)
		w.buffer = appendGroupKey(w.buffer, h.number, part)
		keyEnd := len(w.buffer)
		if part == 0 {
			w.buffer = h.append(w.buffer)
		}
		n := min(len(body), w.valueBytesMax-(len(w.buffer)-keyEnd))
		w.buffer = append(w.buffer, body[:n]...)
		body = body[n:]
		if err := w.set(start, keyEnd); err != nil {
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
