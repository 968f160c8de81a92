package storetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/264bc8cf/epaxos/storage"
)

func saveAndDrop(t *testing.T, s storage.Store, drop int, group string, writes ...storage.Write) {
	t.Helper()
	last, first := s.LastGroup(), s.Usage().GroupFirst
	if err := s.Save(storage.Batch{Group: []byte(group), Writes: writes, DropGroups: drop}); err != nil {
		t.Fatalf("save and drop %d: %v", drop, err)
	}
	if u := s.Usage(); u.GroupFirst != first+uint64(drop) || s.LastGroup() != last+1 || u.GroupLast != last+1 {
		t.Fatalf("groups %d to %d are kept, want %d to %d", u.GroupFirst, s.LastGroup(), first+uint64(drop), last+1)
	}
}

func testDrop(t *testing.T, f Factory) {
	s := open(t, f)
	for i := range 5 {
		save(t, s, fmt.Sprint(i), set("k", fmt.Sprint(i)))
	}
	saveAndDrop(t, s, 2, "5", set("k", "5"))
	wantStrings(t, "groups", groups(t, s), "2", "3", "4", "5")
	wantValue(t, s, "k", "5")
	for _, many := range []int{5, -1} {
		err := s.Save(storage.Batch{Group: []byte("6"), Writes: []storage.Write{set("k", "6")}, DropGroups: many})
		if !errors.Is(err, storage.ErrBatchTooLarge) {
			t.Fatalf("drop %d of 4 groups: %v, want ErrBatchTooLarge", many, err)
		}
	}
	wantStrings(t, "groups", groups(t, s), "2", "3", "4", "5")
	saveAndDrop(t, s, 4, "6")
	wantStrings(t, "groups when all earlier ones are dropped", groups(t, s), "6")
	saveAndDrop(t, s, 1, "7")
	saveAndDrop(t, s, 0, "8")
	wantStrings(t, "groups", groups(t, s), "7", "8")
	wantValue(t, s, "k", "5")
}

// testDropSurvives drops, leaves and comes back over and over.
func testDropSurvives(t *testing.T, f Factory, leave func(*testing.T, storage.Store) storage.Store) {
	if leave == nil {
		leave = func(t *testing.T, s storage.Store) storage.Store { return reopen(t, f, s) }
	}
	s := open(t, f)
	var want []string
	for i := range 60 {
		drop := 0
		if i%4 == 3 {
			drop = min(len(want), i%7)
		}
		group := pattern(10*i, i)
		saveAndDrop(t, s, drop, group, set(fmt.Sprint(i%9), group))
		want = append(want[drop:], group)
		if i%10 == 9 {
			s = leave(t, s)
			wantStrings(t, "groups", groups(t, s), want...)
			wantValue(t, s, fmt.Sprint(i%9), group)
		}
	}
}

func testDropLarge(t *testing.T, f Factory) {
	s := open(t, f)
	room := f.BatchBytesMax - storage.Batch{DropGroups: 3}.Bytes()
	for i, size := range []int{room, 1, room} {
		save(t, s, pattern(size, i))
	}
	saveAndDrop(t, s, 3, pattern(room, 4))
	s = reopen(t, f, s)
	wantStrings(t, "groups", groups(t, s), pattern(room, 4))
}
