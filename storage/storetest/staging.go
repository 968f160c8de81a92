package storetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/264bc8cf/epaxos/storage"
)

func stage(t *testing.T, s storage.Store, note string, writes ...storage.Write) {
	t.Helper()
	if err := s.Stage(writes, []byte(note)); err != nil {
		t.Fatalf("stage: %v", err)
	}
	wantStaged(t, s, note)
}

// wantStaged fails unless something is staged, with that note.
func wantStaged(t *testing.T, s storage.Store, note string) {
	t.Helper()
	got, err := s.Staged()
	if err != nil || got == nil || string(got) != note {
		t.Fatalf("the note of what is staged is %q, %v, want %q", got, err, note)
	}
}

func wantNoneStaged(t *testing.T, s storage.Store) {
	t.Helper()
	if note, err := s.Staged(); note != nil || err != nil {
		t.Fatalf("something is staged: note %q, %v", note, err)
	}
	wantStrings(t, "staged", staged(t, s))
}

func staged(t *testing.T, s storage.Store) []string {
	t.Helper()
	var got []string
	err := s.ScanStaged(nil, func(key, value []byte) error {
		got = append(got, fmt.Sprintf("%s=%s", key, value))
		return nil
	})
	if err != nil {
		t.Fatalf("scan what is staged: %v", err)
	}
	return got
}

func testStage(t *testing.T, f Factory) {
	s := open(t, f)
	wantNoneStaged(t, s)
	save(t, s, "1", set("a", "old"), set("b", "old"))
	held := saveBatch(t, s, storage.Batch{Hold: storage.HoldThis})
	s.Pin()
	stage(t, s, "half", set("b", "new"), set("", "new"))
	save(t, s, "3", set("a", "older"))
	stage(t, s, "", set("c", "new"), set("d", "new"), set("", "new"))
	wantStrings(t, "staged", staged(t, s), "=new", "b=new", "c=new", "d=new")
	wantStrings(t, "state", state(t, s, "", ""), "a=older", "b=old")
	wantStrings(t, "held", changes(t, s, 0, held), "a=old", "b=old")
	group := saveBatch(t, s, storage.Batch{
		Adopt: true, Hold: storage.HoldThis, Writes: []storage.Write{set("c", "on top"), del("d"), set("e", "on top")},
	})
	want := []string{"=new", "b=new", "c=on top", "e=on top"}
	wantStrings(t, "state", state(t, s, "", ""), want...)
	wantNoneStaged(t, s)
	save(t, s, "5", set("b", "later"), del("c"))
	for range 3 {
		if s.Held() != group {
			t.Fatalf("group %d is held, want %d", s.Held(), group)
		}
		wantStrings(t, "held", changes(t, s, 0, group), want...)
		wantStrings(t, "since", changes(t, s, group, group+1), "b=later", "c deleted")
		wantStrings(t, "state", state(t, s, "", ""), "=new", "b=later", "e=on top")
		wantGone(t, s, 0, held) // void: it was another state
		wantGone(t, s, held, group)
		wantAbsent(t, s, "a")
		s = f.Crash(t, s)
	}
}

func testStageSurvives(t *testing.T, f Factory) {
	s := open(t, f)
	var want []string
	for i := range 6 {
		key := fmt.Sprintf("k%d", i)
		want = append(want, key+"="+key)
		stage(t, s, key, set(key, key))
		if i%2 == 0 {
			s = f.Crash(t, s)
		} else {
			s = reopen(t, f, s)
			save(t, s, "", set("own", key))
		}
		wantStaged(t, s, key)
		wantStrings(t, "staged", staged(t, s), want...)
	}
	wantStrings(t, "state", state(t, s, "", ""), "own=k5")
	saveBatch(t, s, storage.Batch{Adopt: true})
	s = f.Crash(t, s)
	wantNoneStaged(t, s)
	wantStrings(t, "state", state(t, s, "", ""), want...)
	for range 3 { // until what was left over is gone, and beyond
		save(t, s, "", set("own", "again"))
		wantStrings(t, "state", state(t, s, "", ""), append(want, "own=again")...)
		s = reopen(t, f, s)
	}
}

func testStageLarge(t *testing.T, f Factory) {
	s := open(t, f)
	save(t, s, "", set("old", ""))
	var writes []storage.Write
	var want []string
	for size, i := 0, 0; size < 3*f.BatchBytesMax; i++ {
		w := set(fmt.Sprintf("%05d", i), pattern(i%5000, i))
		size += w.Bytes()
		writes = append(writes, w)
		want = append(want, string(w.Key)+"="+string(w.Value))
	}
	stage(t, s, "large", writes...)
	s = f.Crash(t, s)
	wantStaged(t, s, "large")
	wantStrings(t, "staged", staged(t, s), want...)
	saveBatch(t, s, storage.Batch{Adopt: true})
	wantStrings(t, "state", state(t, s, "", ""), want...)
	s = f.Crash(t, s)
	wantStrings(t, "state", state(t, s, "", ""), want...)
}

func testDropStaged(t *testing.T, f Factory) {
	s := open(t, f)
	if err := s.DropStaged(); err != nil {
		t.Fatalf("drop where nothing is staged: %v", err)
	}
	for i := range 4 {
		stage(t, s, "dropped", set("dropped", fmt.Sprint(i)), set(fmt.Sprint("dropped", i), ""))
		if err := s.DropStaged(); err != nil {
			t.Fatal(err)
		}
		wantNoneStaged(t, s)
		if i%2 == 0 {
			s = f.Crash(t, s)
			wantNoneStaged(t, s)
			save(t, s, "")
		}
		stage(t, s, "kept", set(fmt.Sprint("kept", i), ""))
		wantStrings(t, "staged", staged(t, s), fmt.Sprintf("kept%d=", i))
		if err := s.DropStaged(); err != nil {
			t.Fatal(err)
		}
	}
	stage(t, s, "kept", set("kept", ""))
	saveBatch(t, s, storage.Batch{Adopt: true})
	wantStrings(t, "state", state(t, s, "", ""), "kept=")
}

func testNotStaged(t *testing.T, f Factory) {
	s := open(t, f)
	save(t, s, "1", set("a", "1"))
	refused := func() {
		t.Helper()
		err := s.Save(storage.Batch{Adopt: true, Hold: storage.HoldThis, Writes: []storage.Write{set("a", "2")}})
		if !errors.Is(err, storage.ErrNotStaged) || s.LastGroup() != 1 || s.Held() != 0 {
			t.Fatalf("adopt nothing: %v, last group %d, held %d; want ErrNotStaged", err, s.LastGroup(), s.Held())
		}
	}
	refused()
	for name, w := range map[string]storage.Write{
		"deletion": del("a"),
		"key":      set(pattern(storage.KeyBytesMax+1, 1), ""),
		"value":    set("a", pattern(f.ValueBytesMax+1, 1)),
	} {
		if err := s.Stage([]storage.Write{w}, nil); !errors.Is(err, storage.ErrBatchTooLarge) {
			t.Fatalf("stage a forbidden %s: %v", name, err)
		}
	}
	wantNoneStaged(t, s)
	refused()
	stage(t, s, "") // of a state that is empty
	if err := s.Save(storage.Batch{Adopt: true}); err != nil {
		t.Fatal(err)
	}
	wantStrings(t, "state", state(t, s, "", ""))
}
