package storage

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	badger "github.com/dgraph-io/badger/v4"
)

var goldenIdentity = Identity{
	Cluster: [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, Replica: 3, Incarnation: 7,
}

// The bytes on disk are a promise to every later version; whoever changes one raises formatVersion.
func TestGoldenBytes(t *testing.T) {
	key := appendStateKey(nil, 1, []byte("key"))
	first := firstChain(goldenIdentity)
	chained := first.next(258, []byte("body"))
	golden := stagedRecord{seq: 258, active: true, generation: 2, note: []byte("note")}
	for name, test := range map[string]struct{ got, want string }{
		"group key":   {fmt.Sprintf("%x", appendGroupKey(nil, 258, 1)), "67000000000000010201"},
		"group":       {fmt.Sprintf("%x", groupHeader{1, 258, chained}.append(nil)), "010100000000000001027447578f1147d121"},
		"state key":   {fmt.Sprintf("%x", key), "73016b6579"},
		"state value": {fmt.Sprintf("%08x", stateChecksum(key, []byte("value"))), "85e05eb4"},
		"meta": {fmt.Sprintf("%x", newMeta(goldenIdentity).encode()), "01010000000000000001356eff32e03bc177" +
			"000102030405060708090a0b0c0d0e0f00000003000000000000000747db6957"},
		"meta of format 2": {fmt.Sprintf("%x", newMeta(goldenIdentity).withHolds().encode()), "0201000000000000" +
			"0001356eff32e03bc177000102030405060708090a0b0c0d0e0f00000003000000000000000700000000000000008f6e9083"},
		"staged key": {fmt.Sprintf("%x", golden.key()), "6e0000000000000102"},
		"staged":     {fmt.Sprintf("%x", golden.encode()), "ecb344f301026e6f7465"},
		"identity": {string(encodeIdentity(goldenIdentity, true)), "epaxos-storage 1\n" +
			"cluster 000102030405060708090a0b0c0d0e0f\nreplica 3\nincarnation 7\nstate started\nchecksum e891801f\n"},
	} {
		if test.got != test.want {
			t.Errorf("%s: got %s, want %s", name, test.got, test.want)
		}
	}
}

func TestMetaAndIdentityAreReadAsWritten(t *testing.T) {
	older := meta{format: formatVersion, generation: 1, first: 77, before: 0x1234, identity: goldenIdentity}
	newer := older.withHolds()
	newer.generation, newer.held = 2, 78
	for _, m := range []meta{older, newer} {
		if got, err := parseMeta(m.encode()); err != nil || got != m {
			t.Errorf("meta: got %+v, %v, want %+v", got, err, m)
		}
	}
	for _, ran := range []started{false, true} {
		id, gotRan, err := parseIdentity(encodeIdentity(goldenIdentity, ran))
		if err != nil || id != goldenIdentity || gotRan != ran {
			t.Errorf("identity: got %v, %v, %v", id, gotRan, err)
		}
	}
}

// Every single-byte change of a small record is noticed, and every cut.
func TestSmallRecordsNoticeEveryFlip(t *testing.T) {
	state := appendStateKey(nil, 1, []byte("key"))
	stagedNote := stagedRecord{seq: 7, active: true, generation: 2, note: []byte("note")}
	sum := stateChecksum(state, []byte("value"))
	stored := append([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}, "value"...)
	for name, record := range map[string]struct {
		bytes []byte
		parse func([]byte) error
	}{
		"meta":  {newMeta(goldenIdentity).encode(), func(b []byte) error { _, err := parseMeta(b); return err }},
		"meta2": {newMeta(goldenIdentity).withHolds().encode(), func(b []byte) error { _, err := parseMeta(b); return err }},
		"staged": {stagedNote.encode(), func(b []byte) error {
			_, err := parseStaged(stagedNote.key(), b)
			return err
		}},
		"identity": {encodeIdentity(goldenIdentity, true), func(b []byte) error {
			_, _, err := parseIdentity(b)
			return err
		}},
		"state": {stored, func(b []byte) error { _, err := parseStateValue(state, b); return err }},
	} {
		if err := record.parse(record.bytes); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range record.bytes {
			spoilt := bytes.Clone(record.bytes)
			spoilt[i] ^= 0x10
			for what, b := range map[string][]byte{"flipped": spoilt, "cut": record.bytes[:i]} {
				if err := record.parse(b); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrFormat) {
					t.Errorf("%s %s at %d: %v", name, what, i, err)
				}
			}
		}
	}
	if _, err := parseStateValue(appendStateKey(nil, 1, []byte("kez")), stored); !errors.Is(err, ErrDamaged) {
		t.Errorf("a value under another key: %v", err)
	}
}

func TestMark(t *testing.T) {
	dir := t.TempDir()
	if _, err := openMark(dir); !errors.Is(err, ErrDamaged) {
		t.Fatalf("a missing mark: %v", err)
	}
	m, err := createMark(dir)
	if err != nil {
		t.Fatal(err)
	}
	for number := uint64(1); number <= 5; number++ {
		if err := m.move(number); err != nil {
			t.Fatal(err)
		}
		if got := reopenMark(t, dir); got != number {
			t.Fatalf("the mark reads %d after a move to %d", got, number)
		}
	}
	if err := m.close(); err != nil {
		t.Fatal(err)
	}
	// A torn move leaves the mark before it; two spoilt slots leave none.
	path := filepath.Join(dir, markName)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	newest := int(m.moves%2) * markSlotSpacing
	for i := range markSlotBytes {
		torn := bytes.Clone(content)
		torn[newest+i] ^= 4
		writeTestFile(t, path, torn)
		if got := reopenMark(t, dir); got != 4 {
			t.Fatalf("with byte %d of its newest slot spoilt the mark reads %d, want 4", i, got)
		}
		torn[(newest+markSlotSpacing)%(2*markSlotSpacing)] ^= 4
		writeTestFile(t, path, torn)
		if _, err := openMark(dir); !errors.Is(err, ErrDamaged) {
			t.Fatalf("with both slots spoilt: %v", err)
		}
	}
}

func reopenMark(t *testing.T, dir string) uint64 {
	t.Helper()
	m, err := openMark(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.close(); err != nil {
		t.Fatal(err)
	}
	return m.number
}

func writeTestFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestMarkIsSyncedNowAndThen(t *testing.T) {
	m, err := createMark(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	for range markSyncEvery - 1 {
		if err := m.move(m.number + 1); err != nil {
			t.Fatal(err)
		}
	}
	if m.unsynced != markSyncEvery-1 {
		t.Fatalf("%d moves are unsynced, want %d", m.unsynced, markSyncEvery-1)
	}
	if err := m.move(m.number + 1); err != nil || m.unsynced != 0 {
		t.Fatalf("%d moves are unsynced after the sync, %v", m.unsynced, err)
	}
}

func testStore(t *testing.T, groups int) *Badger {
	t.Helper()
	o := Options{Dir: t.TempDir(), Identity: goldenIdentity, FreeReserveBytes: 1, MemTableBytes: memTableBytesMin}
	if err := Create(o); err != nil {
		t.Fatal(err)
	}
	b, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	for i := range groups {
		writes := []Write{{Key: []byte("k"), Value: []byte("v")}}
		if err := b.Save(Batch{Group: fmt.Appendf(nil, "group %d", i+1), Writes: writes}); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// overwrite changes what Badger holds behind the store's back.
func overwrite(t *testing.T, b *Badger, change func(txn *badger.Txn) error) {
	t.Helper()
	txn := b.db.NewTransactionAt(newestVersion, true)
	defer txn.Discard()
	if err := errors.Join(change(txn), txn.CommitAt(1000, nil)); err != nil {
		t.Fatal(err)
	}
}

func TestBrokenChain(t *testing.T) {
	groupKey := func(number uint64) []byte { return appendGroupKey(nil, number, 0) }
	header := func(number uint64, parts int, c chain) []byte {
		return groupHeader{parts: parts, number: number, chain: c}.append(nil)
	}
	for name, change := range map[string]func(txn *badger.Txn) error{
		"a hole":              func(txn *badger.Txn) error { return txn.Delete(groupKey(3)) },
		"no beginning":        func(txn *badger.Txn) error { return txn.Delete(groupKey(1)) },
		"no end":              func(txn *badger.Txn) error { return txn.Delete(groupKey(5)) },
		"a changed body":      func(txn *badger.Txn) error { return txn.Set(groupKey(3), append(header(3, 1, 9), "x"...)) },
		"another number":      func(txn *badger.Txn) error { return txn.Set(groupKey(3), header(4, 1, 9)) },
		"no part":             func(txn *badger.Txn) error { return txn.Set(groupKey(3), header(3, 0, 9)) },
		"a part too few":      func(txn *badger.Txn) error { return txn.Set(groupKey(3), header(3, 2, 9)) },
		"a part too few, end": func(txn *badger.Txn) error { return txn.Set(groupKey(5), header(5, 2, 9)) },
		"a part too many":     func(txn *badger.Txn) error { return txn.Set(appendGroupKey(nil, 3, 1), []byte("more")) },
		"a cut header":        func(txn *badger.Txn) error { return txn.Set(groupKey(3), []byte{1, 1}) },
		"a malformed key":     func(txn *badger.Txn) error { return txn.Set([]byte("g3"), header(3, 1, 9)) },
		"one beyond the end":  func(txn *badger.Txn) error { return txn.Set(groupKey(7), header(7, 1, 9)) },
	} {
		t.Run(name, func(t *testing.T) {
			b := testStore(t, 5)
			overwrite(t, b, change)
			if err := b.Groups(func(uint64, []byte) error { return nil }); !errors.Is(err, ErrDamaged) {
				t.Fatalf("got %v, want ErrDamaged", err)
			}
		})
	}
}

func TestChangedState(t *testing.T) {
	b := testStore(t, 2)
	key := appendStateKey(nil, b.meta.generation, []byte("k"))
	overwrite(t, b, func(txn *badger.Txn) error { return txn.Set(key, []byte("\x00\x00\x00\x00w")) })
	if _, _, err := b.Get([]byte("k")); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), `"k"`) {
		t.Errorf("get: %v", err)
	}
	if err := b.Scan(nil, nil, func(_, _ []byte) error { return nil }); !errors.Is(err, ErrDamaged) {
		t.Errorf("scan: %v", err)
	}
}

// Another generation of the state is not in force.
func TestGenerationsAreApart(t *testing.T) {
	b := testStore(t, 1)
	overwrite(t, b, func(txn *badger.Txn) error {
		return txn.Set(appendStateKey(nil, b.meta.generation+1, []byte("other")), []byte("????v"))
	})
	if _, found, err := b.Get([]byte("other")); found || err != nil {
		t.Errorf("get: %v, %v", found, err)
	}
	if err := b.Scan(nil, nil, func(key, _ []byte) error {
		if string(key) != "k" {
			return fmt.Errorf("key %q", key)
		}
		return nil
	}); err != nil {
		t.Errorf("scan: %v", err)
	}
}

func TestMarkAheadOfTheLog(t *testing.T) {
	b := testStore(t, 3)
	if err := errors.Join(b.mark.move(9), b.mark.sync()); err != nil {
		t.Fatal(err)
	}
	b.last.Store(9) // so that Close leaves the mark there
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a refused Open lets the directory go, and changes nothing about it
		_, err := Open(b.opts)
		want := "the log ends at group 3, but group 9 was durable once"
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), want) {
			t.Fatalf("got %v, want ErrDamaged that says %q", err, want)
		}
	}
}

// Whatever fails after the first byte was written kills the store for good.
func TestFailureIsFinal(t *testing.T) {
	for name, breakIt := range map[string]func(b *Badger){
		"the mark cannot be moved": func(b *Badger) { _ = b.mark.file.Close() },
		"badger reports a failure": func(b *Badger) { b.log.Errorf("Error while curlf sync: %v", os.ErrInvalid) },
		"a compaction failed":      func(b *Badger) { b.log.Warningf("While running doCompact: %v", os.ErrInvalid) },
		"the commit failed":        func(b *Badger) { _ = b.db.Close() },
		"free space is unknown":    func(b *Badger) { b.free = func() (uint64, error) { return 0, os.ErrInvalid } },
	} {
		t.Run(name, func(t *testing.T) {
			b := testStore(t, 2)
			breakIt(b)
			first := b.Save(Batch{})
			if first == nil || b.LastGroup() != 2 {
				t.Fatalf("the save succeeded, or counts: %v, last group %d", first, b.LastGroup())
			}
			_, _, getErr := b.Get([]byte("k"))
			for act, err := range map[string]error{
				"save":   b.Save(Batch{}),
				"get":    getErr,
				"scan":   b.Scan(nil, nil, nil),
				"groups": b.Groups(nil),
			} {
				if err == nil || !strings.Contains(err.Error(), "earlier failure") {
					t.Errorf("%s goes on: %v", act, err)
				}
			}
			_ = b.db.Close() // Close leaves it alone, and the test has no process to end
		})
	}
}

func TestNoSpaceIsNotFinal(t *testing.T) {
	b := testStore(t, 2)
	real := b.free
	b.free = func() (uint64, error) { return 0, nil }
	if err := b.Save(Batch{Group: []byte("refused")}); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("got %v, want ErrNoSpace", err)
	}
	b.opts.FreeReserveBytes = 1 << 20
	b.free = func() (uint64, error) { return 3 << 18, nil }
	for hold, want := range []error{HoldKeep: ErrNoSpace, HoldThis: ErrNoSpace, HoldNone: nil} {
		batch := Batch{Group: []byte("group 3"), Hold: HoldAction(hold)}
		if err := b.Save(batch); !errors.Is(err, want) {
			t.Fatalf("save with hold action %d within half of the reserve: %v, want %v", hold, err, want)
		}
	}
	b.free, b.opts.FreeReserveBytes = real, 1
	if err := b.Save(Batch{Group: []byte("group 4")}); err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := b.Groups(func(number uint64, group []byte) error {
		if n++; string(group) != fmt.Sprintf("group %d", number) {
			return fmt.Errorf("group %d is %q", number, group)
		}
		return nil
	}); err != nil || n != 4 {
		t.Fatalf("%d groups, %v", n, err)
	}
}

// A warning without an error is no failure, or a busy store would stop for nothing.
func TestWarningsAreOnlyLogged(t *testing.T) {
	var out bytes.Buffer
	l := newBadgerLog(slog.New(slog.NewTextHandler(&out, nil)))
	l.Warningf("cache might be too small: %s\n", "metrics")
	l.Infof("not shown")
	if l.err() != nil {
		t.Errorf("a mere warning failed the store: %v", l.err())
	}
	text := out.String()
	if !strings.Contains(text, "cache might be too small: metrics") || strings.Contains(text, "not shown") {
		t.Errorf("logged %q", text)
	}
}

// A panic of Badger is damage; a panic of the caller's function is the caller's.
func TestPanics(t *testing.T) {
	if err := guard("read", func() error { panic("index out of range") }); !errors.Is(err, ErrDamaged) ||
		!strings.Contains(err.Error(), "index out of range") {
		t.Errorf("got %v", err)
	}
	b := testStore(t, 1)
	defer func() {
		if r := recover(); r != "the caller's own" {
			t.Errorf("recovered %v", r)
		}
	}()
	_ = b.Groups(func(uint64, []byte) error { panic("the caller's own") })
}

// A new log is lost with its name, so its name is synced before what it holds is acknowledged.
func TestNewNamesAreSynced(t *testing.T) {
	b := testStore(t, 1)
	if err := b.wal.sync(0); err != nil {
		t.Fatal(err)
	}
	b.wal.dir = filepath.Join(b.wal.dir, "missing")
	if err := b.wal.sync(0); err == nil {
		t.Fatal("a directory that is gone was synced")
	}
	b.wal.dir = filepath.Dir(b.wal.dir)
}

// What is synced is the log that Badger writes to, also after it has begun a new one.
func TestTheNewestLogIsSynced(t *testing.T) {
	b := testStore(t, 1)
	seen := map[string]bool{}
	for number := range 60 {
		group := bytes.Repeat(fmt.Appendf(nil, "group %d;", number), 6<<10)
		if err := b.Save(Batch{Group: group}); err != nil {
			t.Fatal(err)
		}
		logs, err := filepath.Glob(filepath.Join(b.opts.Dir, "*"+memtableSuffix))
		if err != nil {
			t.Fatal(err)
		}
		if newest := slices.Max(logs); b.wal.log.Name() != newest {
			t.Fatalf("group %d: synced %s, written was %s", number+1, b.wal.log.Name(), newest)
		}
		content, err := os.ReadFile(b.wal.log.Name())
		if err != nil {
			t.Fatal(err)
		}
		last := bytes.LastIndex(content, group[:1024])
		if last < 0 {
			t.Fatalf("group %d is not in the log that was synced", number+1)
		}
		if end := int64(last + len(group)); end > b.wal.used {
			t.Fatalf("group %d ends at %d, thought to be written was no more than %d", number+1, end, b.wal.used)
		}
		seen[b.wal.log.Name()] = true
	}
	if len(seen) < 2 {
		t.Fatalf("Badger never began a new log: %v", seen)
	}
}
