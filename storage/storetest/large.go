package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/264bc8cf/epaxos/storage"
)

// largeBatch is one that no single transaction takes: a group, and writes of which some replace others.
func largeBatch(f Factory, seed int) storage.Batch {
	r := rand.New(rand.NewPCG(uint64(seed), 3))
	b := storage.Batch{Group: []byte(pattern(f.BatchBytesMax, seed))}
	for size := 0; size < 2*f.BatchBytesMax; {
		w := set(fmt.Sprintf("%04d", r.IntN(1500)), pattern(r.IntN(1000), r.Int()))
		if r.IntN(10) == 0 {
			w = del(string(w.Key))
		}
		size += w.Bytes()
		b.Writes = append(b.Writes, w)
	}
	return b
}

func testLargeBatch(t *testing.T, f Factory) {
	s := open(t, f)
	m := &versionsModel{states: []map[string]string{{}}}
	both := func(b storage.Batch) {
		t.Helper()
		saveBatch(t, s, b)
		m.save(b)
	}
	both(storage.Batch{Group: []byte("1"), Writes: []storage.Write{set("0001", "old"), set("a", "old")}})
	want := []string{"1"}
	for seed := range 3 {
		b := largeBatch(f, seed)
		b.Hold = [...]storage.HoldAction{storage.HoldKeep, storage.HoldThis, storage.HoldKeep}[seed]
		b.DropGroups = seed
		both(b)
		want = append(want[seed:], string(b.Group))
		wantStrings(t, "groups", groups(t, s), want...)
		m.check(t, s)
	}
	s = f.Crash(t, s)
	m.check(t, s)
	both(storage.Batch{Group: []byte("small"), Writes: []storage.Write{set("0001", "small")}})
	want = append(want, "small")
	wantStrings(t, "groups", groups(t, s), want...)
	s = reopen(t, f, s)
	m.check(t, s)
	wantStrings(t, "groups after reopening", groups(t, s), want...)
}

func testLargeAdopt(t *testing.T, f Factory) {
	s := open(t, f)
	save(t, s, "", set("a", "old"), set("0001", "old"))
	stage(t, s, "note", set("0001", "staged"), set("b", "staged"))
	m := &versionsModel{states: []map[string]string{{}, nil}, staged: map[string]string{"0001": "staged", "b": "staged"}}
	b := largeBatch(f, 7)
	b.Adopt, b.Hold = true, storage.HoldThis
	saveBatch(t, s, b)
	m.save(b)
	m.check(t, s)
	s = f.Crash(t, s)
	m.check(t, s)
}

// testManyGroups drops more groups at once than one transaction deletes.
func testManyGroups(t *testing.T, f Factory) {
	s := open(t, f)
	n := f.BatchBytesMax/storage.WriteBytesOverhead + 10
	for i := range n {
		save(t, s, fmt.Sprint(i))
	}
	saveAndDrop(t, s, n-1, "last", set("a", "1"))
	wantStrings(t, "groups", groups(t, s), fmt.Sprint(n-1), "last")
	s = f.Crash(t, s)
	wantStrings(t, "groups", groups(t, s), fmt.Sprint(n-1), "last")
	wantValue(t, s, "a", "1")
}

func testTooLargeAtAll(t *testing.T, f Factory) {
	s := open(t, f)
	save(t, s, "kept", set("a", "1"))
	b := storage.Batch{Group: []byte("g"), Writes: []storage.Write{set("a", "2")}}
	for b.Bytes() <= f.SaveBytesMax {
		b.Writes = append(b.Writes, set("large", pattern(f.ValueBytesMax, 1)))
	}
	if err := s.Save(b); !errors.Is(err, storage.ErrBatchTooLarge) {
		t.Fatalf("save %d bytes: %v, want ErrBatchTooLarge", b.Bytes(), err)
	}
	wantStrings(t, "groups", groups(t, s), "kept")
	wantStrings(t, "state", state(t, s, "", ""), "a=1")
	save(t, s, "next")
}
