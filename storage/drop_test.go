package storage

import (
	"errors"
	"fmt"
	"testing"

	badger "github.com/dgraph-io/badger/v4"
)

// A log whose beginning was deleted is as closely guarded as a whole one.
func TestBrokenChainAfterDrop(t *testing.T) {
	groupKey := func(number uint64) []byte { return appendGroupKey(nil, number, 0) }
	moved := func(b *Badger, number uint64, before chain) func(txn *badger.Txn) error {
		m := b.meta
		m.first, m.before = number, before
		return func(txn *badger.Txn) error { return txn.Set([]byte{prefixMeta}, m.encode()) }
	}
	for name, change := range map[string]func(b *Badger) func(txn *badger.Txn) error{
		"no beginning": func(*Badger) func(txn *badger.Txn) error {
			return func(txn *badger.Txn) error { return txn.Delete(groupKey(5)) }
		},
		"a hole": func(*Badger) func(txn *badger.Txn) error {
			return func(txn *badger.Txn) error { return txn.Delete(groupKey(6)) }
		},
		"a later beginning": func(b *Badger) func(txn *badger.Txn) error { return moved(b, 6, b.meta.before) },
		"the beginning of a replica that never ran": func(b *Badger) func(txn *badger.Txn) error {
			return moved(b, 1, firstChain(b.meta.identity))
		},
		"another chain": func(b *Badger) func(txn *badger.Txn) error { return moved(b, 5, b.meta.before+1) },
	} {
		t.Run(name, func(t *testing.T) {
			b := testStore(t, 7)
			if err := b.Save(Batch{Group: []byte("group 8"), DropGroups: 4}); err != nil {
				t.Fatal(err)
			}
			if err := b.Groups(func(uint64, []byte) error { return nil }); err != nil {
				t.Fatal(err)
			}
			overwrite(t, b, change(b))
			if err := b.loadMeta(); err != nil {
				t.Fatal(err)
			}
			if err := b.Groups(func(uint64, []byte) error { return nil }); !errors.Is(err, ErrDamaged) {
				t.Fatalf("got %v, want ErrDamaged", err)
			}
		})
	}
}

// Where a group is missing already, deleting more would hide it.
func TestDropRefusesAHole(t *testing.T) {
	for _, missing := range []uint64{1, 2, 3} {
		t.Run(fmt.Sprint(missing), func(t *testing.T) {
			b := testStore(t, 5)
			overwrite(t, b, func(txn *badger.Txn) error { return txn.Delete(appendGroupKey(nil, missing, 0)) })
			if err := b.Save(Batch{Group: []byte("group 6"), DropGroups: 3}); !errors.Is(err, ErrDamaged) {
				t.Fatalf("got %v, want ErrDamaged", err)
			}
		})
	}
}

// A changed group is named when it is deleted, and not the one behind it for ever after.
func TestDropRefusesAChangedGroup(t *testing.T) {
	b := testStore(t, 7)
	key := appendGroupKey(nil, 4, 0)
	value, _, err := b.read(key)
	if err != nil {
		t.Fatal(err)
	}
	value[12] ^= 1 // in the chain
	overwrite(t, b, func(txn *badger.Txn) error { return txn.Set(key, value) })
	if err := b.Save(Batch{Group: []byte("group 8"), DropGroups: 4}); !errors.Is(err, ErrDamaged) {
		t.Fatalf("got %v, want ErrDamaged", err)
	}
}
