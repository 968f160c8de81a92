package storage

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	badger "github.com/dgraph-io/badger/v4"
)

// These tests let Badger compact all it can, and then look what it has kept.

// compact writes everything to tables and merges them until one level has all.
func compact(t *testing.T, b *Badger) *Badger {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := Open(b.opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	if err := b.db.Flatten(1); err != nil {
		t.Fatal(err)
	}
	return b
}

// stored counts the versions there are of the keys of the state, deletions included.
func stored(t *testing.T, b *Badger) (versions, deletions int) {
	t.Helper()
	it, err := newIterator(b.reader, badger.IteratorOptions{Prefix: []byte{prefixState}, AllVersions: true})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	err = walk(it, []byte{prefixState}, func(item *badger.Item, _ []byte) error {
		versions++
		if item.IsDeletedOrExpired() {
			deletions++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return versions, deletions
}

func wantChanges(t *testing.T, b *Badger, since, at uint64, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	err := b.Changes(since, at, nil, func(w Write) error {
		got[string(w.Key)] = string(w.Value)
		if w.Delete {
			got[string(w.Key)] = "deleted"
		}
		return nil
	})
	if err != nil || !maps.Equal(got, want) {
		t.Fatalf("violation of durability: changes since %d as of %d: %d keys, %v, want %d", since, at, len(got), err, len(want))
	}
}

func mustSave(t *testing.T, b *Badger, batch Batch) uint64 {
	t.Helper()
	if err := b.Save(batch); err != nil {
		t.Fatal(err)
	}
	return b.LastGroup()
}

// A hold of a state survives compactions in the run that took it, and in the next one, whose compactions begin
// before anybody asks.
func TestCompactionKeepsWhatIsHeld(t *testing.T) {
	const keys = 300
	b := testStore(t, 0)
	key := func(i int) []byte { return fmt.Appendf(nil, "key %03d", i) }
	fill := bytes.Repeat([]byte("x"), 2500)
	turn := func(value string, hold HoldAction, deleted func(i int) bool) (map[string]string, uint64) {
		state := map[string]string{}
		var number uint64
		for from := 0; from < keys; from += 50 {
			batch := Batch{Group: fill}
			for i := from; i < from+50; i++ {
				if deleted(i) {
					batch.Writes = append(batch.Writes, Write{Key: key(i), Delete: true})
					continue
				}
				state[string(key(i))] = value + string(fill)
				batch.Writes = append(batch.Writes, Write{Key: key(i), Value: []byte(value + string(fill))})
			}
			if from+50 == keys {
				batch.Hold = hold
			}
			number = mustSave(t, b, batch)
		}
		return state, number
	}
	none := func(int) bool { return false }
	_, _ = turn("first", HoldKeep, none)
	held, at := turn("held", HoldThis, func(i int) bool { return i%10 == 0 })
	var newest map[string]string
	for round := range 12 {
		newest, _ = turn(fmt.Sprint("later", round), HoldKeep, func(i int) bool { return i%3 == 0 })
		if err := b.db.Flatten(1); err != nil {
			t.Fatal(err)
		}
		if round == 8 {
			wantChanges(t, b, 0, at, held) // what this run has compacted; from here on, what the next ones do
		}
		if round >= 8 {
			b = compact(t, b)
		}
		wantChanges(t, b, 0, at, held)
		wantChanges(t, b, 0, b.LastGroup(), newest)
	}
	since := maps.Clone(newest)
	for i := 0; i < keys; i += 3 {
		since[string(key(i))] = "deleted"
	}
	wantChanges(t, b, at, b.LastGroup(), since)
	if _, deletions := stored(t, b); deletions < keys/3 {
		t.Fatalf("%d deletions are stored, want all of at least %d", deletions, keys/3)
	}
	kept, _ := stored(t, b)
	mustSave(t, b, Batch{Hold: HoldNone})
	// Once nothing is held the rest may go, or the test above would prove nothing.
	for range 3 {
		_, _ = turn("last", HoldKeep, none)
		b = compact(t, b)
	}
	if left, deletions := stored(t, b); left >= kept || deletions > 0 {
		t.Fatalf("%d versions are left of %d, %d of them deletions", left, kept, deletions)
	}
}

// A pin, unlike a hold, must outlast compactions of its own run only.
func TestCompactionKeepsWhatIsPinned(t *testing.T) {
	b := testStore(t, 0)
	fill := bytes.Repeat([]byte("x"), 4000)
	var want map[string]string
	var pinned uint64
	for round := range 30 {
		state := map[string]string{}
		var batch Batch
		for i := range 100 {
			key := fmt.Sprintf("key %03d", i)
			w := Write{Key: []byte(key), Value: append(fmt.Appendf(nil, "%d ", round), fill...)}
			if w.Delete = round > 2 && i%2 == 0; !w.Delete {
				state[key] = string(w.Value)
			}
			if batch.Writes = append(batch.Writes, w); len(batch.Writes) == 20 {
				mustSave(t, b, batch)
				batch = Batch{}
			}
		}
		if round == 2 {
			pinned, want = b.Pin(), state
		}
	}
	for range 2 {
		if err := b.db.Flatten(1); err != nil {
			t.Fatal(err)
		}
		wantChanges(t, b, 0, pinned, want)
	}
	tables := b.db.Levels()
	if slices.IndexFunc(tables, func(l badger.LevelInfo) bool { return l.Level > 0 && l.NumTables > 0 }) < 0 {
		t.Fatalf("nothing was compacted: %+v", tables)
	}
	since := map[string]string{}
	err := b.Scan(nil, nil, func(key, value []byte) error { since[string(key)] = string(value); return nil })
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 100; i += 2 {
		since[fmt.Sprintf("key %03d", i)] = "deleted"
	}
	wantChanges(t, b, pinned, b.LastGroup(), since)
	b.Unpin(pinned)
	if err := b.Changes(0, pinned, nil, nil); err == nil {
		t.Fatal("what is no longer pinned is still read")
	}
}

// What another state replaced is deleted with the following groups, and what was dropped too, also what a
// crash left of them.
func TestLeftOverGenerationsAreDeleted(t *testing.T) {
	for _, reopened := range []bool{false, true} {
		t.Run(fmt.Sprint("reopened=", reopened), func(t *testing.T) { leftOver(t, reopened) })
	}
}

func leftOver(t *testing.T, reopened bool) {
	b := testStore(t, 0)
	const keys = 3 * sweepKeysMax / 2
	many := func(name string) (writes []Write) {
		for i := range keys {
			writes = append(writes, Write{Key: fmt.Appendf(nil, "%s %03d", name, i), Value: []byte(name)})
		}
		return writes
	}
	count := func() (live int) {
		t.Helper()
		prefix := []byte{prefixState}
		if err := b.iterate(prefix, prefix, func(_, _ []byte) error { live++; return nil }); err != nil {
			t.Fatal(err)
		}
		return live
	}
	mustSave(t, b, Batch{Writes: many("first")})
	for _, name := range []string{"dropped", "adopted"} {
		if err := b.Stage(many(name), nil); err != nil {
			t.Fatal(err)
		}
		if name == "dropped" {
			if err := b.DropStaged(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := count(); got != 3*keys {
		t.Fatalf("%d keys of state are stored, want %d", got, 3*keys)
	}
	mustSave(t, b, Batch{Adopt: true})
	for round := 0; count() > keys; round++ {
		if round > 8 {
			t.Fatalf("%d keys of state are stored after %d groups, want %d", count(), round, keys)
		}
		if reopened && round == 1 {
			b = compact(t, b)
		}
		mustSave(t, b, Batch{})
	}
	if _, found := b.garbage.first(); found {
		mustSave(t, b, Batch{})
	}
	if generation, found := b.garbage.first(); found {
		t.Fatalf("generation %d is thought to have keys", generation)
	}
	want := map[string]string{}
	for _, w := range many("adopted") {
		want[string(w.Key)] = string(w.Value)
	}
	wantChanges(t, b, 0, b.LastGroup(), want)
}

// The number of a generation is one byte. Once all are used, the first must not come with what it had.
func TestGenerationsWrapAround(t *testing.T) {
	b := testStore(t, 1)
	for i := range 600 {
		key := fmt.Sprint("key ", i)
		if err := b.Stage([]Write{{Key: []byte(key), Value: []byte("v")}}, nil); err != nil {
			t.Fatal(err)
		}
		var staged []string
		err := b.ScanStaged(nil, func(key, _ []byte) error { staged = append(staged, string(key)); return nil })
		if err != nil || !slices.Equal(staged, []string{key}) {
			t.Fatalf("round %d: staged is %q, %v", i, staged, err)
		}
		if i == 300 {
			mustSave(t, b, Batch{Adopt: true})
			wantChanges(t, b, 0, b.LastGroup(), map[string]string{key: "v"})
		} else if err := b.DropStaged(); err != nil {
			t.Fatal(err)
		}
	}
}

// A crash between the transactions of a first staging leaves keys that no note tells of.
func TestHalfStagedIsGarbage(t *testing.T) {
	b := testStore(t, 1)
	overwrite(t, b, func(txn *badger.Txn) error {
		return txn.Set(appendStateKey(nil, b.meta.generation+1, []byte("half")), []byte("????v"))
	})
	b = compact(t, b)
	if note, err := b.Staged(); note != nil || err != nil {
		t.Fatalf("staged: %q, %v", note, err)
	}
	if err := b.Stage([]Write{{Key: []byte("whole"), Value: []byte("v")}}, nil); err != nil {
		t.Fatal(err)
	}
	mustSave(t, b, Batch{Adopt: true})
	wantChanges(t, b, 0, b.LastGroup(), map[string]string{"whole": "v"})
}

// An older program must be able to go on with a directory until it would misread it, and not from then on.
func TestFormatIsRaisedWhenNeeded(t *testing.T) {
	format := func(b *Badger) byte {
		t.Helper()
		value, _, err := b.read([]byte{prefixMeta})
		if err != nil {
			t.Fatal(err)
		}
		return value[0]
	}
	large := Batch{Group: make([]byte, BatchBytesMax(memTableBytesMin))}
	for name, act := range map[string]func(b *Badger) error{
		"hold":  func(b *Badger) error { return b.Save(Batch{Hold: HoldThis}) },
		"stage": func(b *Badger) error { return b.Stage(nil, nil) },
		"redo":  func(b *Badger) error { return b.Save(large) },
	} {
		t.Run(name, func(t *testing.T) {
			b := testStore(t, 5)
			mustSave(t, b, Batch{DropGroups: 2, Writes: []Write{{Key: []byte("k"), Delete: true}}})
			b = compact(t, b)
			if got := format(b); got != formatVersion {
				t.Fatalf("the format is %d, though nothing asked for it", got)
			}
			if err := act(b); err != nil {
				t.Fatal(err)
			}
			if got := format(b); got != formatHolds {
				t.Fatalf("the format is %d, want %d", got, formatHolds)
			}
			mustSave(t, b, Batch{Hold: HoldNone, DropGroups: 1})
			b = compact(t, b)
			if got := format(b); got != formatHolds || b.meta.format != formatHolds {
				t.Fatalf("the format went back to %d", got)
			}
		})
	}
}
