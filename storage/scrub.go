package storage

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
)

// ScrubPosition is how far a scrub has come. The zero value is the beginning.
type ScrubPosition struct {
	stage scrubStage
	table uint64 // tables up to this one are done
	group uint64 // groups before this one are done, if it is not 0
	chain chain  // of the group before it
	key   []byte // stored keys up to this one are done, if it is not nil
}

type scrubStage byte

const (
	scrubFiles  scrubStage = iota // identity, mark, manifest, and the logs of the memory tables
	scrubTables                   // every block of every table
	scrubGroups                   // the chain of groups
	scrubState                    // values against their checksums, of staged states too
	scrubDone
)

// Scrub implements Store. What it reads are the files as the operating system has them, which may be what
// it keeps in memory.
func (b *Badger) Scrub(from ScrubPosition, budget int) (next ScrubPosition, done bool, err error) {
	if err := b.gate.enter(); err != nil {
		return from, false, err
	}
	defer b.gate.leave()
	pinned := b.Pin() // or what is being read may be compacted away between two steps of it
	defer b.Unpin(pinned)
	s := scrub{b: b, at: from, last: pinned, budget: max(1, budget)}
	for s.budget > 0 && s.at.stage < scrubDone && err == nil {
		switch s.at.stage {
		case scrubFiles:
			err = s.files()
		case scrubTables:
			err = s.tables()
		case scrubGroups:
			err = s.groups()
		default:
			err = s.state()
		}
		err = cmp.Or(err, b.gate.err())
	}
	if err != nil {
		return from, false, fmt.Errorf("scrub: %w", err)
	}
	return s.at, s.at.stage == scrubDone, nil
}

// scrub is one call of Scrub.
type scrub struct {
	b      *Badger
	at     ScrubPosition
	last   uint64 // the newest group, which is pinned
	budget int    // bytes still to be read
}

func (s *scrub) files() error {
	for _, check := range []func() error{s.identity, s.mark, s.registry, s.manifest, s.logs} {
		if err := s.lasting(check); err != nil {
			return err
		}
	}
	s.at.stage = scrubTables
	return nil
}

// scrubPatience is how often a check that finds damage is repeated, after pauses of 1 ms, 2 ms and so on: for one
// second at least, since Badger may be kept from its next step by a busy machine.
const scrubPatience = 10

// lasting repeats a check that finds damage. What is being written, replaced or deleted may look damaged for a
// moment; damage stays.
func (s *scrub) lasting(check func() error) error {
	for attempt := 0; ; attempt++ {
		err := check()
		if !errors.Is(err, ErrDamaged) || attempt == s.b.patience {
			return err
		}
		time.Sleep(time.Millisecond << attempt)
	}
}

func (s *scrub) identity() error {
	id, ran, err := readIdentity(s.b.opts.Dir)
	if err == nil && (id != s.b.opts.Identity || !bool(ran)) {
		err = fmt.Errorf("%w: file %s is of %v", ErrDamaged, identityName, id)
	}
	return err
}

// mark checks that the mark is where it was moved to. Its slots may be written meanwhile, one at a time.
func (s *scrub) mark() error {
	file, err := os.Open(filepath.Join(s.b.opts.Dir, markName))
	if err != nil {
		return fmt.Errorf("%w: open the mark: %w", ErrDamaged, err)
	}
	defer file.Close()
	number, _, err := readMark(file)
	if err == nil && number < s.last {
		err = fmt.Errorf("%w: the mark is at group %d, though group %d is saved", ErrDamaged, number, s.last)
	}
	return err
}

func (s *scrub) registry() error {
	now, err := os.ReadFile(filepath.Join(s.b.opts.Dir, badger.KeyRegistryFileName))
	if errors.Is(err, os.ErrNotExist) || err == nil && !bytes.Equal(now, s.b.registry) {
		err = fmt.Errorf("%w: file %s has changed", ErrDamaged, badger.KeyRegistryFileName)
	}
	return err
}

// manifest checks that every table in use is named by the manifest on disk. A table is in it before it is in use,
// and one that is in use both before and after the manifest was read was so meanwhile.
func (s *scrub) manifest() error {
	before := s.tableIDs()
	m, err := readManifest(s.b.opts, s.b.log)
	if err != nil {
		return err
	}
	after := s.tableIDs()
	for _, id := range before {
		if _, named := m.Tables[id]; !named && slices.Contains(after, id) {
			return fmt.Errorf("%w: the manifest has lost table %d", ErrDamaged, id)
		}
	}
	return nil
}

func (s *scrub) tableIDs() (ids []uint64) {
	for _, t := range s.b.db.Tables() {
		ids = append(ids, t.ID)
	}
	slices.Sort(ids)
	return ids
}

// logs checks the logs of the memory tables: what they hold is in memory, but a restart would read them.
func (s *scrub) logs() error {
	last := s.b.last.Load()
	if err := verifyLogHeaders(s.b.opts.Dir); err != nil {
		return err
	}
	v, err := verifyLogs(s.b.opts.Dir)
	s.budget -= v.bytes
	switch {
	case err != nil:
	case v.files == 0:
		err = fmt.Errorf("%w: the log of the memory table is missing", ErrDamaged)
	case v.unread != "":
		err = fmt.Errorf("%w: log %s ends at a record that does not fit its checksum", ErrDamaged, v.unread)
	case v.last > 0 && v.last < last:
		err = fmt.Errorf("%w: the newest log ends with group %d, but group %d is saved", ErrDamaged, v.last, last)
	}
	return err
}

// tables verifies one table, if any is left.
func (s *scrub) tables() error {
	ids := s.tableIDs()
	at, found := slices.BinarySearch(ids, s.at.table)
	if found {
		at++
	}
	if at == len(ids) {
		s.at.stage = scrubGroups
		return nil
	}
	id := ids[at]
	s.at.table = id
	path := table.NewFilename(id, s.b.opts.Dir)
	err := s.lasting(func() error {
		if !slices.Contains(s.tableIDs(), id) {
			return nil // compaction has replaced it, and may be deleting it
		}
		size, err := verifyTable(path)
		s.budget -= size
		return err
	})
	if err != nil {
		return fmt.Errorf("table %s: %w", filepath.Base(path), err)
	}
	return nil
}

// groups reads on in the log, from where it begins now if that is further on.
func (s *scrub) groups() error {
	txn := s.b.db.NewTransactionAt(groupVersion(s.last), false)
	defer txn.Discard()
	m, err := metaAsOf(txn)
	if err != nil {
		return err
	}
	r := groupReader{next: s.at.group, chain: s.at.chain}
	if r.next < m.first {
		r.next, r.chain = m.first, m.before
	}
	r.visit = func(_ uint64, group []byte) error {
		s.budget -= len(group)
		return nil
	}
	it, err := newIterator(txn, badger.IteratorOptions{Prefix: []byte{prefixGroup}})
	if err != nil {
		return err
	}
	defer it.Close()
	err = walk(it, appendGroupKey(nil, r.next, 0), func(item *badger.Item, value []byte) error {
		if s.budget <= 0 && r.partsLeft == 0 {
			return errStop
		}
		s.budget -= len(item.Key())
		return r.part(item.Key(), value)
	})
	if err != nil {
		return err
	}
	s.at.group, s.at.chain = r.next, r.chain
	if s.budget > 0 {
		s.at.stage = scrubState
		return r.end(s.last)
	}
	return nil
}

// metaAsOf reads the meta record in the version of a transaction.
func metaAsOf(txn *badger.Txn) (m meta, err error) {
	err = guard("read the meta record", func() error {
		item, err := txn.Get([]byte{prefixMeta})
		if err != nil {
			return err
		}
		return item.Value(func(value []byte) error {
			m, err = parseMeta(value)
			return err
		})
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		err = fmt.Errorf("%w: the database has no meta record", ErrDamaged)
	}
	return m, err
}

// state reads on among the keys of the state, and those of what is staged.
func (s *scrub) state() error {
	txn := s.b.db.NewTransactionAt(groupVersion(s.last), false)
	defer txn.Discard()
	prefix := []byte{prefixState}
	it, err := newIterator(txn, badger.IteratorOptions{Prefix: prefix})
	if err != nil {
		return err
	}
	defer it.Close()
	first := prefix
	if s.at.key != nil {
		first = append(bytes.Clone(s.at.key), 0)
	}
	var last []byte
	err = walk(it, first, func(item *badger.Item, stored []byte) error {
		if s.budget <= 0 {
			return errStop
		}
		if len(item.Key()) < len(prefix)+1 {
			return fmt.Errorf("%w: malformed key %x", ErrDamaged, item.Key())
		}
		last = append(last[:0], item.Key()...)
		s.budget -= len(item.Key()) + len(stored)
		_, err := parseStateValue(item.Key(), stored)
		return err
	})
	if last != nil {
		s.at.key = last
	}
	if err == nil && s.budget > 0 {
		s.at = ScrubPosition{stage: scrubDone}
	}
	return err
}
