package storage

import (
	"bytes"

	badger "github.com/dgraph-io/badger/v4"
)

// past reads what was committed up to the version of a group, which is pinned meanwhile.
type past struct {
	store      *Badger
	group      uint64
	generation byte // of the state keys then
	txn        *badger.Txn
}

// At implements Versions.
func (b *Badger) At(group uint64) (Past, error) {
	if err := b.gate.enter(); err != nil {
		return nil, err
	}
	defer b.gate.leave()
	if err := b.holds.pinAt(group); err != nil {
		return nil, err
	}
	p := &past{store: b, group: group, txn: b.db.NewTransactionAt(groupVersion(group), false)}
	b.holds.mu.Lock()
	p.generation = b.holds.generation
	err := b.holds.check(0, group) // then the generation is that of the group
	b.holds.mu.Unlock()
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Get implements Past.
func (p *past) Get(key []byte) (value []byte, found bool, err error) {
	b := p.store
	if err := b.gate.enter(); err != nil {
		return nil, false, err
	}
	defer b.gate.leave()
	storedKey := appendStateKey(make([]byte, 0, 2+len(key)), p.generation, key)
	stored, found, err := readKey(p.txn, storedKey)
	if err == nil {
		err = b.holds.kept(p.group) // after the read: before, versions could have been discarded in between
	}
	if err != nil || !found {
		return nil, false, err
	}
	value, err = parseStateValue(storedKey, stored)
	return value, err == nil, err
}

// Scan implements Past.
func (p *past) Scan(from, to []byte, visit func(key, value []byte) error) error {
	b := p.store
	if err := b.gate.enter(); err != nil {
		return err
	}
	defer b.gate.leave()
	it, prefix, err := b.changes(p.txn, 0, p.group)
	if err != nil {
		return err
	}
	defer it.Close()
	first := append(bytes.Clone(prefix), from...)
	return walk(it, first, func(item *badger.Item, stored []byte) error {
		key := item.Key()[len(prefix):]
		if to != nil && bytes.Compare(key, to) >= 0 {
			return errStop
		}
		if err := b.gate.err(); err != nil {
			return err
		}
		value, err := parseStateValue(item.Key(), stored)
		if err != nil {
			return err
		}
		return visit(key, value)
	})
}

// Close implements Past.
func (p *past) Close() {
	p.txn.Discard()
	if p.store.gate.enter() == nil { // after the store's own end there is nothing to discard
		defer p.store.gate.leave()
		p.store.Unpin(p.group)
	}
}
