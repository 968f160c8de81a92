package storage

import (
	"bytes"

	badger "github.com/dgraph-io/badger/v4"
)

// sweepKeysMax bounds what one Save deletes of generations that are left over. A saver that must wait
// for nothing else hardly notices it, and a million keys are gone after four thousand groups.
const sweepKeysMax = 256

// garbage is the state keys that no generation in use has: what was replaced when another state was adopted,
// what was staged and dropped, and what a crash left of the first writes of a staging. It is deleted
// with each Save a little, since Badger's own way of dropping a prefix stops all writing.
type garbage struct {
	generations [256]bool
	next        []byte // the stored key from which to go on, nil at the beginning of a generation
}

func (g *garbage) add(generation byte) { g.generations[generation] = true }

// first is the generation to be swept.
func (g *garbage) first() (generation byte, found bool) {
	for i, has := range g.generations {
		if has {
			return byte(i), true
		}
	}
	return 0, false
}

// sweep is what a transaction deletes, once it is committed.
type sweep struct {
	generation byte
	keys       int
	next       []byte
	done       bool // nothing is left of the generation
}

func (g *garbage) swept(s sweep) {
	if g.next = s.next; s.done {
		g.generations[s.generation] = false
	}
}

// sweep deletes garbage in a transaction that has so many bytes to spare.
func (b *Badger) sweep(txn *badger.Txn, spare int) (s sweep, err error) {
	generation, found := b.garbage.first()
	s = sweep{generation: generation, next: b.garbage.next}
	if !found {
		return sweep{}, nil
	}
	prefix := appendStateKey(nil, generation, nil)
	from := s.next
	if !bytes.HasPrefix(from, prefix) {
		from = prefix // it was of a generation that comes later
	}
	s.done = true
	var keys [][]byte
	err = b.iterate(prefix, from, func(key, _ []byte) error {
		if spare -= WriteBytesOverhead + len(key); spare < 0 || len(keys) == sweepKeysMax {
			s.done = false
			return errStop
		}
		keys = append(keys, bytes.Clone(key))
		return nil
	})
	for i := 0; i < len(keys) && err == nil; i++ {
		err = txn.Delete(keys[i])
	}
	switch {
	case s.done:
		s.next = nil
	case len(keys) > 0:
		s.next = append(keys[len(keys)-1], 0)
	}
	s.keys = len(keys)
	return s, err
}

// findGarbage looks which generations there are keys of.
func (b *Badger) findGarbage() error {
	staged := b.staged.record
	for from := []byte{prefixState}; from != nil; {
		start := from
		from = nil
		err := b.iterate([]byte{prefixState}, start, func(key, _ []byte) error {
			generation := key[1]
			if generation != b.meta.generation && (!staged.active || generation != staged.generation) {
				b.garbage.add(generation)
			}
			if generation < 255 {
				from = appendStateKey(nil, generation+1, nil)
			}
			return errStop
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// freshGeneration is one that has no keys, nor had any a short while ago.
func (b *Badger) freshGeneration() (byte, error) {
	next := b.staged.record.generation
	for range 256 {
		if next++; next != b.meta.generation && !b.garbage.generations[next] {
			return next, nil
		}
	}
	// All are left over, after 255 transfers without a Save in between.
	if next++; next == b.meta.generation {
		next++
	}
	for b.garbage.generations[next] {
		err := b.transact(Batch{}, func(w *writer) error {
			swept, err := b.sweep(w.txn, b.BatchBytesMax()/2)
			b.garbage.swept(swept)
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return next, nil
}
