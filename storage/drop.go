package storage

import (
	"bytes"
	"fmt"

	badger "github.com/dgraph-io/badger/v4"
)

// drop deletes the oldest groups in a transaction, and tells where the log begins after it.
func (b *Badger) drop(txn *badger.Txn, groups int) (after meta, err error) {
	after, keys, err := b.oldest(groups)
	for i := 0; i < len(keys) && err == nil; i++ {
		err = txn.Delete(keys[i])
	}
	return after, err
}

// oldest reads the oldest groups: their keys, and where the log begins after them. A log that does not begin
// as it should is left alone: what is missing or changed would otherwise never be noticed, or taken for a
// fault of the group behind it.
func (b *Badger) oldest(groups int) (after meta, keys [][]byte, err error) {
	after = b.meta
	end := b.meta.first + uint64(groups)
	r := groupReader{next: b.meta.first, chain: b.meta.before, visit: func(uint64, []byte) error { return nil }}
	err = b.iterate([]byte{prefixGroup}, appendGroupKey(nil, b.meta.first, 0), func(key, value []byte) error {
		if r.next == end {
			return errStop
		}
		keys = append(keys, bytes.Clone(key))
		return r.part(key, value)
	})
	if err == nil && r.next != end {
		err = fmt.Errorf("%w: group %d is missing at the beginning of the log", ErrDamaged, r.next)
	}
	after.first, after.before = end, r.chain
	return after, keys, err
}
