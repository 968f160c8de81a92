// Package storetest is the contract of storage.Store as a test: whatever passes Run may stand behind
// a replica.
package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/264bc8cf/epaxos/storage"
)

// Factory makes the stores of one test. All three concern one and the same data directory.
type Factory struct {
	// Open opens it for the first time.
	Open func(t *testing.T) storage.Store
	// Reopen opens it again, after the store was closed.
	Reopen func(t *testing.T, closed storage.Store) storage.Store
	// Crash opens what the store's process would leave if it were killed now. The store is not used again.
	Crash func(t *testing.T, running storage.Store) storage.Store
	// BatchBytesMax, SaveBytesMax and ValueBytesMax are the limits of the stores.
	BatchBytesMax int
	SaveBytesMax  int
	ValueBytesMax int
}

// Run runs the contract, with a factory of its own for each test.
func Run(t *testing.T, newFactory func(t *testing.T) Factory) {
	t.Helper()
	tests := []struct {
		name string
		run  func(t *testing.T, f Factory)
	}{
		{"an empty store has no group and no key", testEmpty},
		{"what is saved can be read", testSaveAndRead},
		{"a batch is applied in order", testOrderInBatch},
		{"a delete hides a key until it is set again", testDelete},
		{"a scan is ascending and bounded", testScan},
		{"an error of visit ends the reading", testVisitError},
		{"a group may be empty, and of any size within the budget", testGroupSizes},
		{"a value may be empty, and of any size within the limit", testValueSizes},
		{"an oversized batch leaves everything as it was", testTooLarge},
		{"a full batch of small writes is within every limit", testManyWrites},
		{"the caller may change its bytes after Save", testNoAliasIn},
		{"the caller may keep and change what Get returns", testNoAliasOut},
		{"what is saved survives closing", func(t *testing.T, f Factory) { testSurvives(t, f, nil) }},
		{"what is saved survives a crash", func(t *testing.T, f Factory) { testSurvives(t, f, f.Crash) }},
		{"a closed store says so", testClosed},
		{"reading may be nested in reading", testNested},
		{"usage tells the groups", testUsage},
		{"the oldest groups can be dropped", testDrop},
		{"what was dropped stays dropped after a crash", func(t *testing.T, f Factory) { testDropSurvives(t, f, f.Crash) }},
		{"what was dropped stays dropped after closing", func(t *testing.T, f Factory) { testDropSurvives(t, f, nil) }},
		{"large groups can be dropped", testDropLarge},
		{"a pinned state stays readable", testPin},
		{"an earlier state is read as it was", testAt},
		{"a held state stays readable, after a crash too", func(t *testing.T, f Factory) { testHold(t, f, f.Crash) }},
		{"a held state stays readable, after closing too", func(t *testing.T, f Factory) { testHold(t, f, nil) }},
		{"changes are what was set or deleted between two groups", testChanges},
		{"what is no longer kept is said to be gone", testGone},
		{"changes are read while others are saved", testChangesConcurrently},
		{"what is staged is hidden until it is adopted", testStage},
		{"what is staged survives a crash", testStageSurvives},
		{"what is staged may be more than a transaction", testStageLarge},
		{"what is dropped is not adopted", testDropStaged},
		{"only what is staged can be adopted", testNotStaged},
		{"a random life of versions and stagings agrees with a model", testRandomVersions},
		{"a batch may be more than a transaction", testLargeBatch},
		{"what is adopted may be too", testLargeAdopt},
		{"more groups than a transaction takes can be dropped", testManyGroups},
		{"there is a limit to a batch", testTooLargeAtAll},
		{"a scrub comes to an end, and finds nothing wrong, while others are saved", testScrub},
		{"LastGroup and Usage are for any goroutine", testConcurrent},
		{"a random life agrees with a model", testRandom},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, newFactory(t)) })
	}
}

func open(t *testing.T, f Factory) storage.Store {
	t.Helper()
	s := f.Open(t)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func reopen(t *testing.T, f Factory, s storage.Store) storage.Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	again := f.Reopen(t, s)
	t.Cleanup(func() { _ = again.Close() })
	return again
}

func save(t *testing.T, s storage.Store, group string, writes ...storage.Write) {
	t.Helper()
	before := s.LastGroup()
	if err := s.Save(storage.Batch{Group: []byte(group), Writes: writes}); err != nil {
		t.Fatalf("save: %v", err)
	}
	if got := s.LastGroup(); got != before+1 {
		t.Fatalf("the last group is %d after a save, want %d", got, before+1)
	}
}

func set(key, value string) storage.Write {
	return storage.Write{Key: []byte(key), Value: []byte(value)}
}

func del(key string) storage.Write { return storage.Write{Key: []byte(key), Delete: true} }

// groups reads the log, and fails unless its numbers go from the first that Usage tells up to LastGroup.
func groups(t *testing.T, s storage.Store) []string {
	t.Helper()
	var got []string
	first := s.Usage().GroupFirst
	err := s.Groups(func(number uint64, group []byte) error {
		if want := first + uint64(len(got)); number != want {
			t.Fatalf("group %d was visited where %d was due", number, want)
		}
		got = append(got, string(group))
		return nil
	})
	if err != nil {
		t.Fatalf("groups: %v", err)
	}
	if first+uint64(len(got)) != s.LastGroup()+1 {
		t.Fatalf("%d groups were visited from %d on, the last is %d", len(got), first, s.LastGroup())
	}
	return got
}

// state reads the keys in [from, to) as "key=value"; an empty to is no bound.
func state(t *testing.T, s storage.Store, from, to string) []string {
	t.Helper()
	var bound []byte
	if to != "" {
		bound = []byte(to)
	}
	var got []string
	err := s.Scan([]byte(from), bound, func(key, value []byte) error {
		got = append(got, fmt.Sprintf("%s=%s", key, value))
		return nil
	})
	if err != nil {
		t.Fatalf("scan: %v", err)
	}
	return got
}

func wantStrings(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: got %.200q, want %.200q", what, got, want)
	}
}

func wantValue(t *testing.T, s storage.Store, key, want string) {
	t.Helper()
	got, found, err := s.Get([]byte(key))
	if err != nil || !found || string(got) != want {
		t.Fatalf("get %q: %.100q, %v, %v; want %.100q", key, got, found, err, want)
	}
}

func wantAbsent(t *testing.T, s storage.Store, key string) {
	t.Helper()
	if got, found, err := s.Get([]byte(key)); err != nil || found || got != nil {
		t.Fatalf("get %q: %q, %v, %v; want nothing", key, got, found, err)
	}
}

func testEmpty(t *testing.T, f Factory) {
	s := open(t, f)
	if got := s.LastGroup(); got != 0 {
		t.Fatalf("the last group of an empty store is %d", got)
	}
	wantStrings(t, "groups", groups(t, s))
	wantStrings(t, "state", state(t, s, "", ""))
	wantAbsent(t, s, "a")
	s = reopen(t, f, s)
	wantStrings(t, "groups after reopening", groups(t, s))
	wantStrings(t, "state after reopening", state(t, s, "", ""))
}

func testSaveAndRead(t *testing.T, f Factory) {
	s := open(t, f)
	save(t, s, "one", set("a", "1"), set("b", "2"))
	save(t, s, "two")
	save(t, s, "three", set("a", "3"))
	wantStrings(t, "groups", groups(t, s), "one", "two", "three")
	wantValue(t, s, "a", "3")
	wantValue(t, s, "b", "2")
	wantAbsent(t, s, "c")
	wantAbsent(t, s, "")
}

func testOrderInBatch(t *testing.T, f Factory) {
	s := open(t, f)
	save(t, s, "g", set("a", "1"), set("a", "2"), set("b", "1"), del("b"), del("c"), set("c", "3"))
	wantStrings(t, "state", state(t, s, "", ""), "a=2", "c=3")
}

func testDelete(t *testing.T, f Factory) {
	s := open(t, f)
	save(t, s, "1", set("a", "1"), set("b", "1"))
	save(t, s, "2", del("a"), del("never there"))
	wantAbsent(t, s, "a")
	wantStrings(t, "state", state(t, s, "", ""), "b=1")
	s = reopen(t, f, s)
	wantAbsent(t, s, "a")
	save(t, s, "3", set("a", "2"))
	wantValue(t, s, "a", "2")
	wantStrings(t, "groups", groups(t, s), "1", "2", "3")
}

func testScan(t *testing.T, f Factory) {
	s := open(t, f)
	save(t, s, "1", set("b", "2"), set("\xff", "6"), set("a", "1"), set("ab", "1.5"), set("", "0"))
	save(t, s, "2", set("c\x00", "4"), set("c", "3"), set("\xff\xff", "7"), set("d", "5"))
	wantStrings(t, "all", state(t, s, "", ""),
		"=0", "a=1", "ab=1.5", "b=2", "c=3", "c\x00=4", "d=5", "\xff=6", "\xff\xff=7")
	wantStrings(t, "from inclusive, to exclusive", state(t, s, "a", "c"), "a=1", "ab=1.5", "b=2")
	wantStrings(t, "bounds between keys", state(t, s, "aa", "cc"), "ab=1.5", "b=2", "c=3", "c\x00=4")
	wantStrings(t, "empty range", state(t, s, "c", "c"))
	wantStrings(t, "reversed range", state(t, s, "d", "a"))
	wantStrings(t, "open end", state(t, s, "d", ""), "d=5", "\xff=6", "\xff\xff=7")
	wantStrings(t, "behind the last key", state(t, s, "\xff\xff\xff", ""))
	if err := s.Scan(nil, []byte{}, func(_, _ []byte) error { return errors.New("visited") }); err != nil {
		t.Fatalf("a scan up to the empty key, which bounds everything out: %v", err)
	}
}

func testVisitError(t *testing.T, f Factory) {
	s := open(t, f)
	for i := range 3 {
		save(t, s, fmt.Sprint(i), set(fmt.Sprint(i), "v"))
	}
	enough := errors.New("enough")
	visits := 0
	visit := func() error {
		if visits++; visits == 2 {
			return enough
		}
		return nil
	}
	if err := s.Groups(func(uint64, []byte) error { return visit() }); !errors.Is(err, enough) || visits != 2 {
		t.Fatalf("groups: %v after %d visits, want the visitor's error after 2", err, visits)
	}
	visits = 0
	if err := s.Scan(nil, nil, func(_, _ []byte) error { return visit() }); !errors.Is(err, enough) || visits != 2 {
		t.Fatalf("scan: %v after %d visits, want the visitor's error after 2", err, visits)
	}
	save(t, s, "the store goes on")
}

// pattern is n bytes that no shift or cut leaves equal.
func pattern(n, seed int) string {
	b := make([]byte, n)
	x := uint32(seed)*2654435761 + 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return string(b)
}

func testGroupSizes(t *testing.T, f Factory) {
	s := open(t, f)
	room := f.BatchBytesMax - storage.Batch{}.Bytes()
	var want []string
	for i, size := range []int{0, 1, 17, 4096, f.ValueBytesMax - 14, f.ValueBytesMax - 13, f.ValueBytesMax + 4,
		room / 2, 0, room} {
		group := pattern(min(size, room), i)
		want = append(want, group)
		save(t, s, group)
	}
	wantStrings(t, "groups", groups(t, s), want...)
	s = reopen(t, f, s)
	wantStrings(t, "groups after reopening", groups(t, s), want...)
	save(t, s, "and on")
	wantStrings(t, "groups with one more", groups(t, s), append(want, "and on")...)
}

func testValueSizes(t *testing.T, f Factory) {
	s := open(t, f)
	var want []string
	largest := min(f.ValueBytesMax, f.BatchBytesMax-storage.Batch{Writes: []storage.Write{set("v9", "")}}.Bytes())
	for i, size := range []int{0, 1, 3, 4, 5, 1000, largest - 1, largest} {
		key, value := fmt.Sprintf("v%d", i), pattern(size, i)
		want = append(want, key+"="+value)
		save(t, s, "", set(key, value))
	}
	wantStrings(t, "state", state(t, s, "", ""), want...)
	long := pattern(storage.KeyBytesMax, 1)
	save(t, s, "", set(long, "long"))
	s = reopen(t, f, s)
	wantStrings(t, "state after reopening", state(t, s, "v", "w"), want...)
	wantValue(t, s, long, "long")
	wantValue(t, s, "v7", pattern(largest, 7))
}

func testTooLarge(t *testing.T, f Factory) {
	s := open(t, f)
	save(t, s, "kept", set("a", "1"))
	group := pattern(256*(f.ValueBytesMax+4), 1)
	for name, batch := range map[string]storage.Batch{
		"group": {Group: []byte(group), Writes: []storage.Write{set("a", "2")}},
		"key":   {Group: []byte("g"), Writes: []storage.Write{set("a", "2"), set(pattern(storage.KeyBytesMax+1, 1), "")}},
		"value": {Group: []byte("g"), Writes: []storage.Write{set("a", "2"), set("b", pattern(f.ValueBytesMax+1, 1))}},
	} {
		if err := s.Save(batch); !errors.Is(err, storage.ErrBatchTooLarge) {
			t.Fatalf("save with an oversized %s: %v, want ErrBatchTooLarge", name, err)
		}
	}
	wantStrings(t, "groups", groups(t, s), "kept")
	wantStrings(t, "state", state(t, s, "", ""), "a=1")
	save(t, s, "next", set("a", "2"))
	s = reopen(t, f, s)
	wantStrings(t, "groups after reopening", groups(t, s), "kept", "next")
	wantStrings(t, "state after reopening", state(t, s, "", ""), "a=2")
}

func testManyWrites(t *testing.T, f Factory) {
	s := open(t, f)
	batch := storage.Batch{Group: []byte("g")}
	for i := 0; ; i++ {
		w := storage.Write{Key: fmt.Appendf(nil, "%06d", i)}
		if batch.Bytes()+w.Bytes() > f.BatchBytesMax {
			break
		}
		batch.Writes = append(batch.Writes, w)
	}
	if err := s.Save(batch); err != nil {
		t.Fatalf("save %d small writes, %d of %d bytes: %v", len(batch.Writes), batch.Bytes(), f.BatchBytesMax, err)
	}
	if got := state(t, s, "", ""); len(got) != len(batch.Writes) {
		t.Fatalf("%d of %d writes are there", len(got), len(batch.Writes))
	}
}

func testNoAliasIn(t *testing.T, f Factory) {
	s := open(t, f)
	group, key, value := []byte("group"), []byte("key"), []byte("value")
	if err := s.Save(storage.Batch{Group: group, Writes: []storage.Write{{Key: key, Value: value}}}); err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{group, key, value} {
		clear(b)
	}
	save(t, s, "other")
	wantStrings(t, "groups", groups(t, s), "group", "other")
	wantStrings(t, "state", state(t, s, "", ""), "key=value")
}

func testNoAliasOut(t *testing.T, f Factory) {
	s := open(t, f)
	save(t, s, "group", set("key", "value"))
	got, _, err := s.Get([]byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	kept := bytes.Clone(got)
	save(t, s, "other", set("key", "changed"))
	if !bytes.Equal(got, kept) {
		t.Fatalf("a value that was got turned from %q into %q", kept, got)
	}
	clear(got)
	wantValue(t, s, "key", "changed")
}

// testSurvives saves, leaves and comes back over and over, and compares to a model.
func testSurvives(t *testing.T, f Factory, leave func(*testing.T, storage.Store) storage.Store) {
	if leave == nil {
		leave = func(t *testing.T, s storage.Store) storage.Store { return reopen(t, f, s) }
	}
	s := open(t, f)
	model := map[string]string{}
	var wantGroups []string
	for round := range 4 {
		for i := range 12 {
			group := pattern(37*i, round*100+i)
			key := fmt.Sprintf("k%d", (round*12+i)%17)
			writes := []storage.Write{set(key, group), set("latest", fmt.Sprint(round, i))}
			model[key], model["latest"] = group, fmt.Sprint(round, i)
			if i%5 == 4 {
				gone := fmt.Sprintf("k%d", i)
				writes = append(writes, del(gone))
				delete(model, gone)
			}
			save(t, s, group, writes...)
			wantGroups = append(wantGroups, group)
		}
		s = leave(t, s)
		wantStrings(t, "groups", groups(t, s), wantGroups...)
		var wantState []string
		for key, value := range model {
			wantState = append(wantState, key+"="+value)
		}
		slices.Sort(wantState)
		got := state(t, s, "", "")
		slices.Sort(got)
		wantStrings(t, "state", got, wantState...)
	}
}

func testClosed(t *testing.T, f Factory) {
	s := open(t, f)
	save(t, s, "g", set("a", "1"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, _, getErr := s.Get([]byte("a"))
	_, _, scrubError := s.Scrub(storage.ScrubPosition{}, 1)
	for act, err := range map[string]error{
		"save":    s.Save(storage.Batch{}),
		"get":     getErr,
		"scan":    s.Scan(nil, nil, func(_, _ []byte) error { return nil }),
		"groups":  s.Groups(func(uint64, []byte) error { return nil }),
		"changes": s.Changes(0, 1, nil, func(storage.Write) error { return nil }),
		"scrub":   scrubError,
		"stage":   s.Stage(nil, nil),
		"drop":    s.DropStaged(),
	} {
		if !errors.Is(err, storage.ErrClosed) {
			t.Errorf("%s on a closed store: %v, want ErrClosed", act, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
}

func testNested(t *testing.T, f Factory) {
	s := open(t, f)
	save(t, s, "1", set("a", "1"), set("b", "2"))
	save(t, s, "2", set("c", "3"))
	visits := 0
	err := s.Groups(func(number uint64, _ []byte) error {
		return s.Scan(nil, nil, func(key, value []byte) error {
			visits++
			wantValue(t, s, string(key), string(value))
			return nil
		})
	})
	if err != nil || visits != 6 {
		t.Fatalf("%d visits, want 6; %v", visits, err)
	}
}

func testUsage(t *testing.T, f Factory) {
	s := open(t, f)
	save(t, s, "1", set("a", "1"))
	save(t, s, "2")
	u := s.Usage()
	if u.GroupFirst != 1 || u.GroupLast != 2 {
		t.Errorf("groups %d to %d, want 1 to 2", u.GroupFirst, u.GroupLast)
	}
	if u.DiskBytes == 0 || u.FreeBytes == 0 {
		t.Errorf("%d bytes used, %d free: neither can be nothing", u.DiskBytes, u.FreeBytes)
	}
}
