package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/264bc8cf/epaxos/storage"
)

// changes reads as "key=value", or "key deleted".
func changes(t *testing.T, s storage.Store, since, at uint64) []string {
	t.Helper()
	got, err := changesAfter(s, since, at, nil)
	if err != nil {
		t.Fatalf("changes since %d as of %d: %v", since, at, err)
	}
	return got
}

func changesAfter(s storage.Store, since, at uint64, after []byte) (got []string, err error) {
	err = s.Changes(since, at, after, func(w storage.Write) error {
		if w.Delete {
			got = append(got, fmt.Sprintf("%s deleted", w.Key))
		} else {
			got = append(got, fmt.Sprintf("%s=%s", w.Key, w.Value))
		}
		return nil
	})
	return got, err
}

func wantGone(t *testing.T, s storage.Store, since, at uint64) {
	t.Helper()
	if got, err := changesAfter(s, since, at, nil); !errors.Is(err, storage.ErrGone) || len(got) > 0 {
		t.Fatalf("changes since %d as of %d: %q, %v; want ErrGone", since, at, got, err)
	}
}

func saveBatch(t *testing.T, s storage.Store, b storage.Batch) uint64 {
	t.Helper()
	if err := s.Save(b); err != nil {
		t.Fatalf("save: %v", err)
	}
	return s.LastGroup()
}

func testPin(t *testing.T, f Factory) {
	s := open(t, f)
	if group := s.Pin(); group != 0 {
		t.Fatalf("pinned group %d of an empty store", group)
	}
	wantStrings(t, "an empty store", changes(t, s, 0, 0))
	s.Unpin(0)
	save(t, s, "1", set("a", "1"), set("b", "1"))
	for range 2 {
		if group := s.Pin(); group != 1 {
			t.Fatalf("pinned group %d, want 1", group)
		}
	}
	save(t, s, "2", set("a", "2"), del("b"), set("c", "2"))
	save(t, s, "3", set("b", "3"))
	wantStrings(t, "pinned", changes(t, s, 0, 1), "a=1", "b=1")
	wantStrings(t, "newest", changes(t, s, 0, 3), "a=2", "b=3", "c=2")
	s.Unpin(1)
	wantStrings(t, "still pinned", changes(t, s, 0, 1), "a=1", "b=1")
	got, err := changesAfter(s, 0, 1, []byte("a"))
	wantStrings(t, fmt.Sprint("after a key, ", err), got, "b=1")
	got, err = changesAfter(s, 0, 1, []byte("aa"))
	wantStrings(t, fmt.Sprint("after no key, ", err), got, "b=1")
	s.Unpin(1)
	wantGone(t, s, 0, 1)
	wantStrings(t, "newest", changes(t, s, 0, 3), "a=2", "b=3", "c=2")
	if s.Held() != 0 {
		t.Fatalf("group %d is held", s.Held())
	}
}

func testAt(t *testing.T, f Factory) {
	s := open(t, f)
	at := func(group uint64) storage.Past {
		t.Helper()
		p, err := s.At(group)
		if err != nil {
			t.Fatalf("read as of %d: %v", group, err)
		}
		return p
	}
	want := func(p storage.Past, from, to string, pairs ...string) {
		t.Helper()
		var got []string
		bound := []byte(to)
		if to == "" {
			bound = nil
		}
		err := p.Scan([]byte(from), bound, func(key, value []byte) error {
			got = append(got, fmt.Sprintf("%s=%s", key, value))
			return nil
		})
		wantStrings(t, fmt.Sprint("violation of durability: scan, ", err), got, pairs...)
	}
	save(t, s, "1", set("a", "1"), set("b", "1"), set("c", ""))
	first := at(1)
	save(t, s, "2", set("a", "2"), del("b"), set("aa", "2"))
	second := at(2)
	again := at(1)
	save(t, s, "3", set("a", "3"), set("b", "3"), del("c"))
	want(first, "", "", "a=1", "b=1", "c=")
	want(second, "", "", "a=2", "aa=2", "c=")
	want(second, "aa", "c", "aa=2")
	first.Close()
	want(again, "a", "b", "a=1")
	value, found, err := again.Get([]byte("b"))
	if string(value) != "1" || !found || err != nil {
		t.Fatalf("violation of durability: b is %q, %v, %v, want 1", value, found, err)
	}
	if value, found, err := again.Get([]byte("aa")); found || err != nil {
		t.Fatalf("violation of durability: aa is %q, %v, %v, want nothing", value, found, err)
	}
	enough := errors.New("enough")
	if err := again.Scan(nil, nil, func(_, _ []byte) error { return enough }); !errors.Is(err, enough) {
		t.Fatalf("the error of visit comes back as %v", err)
	}
	again.Close()
	second.Close()
	for _, group := range []uint64{1, 2, 4} {
		if p, err := s.At(group); !errors.Is(err, storage.ErrGone) {
			t.Fatalf("read as of %d: %v, %v, want ErrGone", group, p, err)
		}
	}
	newest := at(3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := newest.Get([]byte("a")); !errors.Is(err, storage.ErrClosed) {
		t.Fatalf("read after the store was closed: %v, want ErrClosed", err)
	}
	newest.Close()
}

func testHold(t *testing.T, f Factory, leave func(*testing.T, storage.Store) storage.Store) {
	if leave == nil {
		leave = func(t *testing.T, s storage.Store) storage.Store { return reopen(t, f, s) }
	}
	s := open(t, f)
	want := func(group uint64, state ...string) {
		t.Helper()
		u := s.Usage()
		if s.Held() != group || u.Held != group || (u.HeldBytes > 0) && u.Held == u.GroupLast {
			t.Fatalf("group %d is held, want %d; %+v", s.Held(), group, u)
		}
		if group > 0 {
			wantStrings(t, "held", changes(t, s, 0, group), state...)
		}
	}
	save(t, s, "1", set("a", "1"), set("b", "1"))
	saveBatch(t, s, storage.Batch{Hold: storage.HoldThis, Writes: []storage.Write{set("a", "2"), set("", "2")}})
	want(2, "=2", "a=2", "b=1")
	for i := range 5 {
		save(t, s, "", set("a", fmt.Sprint("later", i)), del("b"), set(fmt.Sprint("new", i), ""))
		s = leave(t, s)
		want(2, "=2", "a=2", "b=1")
	}
	saveBatch(t, s, storage.Batch{Hold: storage.HoldThis, DropGroups: 3, Writes: []storage.Write{set("a", "8"), del("")}})
	want(8, "a=8", "new0=", "new1=", "new2=", "new3=", "new4=")
	wantGone(t, s, 0, 2)
	save(t, s, "", set("a", "9"))
	s = leave(t, s)
	want(8, "a=8", "new0=", "new1=", "new2=", "new3=", "new4=")
	saveBatch(t, s, storage.Batch{Group: []byte(pattern(5000, 1))})
	if held := s.Usage().HeldBytes; held < 5000 || held > 6000 {
		t.Fatalf("%d bytes are held, want a bit more than 5000", held)
	}
	saveBatch(t, s, storage.Batch{Hold: storage.HoldNone})
	want(0)
	save(t, s, "", set("a", "10"))
	wantGone(t, s, 0, 8)
	s = leave(t, s)
	want(0)
	wantGone(t, s, 0, 8)
	wantValue(t, s, "a", "10")
}

func testChanges(t *testing.T, f Factory) {
	s := open(t, f)
	save(t, s, "1", set("a", "1"), set("b", "1"), set("c", "1"), set("d", "1"))
	saveBatch(t, s, storage.Batch{Hold: storage.HoldThis, Writes: []storage.Write{set("b", "2")}})
	save(t, s, "3", set("a", "3"), del("c"), set("e", "3"))
	save(t, s, "4", set("a", "4"), del("e"), set("f", "4"))
	at := s.Pin()
	save(t, s, "5", set("a", "5"), set("d", "5"), del("f"))
	wantStrings(t, "since 2 as of 4", changes(t, s, 2, 4), "a=4", "c deleted", "e deleted", "f=4")
	wantStrings(t, "since 2 as of 5", changes(t, s, 2, 5), "a=5", "c deleted", "d=5", "e deleted", "f deleted")
	wantStrings(t, "since 4 as of 5", changes(t, s, 4, 5), "a=5", "d=5", "f deleted")
	wantStrings(t, "since 4 as of 4", changes(t, s, 4, 4))
	wantStrings(t, "since 0 as of 4", changes(t, s, 0, 4), "a=4", "b=2", "d=1", "f=4")
	got, err := changesAfter(s, 2, 4, []byte("c"))
	wantStrings(t, fmt.Sprint("since 2 as of 4 after c, ", err), got, "e deleted", "f=4")
	enough := errors.New("enough")
	visits := 0
	err = s.Changes(2, 5, nil, func(w storage.Write) error {
		if visits++; visits == 2 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || visits != 2 {
		t.Fatalf("changes: %v after %d visits, want the visitor's error after 2", err, visits)
	}
	s.Unpin(at)
}

func testGone(t *testing.T, f Factory) {
	s := open(t, f)
	for i := range 4 {
		save(t, s, "", set("k", fmt.Sprint(i)))
	}
	wantGone(t, s, 0, 3) // neither held nor pinned
	wantGone(t, s, 3, 4) // a deletion after 3 may have left no trace
	wantGone(t, s, 0, 5) // not there yet
	wantGone(t, s, 4, 3)
	pinned := s.Pin()
	save(t, s, "", set("k", "5"), del("l"))
	wantStrings(t, "since the pin", changes(t, s, pinned, 5), "k=5", "l deleted")
	s = reopen(t, f, s)
	wantGone(t, s, 0, pinned) // a pin ends with its process
	wantGone(t, s, pinned, 5)
}

// testChangesConcurrently reads one pinned state over and over while others are saved, and closes meanwhile.
func testChangesConcurrently(t *testing.T, f Factory) {
	s := open(t, f)
	var want []string
	for i := range 30 {
		save(t, s, "", set(fmt.Sprintf("%02d", i), "pinned"))
		want = append(want, fmt.Sprintf("%02d=pinned", i))
	}
	var reading sync.WaitGroup
	for range 2 {
		pinned := s.Pin()
		reading.Go(func() {
			for {
				got, err := changesAfter(s, 0, pinned, nil)
				if err == nil {
					err = getPinned(s, pinned)
				}
				if errors.Is(err, storage.ErrClosed) {
					return
				}
				if err != nil || len(got) != len(want) || got[7] != want[7] {
					t.Errorf("violation of durability: the pinned state is %q, %v", got, err)
					return
				}
			}
		})
	}
	for i := range 60 {
		save(t, s, "", set(fmt.Sprintf("%02d", i%40), "later"), del("07"))
		if i%20 == 0 {
			s.Unpin(s.Pin())
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	reading.Wait()
}

// getPinned reads one key of the state that testChangesConcurrently pins.
func getPinned(s storage.Store, pinned uint64) error {
	p, err := s.At(pinned)
	if err != nil {
		return err
	}
	defer p.Close()
	value, _, err := p.Get([]byte("07"))
	if err == nil && string(value) != "pinned" {
		return fmt.Errorf("key 07 is %q", value)
	}
	return err
}
