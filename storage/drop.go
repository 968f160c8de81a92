package storage

import (
	"bytes"
	"fmt"

	badger "github.com/dgraph-io/badger/v4"
)

// drop deletes the oldest groups in a transaction, and writes where the log begins after it. A log that
// does not begin as it should is left alone: what is missing would otherwise never be noticed.
func (b *Badger) drop(txn *badger.Txn, groups int) (after meta, err error) {
	after = b.meta
	var keys [][]byte
	err = b.iterate([]byte{prefixGroup}, appendGroupKey(nil, b.meta.first, 0), func(key, value []byte) error {
		number, part, err := parseGroupKey(key)
		if err != nil {
			return err
		}
		if number >= b.meta.first+uint64(groups) {
			return errStop
		}
		if part == 0 {
			header, _, err := parseGroupHeader(value)
			if err != nil {
				return err
			}
			if number != after.first || header.number != number {
				return fmt.Errorf("%w: group %d is missing at the beginning of the log", ErrDamaged, after.first)
			}
			after.first, after.before = number+1, header.chain
		}
		keys = append(keys, bytes.Clone(key))
		return nil
	})
	if err != nil {
		return after, err
	}
	if after.first != b.meta.first+uint64(groups) {
		return after, fmt.Errorf("%w: group %d is missing at the beginning of the log", ErrDamaged, after.first)
	}
	for _, key := range keys {
		if err := txn.Delete(key); err != nil {
			return after, err
		}
	}
	return after, txn.Set([]byte{prefixMeta}, after.encode())
}
