package storage

import (
	"bytes"

	badger "github.com/dgraph-io/badger/v4"
)

// Changes implements Versions. It reads what was committed up to the version of group at, so it neither waits
// for Save nor makes it wait.
func (b *Badger) Changes(since, at uint64, after []byte, visit func(Write) error) error {
	if err := b.gate.enter(); err != nil {
		return err
	}
	defer b.gate.leave()
	txn := b.db.NewTransactionAt(groupVersion(at), false)
	defer txn.Discard()
	it, prefix, err := b.changes(txn, since, at)
	if err != nil {
		return err
	}
	defer it.Close()
	first := bytes.Clone(prefix)
	if after != nil {
		first = append(append(first, after...), 0) // the least key above it
	}
	var newest []byte // the key that was visited last; older versions of it follow
	return walk(it, first, func(item *badger.Item, stored []byte) error {
		if err := b.gate.err(); err != nil {
			return err
		}
		if since > 0 && bytes.Equal(item.Key(), newest) {
			return nil
		}
		newest = append(newest[:0], item.Key()...)
		w := Write{Key: item.Key()[len(prefix):], Delete: item.IsDeletedOrExpired()}
		if !w.Delete {
			var err error
			if w.Value, err = parseStateValue(item.Key(), stored); err != nil {
				return err
			}
		}
		return visit(w)
	})
}

// changes begins to iterate while the floor stands still: an iterator keeps the tables it was made with, so
// whatever is discarded later it still sees.
func (b *Badger) changes(txn *badger.Txn, since, at uint64) (it *badger.Iterator, prefix []byte, err error) {
	b.holds.mu.Lock()
	defer b.holds.mu.Unlock()
	if err := b.holds.check(since, at); err != nil {
		return nil, nil, err
	}
	o := badger.IteratorOptions{Prefix: appendStateKey(nil, b.holds.generation, nil)}
	if since > 0 {
		o.AllVersions = true // or Badger would pass over what was deleted
		o.SinceTs = groupVersion(since)
	}
	it, err = newIterator(txn, o)
	return it, o.Prefix, err
}

// Pin implements Versions.
func (b *Badger) Pin() (group uint64) { return b.holds.pin() }

// Unpin implements Versions.
func (b *Badger) Unpin(group uint64) { b.discard(b.holds.unpin(group)) }

// Held implements Versions.
func (b *Badger) Held() (group uint64) {
	b.holds.mu.Lock()
	defer b.holds.mu.Unlock()
	return b.holds.held
}

// discard lets compaction drop what is older than the state of a group, if newer versions replaced it.
func (b *Badger) discard(floor uint64) { b.db.SetDiscardTs(groupVersion(floor)) }
