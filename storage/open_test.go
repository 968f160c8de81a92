package storage_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/264bc8cf/epaxos/storage"
)

// wantError fails unless err is of that kind and names all of the words.
func wantError(t *testing.T, err, kind error, words ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("got error %v, want %v", err, kind)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Fatalf("error %q does not name %q", err, word)
		}
	}
}

func openError(t *testing.T, o storage.Options) error {
	t.Helper()
	s, err := storage.Open(o)
	if err == nil {
		_ = s.Close()
		t.Fatal("the directory was opened")
	}
	return err
}

func TestOpenRefusesWhatWasNotCreated(t *testing.T) {
	dir := t.TempDir()
	wantError(t, openError(t, testOptions(dir)), storage.ErrEmpty, dir)
	wantError(t, openError(t, testOptions(filepath.Join(dir, "missing"))), storage.ErrEmpty, "missing")
	if names, _ := os.ReadDir(dir); len(names) > 0 {
		t.Fatalf("a refused Open left %v behind", names)
	}
	if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantError(t, openError(t, testOptions(dir)), storage.ErrDamaged, "thesis.txt", "identity")
}

func TestWipedDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := createBadger(t, testOptions(dir))
	if err := errors.Join(s.Save(storage.Batch{}), s.Close(), os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	wantError(t, openError(t, testOptions(dir)), storage.ErrEmpty)
}

func TestCreateWantsADirectoryOfItsOwn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := storage.Create(testOptions(dir)); err != nil {
		t.Fatal(err)
	}
	if id, err := storage.ReadIdentity(dir); err != nil || id != testIdentity {
		t.Fatalf("the identity reads %v, %v", id, err)
	}
	wantError(t, storage.Create(testOptions(dir)), os.ErrExist, "identity")
	if err := storage.Create(testOptions(filepath.Join(dir, "identity", "below"))); err == nil {
		t.Fatal("a directory was created below a file")
	}
}

func TestForeignDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := createBadger(t, testOptions(dir)).Close(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*storage.Identity){
		"cluster":     func(id *storage.Identity) { id.Cluster[4]++ },
		"replica":     func(id *storage.Identity) { id.Replica = 5 },
		"incarnation": func(id *storage.Identity) { id.Incarnation++ },
	} {
		o := testOptions(dir)
		change(&o.Identity)
		t.Run(name, func(t *testing.T) {
			wantError(t, openError(t, o), storage.ErrForeign, testIdentity.String(), o.Identity.String())
		})
	}
	openBadger(t, testOptions(dir)) // and its owner still opens it
}

// The files of one replica under the identity of another, as a careless copy leaves them.
func TestMixedDirectories(t *testing.T) {
	mine, theirs := filepath.Join(t.TempDir(), "mine"), filepath.Join(t.TempDir(), "theirs")
	foreign := testOptions(theirs)
	foreign.Identity.Replica = 4
	if err := errors.Join(createBadger(t, testOptions(mine)).Close(), createBadger(t, foreign).Close()); err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(mine, "identity"), filepath.Join(theirs, "identity"))
	wantError(t, openError(t, testOptions(theirs)), storage.ErrForeign, "replica 3", "replica 4")
}

func TestOtherFormat(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := createBadger(t, testOptions(dir)).Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "identity")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	newer := bytes.Replace(content, []byte("epaxos-storage 1\n"), []byte("epaxos-storage 9\n"), 1)
	if bytes.Equal(newer, content) {
		t.Fatalf("the identity no longer begins with its format:\n%s", content)
	}
	if err := os.WriteFile(path, newer, 0o600); err != nil {
		t.Fatal(err)
	}
	wantError(t, openError(t, testOptions(dir)), storage.ErrFormat, "format 9", "reads 1")
}

func TestOneProcessAtATime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := createBadger(t, testOptions(dir))
	if err := openError(t, testOptions(dir)); !strings.Contains(err.Error(), "another process uses "+dir) {
		t.Fatalf("got %v", err)
	}
	if err := s.Save(storage.Batch{}); err != nil {
		t.Fatalf("the one that has it open is disturbed: %v", err)
	}
}

// An identity that says "never started" beside a log is a bootstrap record restored over a replica:
// taking it for a first start would forget every promise.
func TestBootstrapRecordOverALog(t *testing.T) {
	dir, fresh := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "fresh")
	if err := storage.Create(testOptions(fresh)); err != nil {
		t.Fatal(err)
	}
	s := createBadger(t, testOptions(dir))
	if err := errors.Join(s.Save(storage.Batch{Group: []byte("promise")}), s.Close()); err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(fresh, "identity"), filepath.Join(dir, "identity"))
	wantError(t, openError(t, testOptions(dir)), storage.ErrDamaged, "1 groups", "identity")
}

// A crash during the first start leaves a database, but an identity that says "never started".
func TestFirstStartIsRepeated(t *testing.T) {
	dir, fresh := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "fresh")
	if err := storage.Create(testOptions(fresh)); err != nil {
		t.Fatal(err)
	}
	s := createBadger(t, testOptions(dir))
	half := copyDir(t, dir)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(fresh, "identity"), filepath.Join(half, "identity"))
	if err := os.Remove(filepath.Join(half, "mark")); err != nil {
		t.Fatal(err)
	}
	s = openBadger(t, testOptions(half))
	if err := errors.Join(s.Save(storage.Batch{}), s.Close()); err != nil {
		t.Fatal(err)
	}
	if got := openBadger(t, testOptions(half)).LastGroup(); got != 1 {
		t.Fatalf("the last group is %d, want 1", got)
	}
}

// A crash between the creation of a log and its first growth leaves an empty file, which Badger by
// itself refuses.
func TestEmptyLogsAreMovedAside(t *testing.T) {
	acked := newHistory(40)
	dir := acked.write(t)
	for _, name := range []string{"00099.mem", "000099.vlog"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	o := damageOptions(dir)
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	if err := acked.check(openBadger(t, o)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"00099.mem", "000099.vlog"} {
		if _, err := os.Stat(filepath.Join(dir, name+".empty")); err != nil {
			t.Error(err)
		}
		if !strings.Contains(log.String(), name) {
			t.Errorf("the log does not tell of %s:\n%s", name, &log)
		}
	}
}

// Emptying a log that held groups must not pass for such a crash.
func TestEmptiedLogIsNoticed(t *testing.T) {
	dir := newHistory(40).write(t)
	logs, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("logs: %v, %v; want one", logs, err)
	}
	if err := os.Truncate(logs[0], 0); err != nil {
		t.Fatal(err)
	}
	wantError(t, openError(t, damageOptions(dir)), storage.ErrDamaged)
}

// Badger dies of an unflushed log that is larger than its memory tables.
func TestLoweredMemTableAfterACrash(t *testing.T) {
	acked := newHistory(210)
	dir := filepath.Join(t.TempDir(), "data")
	large := damageOptions(dir)
	large.MemTableBytes = 8 << 20
	acked.save(t, createBadger(t, large))
	for _, step := range []string{"after a crash", "after a crash during that", "after a close"} {
		if step != "after a close" {
			dir = copyDir(t, dir)
		}
		s := openBadger(t, damageOptions(dir))
		if err := acked.check(s); err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		if step != "after a crash" {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := storage.BatchBytesMax(damageMemTable)
	if got := openBadger(t, damageOptions(dir)).BatchBytesMax(); got != want {
		t.Fatalf("once all is flushed batches may have %d bytes, want %d as configured", got, want)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]storage.Options{
		"no directory":    {},
		"tiny mem table":  {Dir: t.TempDir(), MemTableBytes: 1},
		"large mem table": {Dir: t.TempDir(), MemTableBytes: 1 << 40},
	} {
		if err := openError(t, o); !strings.HasPrefix(err.Error(), "storage: ") || errors.Is(err, storage.ErrEmpty) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := storage.Create(storage.Options{}); err == nil {
		t.Error("a replica was created in no directory")
	}
}

func TestCloseLeavesNothingRunning(t *testing.T) {
	before := goleak.IgnoreCurrent()
	s := createBadger(t, testOptions(filepath.Join(t.TempDir(), "data")))
	if err := errors.Join(s.Save(storage.Batch{}), s.Close()); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
}

// Values that were overwritten give their space back. Badger keeps at most six tables waiting for
// compaction, so the bound holds at any time.
func TestOverwritesAreReclaimed(t *testing.T) {
	s := createBadger(t, damageOptions(filepath.Join(t.TempDir(), "data")))
	var written uint64
	for written < 45<<20 {
		b := storage.Batch{}
		for i := range 30 {
			b.Writes = append(b.Writes, storage.Write{Key: historyKey(i), Value: noise[:4000]})
		}
		if err := s.Save(b); err != nil {
			t.Fatal(err)
		}
		written += uint64(b.Bytes())
	}
	if u := s.Usage(); u.DiskBytes > written/2 {
		t.Fatalf("120 kB of live data take %d of the %d bytes that were ever written", u.DiskBytes, written)
	}
}
