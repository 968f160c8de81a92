package storage_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/264bc8cf/epaxos/storage"
)

const redoneKeys = 300

// redoneBatch takes about a dozen transactions. All that it sets tells its number.
func redoneBatch(number int) storage.Batch {
	b := storage.Batch{Group: []byte(strings.Repeat(fmt.Sprintf("%09d;", number), 17_000))}
	for i := range redoneKeys {
		w := storage.Write{Key: fmt.Appendf(nil, "key-%03d", i), Value: fmt.Appendf(nil, "%d %s", number, noise[:500])}
		b.Writes = append(b.Writes, w)
	}
	return b
}

// wantRedone fails unless the state and the last group are those of a number.
func wantRedone(t *testing.T, s storage.Store, number int) {
	t.Helper()
	if got := s.LastGroup(); got != uint64(number) {
		t.Fatalf("violation of durability: the last group is %d, want %d", got, number)
	}
	var group string
	err := s.Groups(func(_ uint64, g []byte) error { group = string(g); return nil })
	if err != nil || !strings.HasPrefix(group, fmt.Sprintf("%09d;", number)) {
		t.Fatalf("violation of durability: the last group is %.20q, %v", group, err)
	}
	keys := 0
	err = s.Scan(nil, nil, func(key, value []byte) error {
		if keys++; !strings.HasPrefix(string(value), fmt.Sprint(number, " ")) {
			return fmt.Errorf("key %s is %.20q", key, value)
		}
		return nil
	})
	if err != nil || keys != redoneKeys {
		t.Fatalf("violation of durability: not all of group %d, %d keys, %v", number, keys, err)
	}
}

// stopAfter runs act on a store, stopped after so many transactions, and returns what it leaves. Stopped is
// false if the act ended before.
func stopAfter(t *testing.T, s *storage.Badger, dir string, n int, act func() error) (left string, stopped bool) {
	t.Helper()
	s.StopAfter(n)
	err := act()
	if err == nil {
		return dir, false
	}
	if !errors.Is(err, storage.ErrStopped) {
		t.Fatal(err)
	}
	left = copyDir(t, dir)
	s.Abandon()
	return left, true
}

// A save by redo that ends anywhere leaves all or nothing, and so does an Open that finishes it.
func TestRedoStopsAnywhere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	o := damageOptions(dir)
	s := createBadger(t, o)
	for i := range 3 {
		if err := s.Save(redoneBatch(i + 1)); err != nil {
			t.Fatal(err)
		}
	}
	start := copyDir(t, dir)
	batch := redoneBatch(4)
	batch.DropGroups, batch.Hold = 2, storage.HoldThis
	last, marked := 3, 0
	for n := 0; ; n++ {
		dir := copyDir(t, start)
		s := openBadger(t, damageOptions(dir))
		left, stopped := stopAfter(t, s, dir, n, func() error { return s.Save(batch) })
		if !stopped {
			wantRedone(t, s, 4)
			if marked == 0 || n-marked < 5 {
				t.Fatalf("the batch took %d transactions, the marker was number %d", n, marked)
			}
			return
		}
		beside := copyDir(t, left)
		again := openBadger(t, damageOptions(left))
		if last == 3 && again.LastGroup() == 4 {
			last, marked = 4, n
			openStopsAnywhere(t, beside)
		}
		wantRedone(t, again, last)
		if left := again.RedoRecords(); left > 0 {
			t.Fatalf("%d redo records are left", left)
		}
		if held := again.Held(); held != uint64(last/4*4) || again.Usage().GroupFirst != uint64(1+last/4*2) {
			t.Fatalf("violation of durability: group %d is held, %+v", held, again.Usage())
		}
		// The next group goes its way, and the one that was lost too, under another attempt.
		next := redoneBatch(last + 1)
		if err := again.Save(next); err != nil {
			t.Fatal(err)
		}
		wantRedone(t, again, last+1)
		closeAll(t, again)
	}
}

// closeAll ends stores at once, since each takes processor time as long as it is open.
func closeAll(t *testing.T, stores ...*storage.Badger) {
	t.Helper()
	for _, s := range stores {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// openStopsAnywhere opens a directory with a marked redo, and stops that too after each transaction.
func openStopsAnywhere(t *testing.T, marked string) {
	t.Helper()
	for n := 0; ; n++ {
		dir := copyDir(t, marked)
		o := damageOptions(dir)
		storage.StopAfter(&o, n)
		s, err := storage.Open(o)
		if err == nil {
			wantRedone(t, s, 4)
			if err := s.Close(); err != nil || n < 5 {
				t.Fatalf("%d transactions finish a redo, %v", n, err)
			}
			return
		}
		if !errors.Is(err, storage.ErrStopped) {
			t.Fatal(err)
		}
		again := openBadger(t, damageOptions(dir))
		wantRedone(t, again, 4)
		closeAll(t, again)
	}
}

// A staging that ends anywhere leaves the old note, and a dropped one nothing; what is adopted in a redo is all
// of it.
func TestStagingStopsAnywhere(t *testing.T) {
	start := filepath.Join(t.TempDir(), "data")
	s := createBadger(t, damageOptions(start))
	old := redoneBatch(1)
	if err := errors.Join(s.Save(old), s.Stage(old.Writes[:1], []byte("old")), s.Close()); err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		dir := copyDir(t, start)
		s := openBadger(t, damageOptions(dir))
		left, stopped := stopAfter(t, s, dir, n, func() error {
			next := redoneBatch(2)
			adopted := storage.Batch{Group: next.Group, Adopt: true}
			return errors.Join(s.Stage(old.Writes[:1], []byte("old")), s.DropStaged(),
				s.Stage(next.Writes, []byte("new")), s.Save(adopted))
		})
		if !stopped {
			wantRedone(t, s, 2)
			return
		}
		again := openBadger(t, damageOptions(left))
		note, err := again.Staged()
		if err != nil || again.LastGroup() == 2 && note != nil {
			t.Fatalf("violation of durability: the note is %q, %v", note, err)
		}
		wantRedone(t, again, int(again.LastGroup()))
		if string(note) == "new" {
			if err := again.Save(storage.Batch{Group: redoneBatch(2).Group, Adopt: true}); err != nil {
				t.Fatal(err)
			}
			wantRedone(t, again, 2)
		}
		closeAll(t, again)
	}
}

const redoneDirEnv = "STORAGE_TEST_REDONE_DIR"

// TestRedoingProcess is the process that TestKillRedo kills.
func TestRedoingProcess(t *testing.T) {
	dir := os.Getenv(redoneDirEnv)
	if dir == "" {
		t.Skip("runs in a process of TestKillRedo only")
	}
	s, err := storage.Open(damageOptions(dir))
	if err != nil {
		t.Fatal(err)
	}
	for number := int(s.LastGroup()) + 1; ; number++ {
		b := redoneBatch(number)
		if number > 3 {
			b.DropGroups = 1
		}
		if err := s.Save(b); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("saved %d\n", number)
	}
}

// A process killed during redos, which take nearly all of its time, leaves all or nothing of the last.
func TestKillRedo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := storage.Create(damageOptions(dir)); err != nil {
		t.Fatal(err)
	}
	for _, until := range []int{1, 4, 9, 11} {
		acked := runUntilSaved(t, "TestRedoingProcess", redoneDirEnv+"="+dir, until)
		s := openBadger(t, damageOptions(dir))
		last := int(s.LastGroup())
		if last != acked && last != acked+1 {
			t.Fatalf("violation of durability: group %d was acknowledged, the log ends at %d", acked, last)
		}
		wantRedone(t, s, last)
		dir = copyDir(t, dir)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
