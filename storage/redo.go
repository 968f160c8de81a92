package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
)

// A batch that exceeds one transaction is saved by redo. First all of it becomes durable beside the log, as
// records that nobody reads; then a marker does, and with it the batch is saved, whatever happens. Then the
// records are applied, a transaction at a time, all in the version of the new group, so that whoever reads an
// older one sees nothing of it. The last transaction has the head of the group and takes the marker away.
// Open applies what is marked again from the beginning, which changes nothing about what was applied already,
// and deletes what is not marked.

// redoKey is r number(8) attempt(8) part(4). The attempt is random: a second attempt at a group never
// meets the records of the first, which were deleted in the version they were written in.
type redoKey struct {
	number  uint64
	attempt uint64
	part    uint32
}

const (
	redoKeyBytes    = 1 + 8 + 8 + 4
	redoHeaderBytes = 4
	// redoMarker is the part that the marker takes.
	redoMarker = math.MaxUint32
	// redoFormat begins the marker.
	redoFormat = 1
	// redoWriteBytes is what a record has for a write besides key and value.
	redoWriteBytes = 1 + 4 + 4
	// redoSpace is how many times the bytes of a batch must be free for a redo: it is in the logs and in
	// the tables, as records and applied.
	redoSpace = 4
)

func (k redoKey) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, prefixRedo), k.number)
	b = binary.BigEndian.AppendUint64(b, k.attempt)
	return binary.BigEndian.AppendUint32(b, k.part)
}

func parseRedoKey(b []byte) (k redoKey, err error) {
	if len(b) != redoKeyBytes || b[0] != prefixRedo {
		return k, fmt.Errorf("%w: malformed redo key %x", ErrDamaged, b)
	}
	k.number = binary.BigEndian.Uint64(b[1:])
	k.attempt = binary.BigEndian.Uint64(b[9:])
	k.part = binary.BigEndian.Uint32(b[17:])
	return k, nil
}

// redo is a marked batch: its records, and what else its last transaction sets.
type redo struct {
	number  uint64
	attempt uint64
	parts   uint32
	chain   chain
	adopt   bool
	after   meta
}

func (r redo) key(part uint32) redoKey { return redoKey{r.number, r.attempt, part} }

func (r redo) encode() []byte {
	b := []byte{redoFormat, 0}
	if r.adopt {
		b[1] = 1
	}
	b = binary.BigEndian.AppendUint32(b, r.parts)
	b = binary.BigEndian.AppendUint64(b, uint64(r.chain))
	return append(b, r.after.encode()...)
}

func parseRedo(k redoKey, b []byte) (r redo, err error) {
	if len(b) < 14 || b[1] > 1 {
		return r, fmt.Errorf("%w: the redo marker of group %d is cut short", ErrDamaged, k.number)
	}
	if b[0] != redoFormat {
		return r, fmt.Errorf("%w: a redo marker has format %d, this program reads %d", ErrFormat, b[0], redoFormat)
	}
	r = redo{number: k.number, attempt: k.attempt, adopt: b[1] == 1}
	r.parts = binary.BigEndian.Uint32(b[2:])
	r.chain = chain(binary.BigEndian.Uint64(b[6:]))
	r.after, err = parseMeta(b[14:])
	return r, err
}

// sealRedo and openRedo guard a record, or the marker, with its key.
func sealRedo(key, content []byte) []byte {
	sum := stateChecksum(key, content)
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, redoHeaderBytes+len(content)), sum), content...)
}

func openRedo(key, stored []byte) (content []byte, err error) {
	if len(stored) < redoHeaderBytes || binary.BigEndian.Uint32(stored) !=
		crc32.Update(crc32.Checksum(key, crcState), crcState, stored[redoHeaderBytes:]) {
		return nil, fmt.Errorf("%w: redo record %x does not fit its checksum", ErrDamaged, key)
	}
	return stored[redoHeaderBytes:], nil
}

// redoRecords cuts a batch into records: the group with its length, then the writes. What is to be dropped,
// held and adopted stands in the marker.
type redoRecords struct {
	bytesMax int
	record   []byte
	write    func(record []byte) error
}

func (c *redoRecords) add(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), c.bytesMax-len(c.record))
		c.record, b = append(c.record, b[:n]...), b[n:]
		if len(c.record) == c.bytesMax {
			if err := c.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *redoRecords) flush() error {
	err := c.write(c.record)
	c.record = c.record[:0]
	return err
}

func (c *redoRecords) batch(batch Batch) error {
	err := c.add(binary.BigEndian.AppendUint64(nil, uint64(len(batch.Group))))
	err = errors.Join(err, c.add(batch.Group))
	var head []byte
	for i := 0; i < len(batch.Writes) && err == nil; i++ {
		w := &batch.Writes[i]
		head = append(head[:0], 0)
		if w.Delete {
			head[0] = 1
		}
		head = binary.BigEndian.AppendUint32(head, uint32(len(w.Key)))
		head = binary.BigEndian.AppendUint32(head, uint32(len(w.Value)))
		err = errors.Join(c.add(head), c.add(w.Key), c.add(w.Value))
	}
	if err == nil {
		err = c.flush()
	}
	return err
}

// parseRedoBatch is the reverse of redoRecords. Group, keys and values are parts of b.
func parseRedoBatch(b []byte) (batch Batch, err error) {
	damaged := fmt.Errorf("%w: a redo ends in the middle", ErrDamaged)
	if len(b) < 8 || binary.BigEndian.Uint64(b) > uint64(len(b)-8) {
		return batch, damaged
	}
	n := int(binary.BigEndian.Uint64(b))
	batch.Group, b = b[8:8+n:8+n], b[8+n:]
	for len(b) > 0 {
		if len(b) < redoWriteBytes || b[0] > 1 {
			return batch, damaged
		}
		w := Write{Delete: b[0] == 1}
		key, value := uint64(binary.BigEndian.Uint32(b[1:])), uint64(binary.BigEndian.Uint32(b[5:]))
		if b = b[redoWriteBytes:]; key+value > uint64(len(b)) {
			return batch, damaged
		}
		w.Key, w.Value, b = b[:key:key], b[key:key+value:key+value], b[key+value:]
		batch.Writes = append(batch.Writes, w)
	}
	return batch, nil
}

// lastWrites leaves out each write that a later one replaces: in transactions of one version the order
// of two writes of one key would be lost.
func lastWrites(writes []Write) []Write {
	last := make(map[string]int, len(writes))
	for i := range writes {
		last[string(writes[i].Key)] = i
	}
	if len(last) == len(writes) {
		return writes
	}
	kept := make([]Write, 0, len(last))
	for i := range writes {
		if last[string(writes[i].Key)] == i {
			kept = append(kept, writes[i])
		}
	}
	return kept
}

// commitRedo saves a batch that exceeds a transaction.
func (b *Badger) commitRedo(number uint64, batch Batch) error {
	batch.Writes = lastWrites(batch.Writes)
	r := redo{
		number: number, attempt: rand.Uint64(), chain: b.lastChain.next(number, batch.Group),
		adopt: batch.Adopt, after: b.meta.withHolds(),
	}
	if batch.DropGroups > 0 {
		dropped, _, err := b.oldest(batch.DropGroups)
		if err != nil {
			return err
		}
		r.after.first, r.after.before = dropped.first, dropped.before
	}
	r.after.held = batch.Hold.apply(r.after.held, number, batch.Adopt)
	if batch.Adopt {
		r.after.generation = b.staged.record.generation
	}
	if err := b.writeRedo(&r, batch); err != nil {
		return err
	}
	return b.applyRedo(r, batch)
}

// writeRedo makes the records durable, and then the marker.
func (b *Badger) writeRedo(r *redo, batch Batch) error {
	put := func(part uint32, content []byte) error {
		key := r.key(part).append(nil)
		return b.transact(Batch{Group: content}, func(w *writer) error {
			if part == redoMarker && b.meta.format < formatHolds {
				// An older program must not go on beside a marker that it does not know.
				if err := w.txn.Set([]byte{prefixMeta}, b.meta.withHolds().encode()); err != nil {
					return err
				}
			}
			return w.txn.Set(key, sealRedo(key, content))
		})
	}
	records := redoRecords{
		bytesMax: b.partBytesMax(),
		write: func(record []byte) error {
			part := r.parts
			r.parts++
			return put(part, record)
		},
	}
	if err := records.batch(batch); err != nil {
		return err
	}
	return put(redoMarker, r.encode())
}

// applyRedo brings a marked batch into force. It may be called again after having ended anywhere.
func (b *Badger) applyRedo(r redo, batch Batch) error {
	version := groupVersion(r.number)
	if err := b.applyDrop(r.after.first, version); err != nil {
		return err
	}
	header := b.newGroupHeader(r.number, r.chain, batch.Group)
	for part := header.parts - 1; part > 0; part-- {
		err := b.transactAt(version, b.partSize(batch.Group, part), func(w *writer) error {
			return w.groupPart(header, part, batch.Group)
		})
		if err != nil {
			return err
		}
	}
	for writes := batch.Writes; len(writes) > 0; {
		n := fitting(writes, b.BatchBytesMax()/2)
		chunk := Batch{Writes: writes[:n]}
		writes = writes[n:]
		err := b.transactAt(version, chunk, func(w *writer) error { return w.states(r.after.generation, chunk.Writes) })
		if err != nil {
			return err
		}
	}
	staged := b.staged.record
	err := b.transactAt(version, b.partSize(batch.Group, 0), func(w *writer) error {
		if r.adopt {
			staged = staged.ended()
			if err := b.noteStaged(w.txn, staged); err != nil {
				return err
			}
		}
		if err := w.txn.Set([]byte{prefixMeta}, r.after.encode()); err != nil {
			return err
		}
		if err := w.groupPart(header, 0, batch.Group); err != nil {
			return err
		}
		return w.txn.Delete(r.key(redoMarker).append(nil))
	})
	if err != nil {
		return err
	}
	b.committed(r.chain, r.after, staged)
	return b.deleteAll(redoPrefix(r.number, r.attempt), r.key(redoMarker).append(nil), version)
}

func redoPrefix(number, attempt uint64) []byte {
	return redoKey{number: number, attempt: attempt}.append(nil)
}

// applyDrop deletes the groups before first.
func (b *Badger) applyDrop(first, version uint64) error {
	return b.deleteAll([]byte{prefixGroup}, appendGroupKey(nil, first, 0), version)
}

// deleteAll deletes the keys in [from, to), which have one prefix, a transaction at a time.
func (b *Badger) deleteAll(from, to []byte, version uint64) error {
	for {
		keys, err := b.keysBetween(from, to, deleteKeysMax(b.BatchBytesMax()))
		if err != nil || len(keys) == 0 {
			return err
		}
		err = b.transactAt(version, Batch{DropGroups: len(keys)}, func(w *writer) error {
			for _, key := range keys {
				if err := w.txn.Delete(key); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		from = append(keys[len(keys)-1], 0)
	}
}

// deleteKeysMax is how many of our own keys, which are short, a transaction may delete.
func deleteKeysMax(batchBytesMax int) int { return batchBytesMax / 2 / WriteBytesOverhead }

// finishRedo ends what a crash interrupted: what is marked is applied, the rest deleted. It comes before
// anything else is made of the log.
func (b *Badger) finishRedo() error {
	var marked *redo
	any := false
	prefix := []byte{prefixRedo}
	err := b.iterate(prefix, prefix, func(key, stored []byte) error {
		any = true
		k, err := parseRedoKey(key)
		if err != nil || k.part != redoMarker {
			return err
		}
		content, err := openRedo(key, stored)
		if err != nil {
			return err
		}
		r, err := parseRedo(k, content)
		if err == nil && marked != nil {
			err = fmt.Errorf("%w: groups %d and %d are both being redone", ErrDamaged, marked.number, r.number)
		}
		marked = &r
		return err
	})
	if err != nil || !any {
		return err
	}
	if marked != nil {
		batch, err := b.readRedo(*marked)
		if err == nil {
			err = b.spaceFor(batch.Bytes())
		}
		if err == nil {
			err = b.applyRedo(*marked, batch)
		}
		if err != nil {
			return fmt.Errorf("finish saving group %d: %w", marked.number, err)
		}
	}
	last, err := b.findLast()
	if err != nil {
		return err
	}
	return b.deleteAll(prefix, []byte{prefixRedo + 1}, groupVersion(last))
}

// readRedo reads the records of a marked batch.
func (b *Badger) readRedo(r redo) (Batch, error) {
	var content []byte
	var next uint32
	err := b.iterate([]byte{prefixRedo}, redoPrefix(r.number, r.attempt), func(key, stored []byte) error {
		k, err := parseRedoKey(key)
		if err != nil {
			return err
		}
		if k != r.key(next) || next == r.parts {
			return errStop
		}
		record, err := openRedo(key, stored)
		content = append(content, record...)
		next++
		return err
	})
	if err == nil && next != r.parts {
		err = fmt.Errorf("%w: redo record %d of %d is missing", ErrDamaged, next, r.parts)
	}
	if err != nil {
		return Batch{}, err
	}
	return parseRedoBatch(content)
}

// keysBetween reads at most so many keys of [from, to), which have one prefix.
func (b *Badger) keysBetween(from, to []byte, most int) (keys [][]byte, err error) {
	err = b.iterate(from[:1], from, func(key, _ []byte) error {
		if len(keys) == most || bytes.Compare(key, to) >= 0 {
			return errStop
		}
		keys = append(keys, bytes.Clone(key))
		return nil
	})
	return keys, err
}
