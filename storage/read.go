package storage

import (
	"bytes"
	"errors"
	"fmt"

	badger "github.com/dgraph-io/badger/v4"
)

// read returns a copy of what is stored under a key of Badger.
func (b *Badger) read(key []byte) (value []byte, found bool, err error) {
	return readKey(b.reader, key)
}

func readKey(txn *badger.Txn, key []byte) (value []byte, found bool, err error) {
	err = guard("read", func() error {
		item, err := txn.Get(key)
		if err != nil {
			return err
		}
		value, err = item.ValueCopy(nil)
		return err
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("storage: read key %q: %w", key, err)
	}
	return value, true, nil
}

// Get implements Store.
func (b *Badger) Get(key []byte) (value []byte, found bool, err error) {
	if err := b.alive(); err != nil {
		return nil, false, err
	}
	storedKey := appendStateKey(make([]byte, 0, 2+len(key)), b.meta.generation, key)
	stored, found, err := b.read(storedKey)
	if err != nil || !found {
		return nil, false, err
	}
	value, err = parseStateValue(storedKey, stored)
	return value, err == nil, err
}

// Scan implements Store.
func (b *Badger) Scan(from, to []byte, visit func(key, value []byte) error) error {
	if err := b.alive(); err != nil {
		return err
	}
	prefix := appendStateKey(nil, b.meta.generation, nil)
	first := appendStateKey(nil, b.meta.generation, from)
	return b.iterate(prefix, first, func(storedKey, stored []byte) error {
		key := storedKey[len(prefix):]
		if to != nil && bytes.Compare(key, to) >= 0 {
			return errStop
		}
		value, err := parseStateValue(storedKey, stored)
		if err != nil {
			return err
		}
		return visit(key, value)
	})
}

// errStop ends an iteration early, without an error.
var errStop = errors.New("stop")

// iterate visits the newest keys and values under a prefix from a first key on.
func (b *Badger) iterate(prefix, first []byte, visit func(key, value []byte) error) error {
	it, err := newIterator(b.reader, badger.IteratorOptions{Prefix: prefix})
	if err != nil {
		return err
	}
	defer it.Close()
	return walk(it, first, func(item *badger.Item, value []byte) error { return visit(item.Key(), value) })
}

func newIterator(txn *badger.Txn, o badger.IteratorOptions) (it *badger.Iterator, err error) {
	err = guard("begin to iterate", func() error {
		it = txn.NewIterator(o)
		return nil
	})
	return it, err
}

// walk visits items and their values from a first key on. A panic of visit stays one: only Badger's own
// are taken for damage.
func walk(it *badger.Iterator, first []byte, visit func(item *badger.Item, value []byte) error) error {
	advance := func() error { it.Seek(first); return nil }
	for {
		if err := guard("iterate", advance); err != nil {
			return err
		}
		var item *badger.Item
		var value []byte
		err := guard("iterate", func() error {
			if !it.Valid() {
				return nil
			}
			item = it.Item()
			return item.Value(func(v []byte) error { value = v; return nil })
		})
		if err != nil {
			return fmt.Errorf("storage: read on after key %q: %w", item.Key(), err)
		}
		if item == nil {
			return nil
		}
		if err := visit(item, value); err != nil {
			if errors.Is(err, errStop) {
				return nil
			}
			return err
		}
		advance = func() error { it.Next(); return nil }
	}
}

// Groups implements Store. Reading to the end without an error proves that no group is missing,
// changed or foreign, from the oldest kept to LastGroup.
func (b *Badger) Groups(visit func(number uint64, group []byte) error) error {
	if err := b.alive(); err != nil {
		return err
	}
	r := groupReader{next: b.meta.first, chain: b.meta.before, visit: visit}
	prefix := []byte{prefixGroup}
	if err := b.iterate(prefix, appendGroupKey(nil, b.meta.first, 0), r.part); err != nil {
		return err
	}
	return r.end(b.last.Load())
}

// groupReader puts groups together and checks each against the one before it.
type groupReader struct {
	next  uint64 // number of the group under way, or awaited
	chain chain  // of the group before it
	visit func(number uint64, group []byte) error

	header    groupHeader
	body      []byte
	partsLeft int
}

func (r *groupReader) part(key, value []byte) error {
	number, part, err := parseGroupKey(key)
	if err != nil {
		return err
	}
	if number != r.next || (r.partsLeft > 0 && part != r.header.parts-r.partsLeft) || (r.partsLeft == 0 && part != 0) {
		return fmt.Errorf("%w: where group %d was expected, the log goes on with part %d of group %d",
			ErrDamaged, r.next, part, number)
	}
	if part > 0 {
		r.body = append(r.body, value...)
	} else {
		var body []byte
		if r.header, body, err = parseGroupHeader(value); err != nil {
			return err
		}
		if r.header.number != number || r.header.parts == 0 {
			return fmt.Errorf("%w: the header of group %d is of group %d", ErrDamaged, number, r.header.number)
		}
		r.body = append(r.body[:0], body...)
		r.partsLeft = r.header.parts
	}
	if r.partsLeft--; r.partsLeft > 0 {
		return nil
	}
	return r.finish()
}

// end checks that the last group was read to its end.
func (r *groupReader) end(last uint64) error {
	if r.partsLeft > 0 || r.next != last+1 {
		return fmt.Errorf("%w: the log is readable up to group %d, but ends at group %d",
			ErrDamaged, r.next-1, last)
	}
	return nil
}

func (r *groupReader) finish() error {
	if r.chain = r.chain.next(r.next, r.body); r.chain != r.header.chain {
		return fmt.Errorf("%w: group %d does not fit its checksum and the groups before it", ErrDamaged, r.next)
	}
	err := r.visit(r.next, r.body)
	r.next++
	return err
}
