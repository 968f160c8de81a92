package storage_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/264bc8cf/epaxos/storage"
)

var (
	flips    = flag.Int("storage.flips", 20, "how many bits TestFlippedBits flips, each in a copy of its own")
	flipSeed = flag.Uint64("storage.flipseed", 1, "where TestFlippedBits flips them")
)

// flip is one flipped bit, and what became of it.
type flip struct {
	file    string
	offset  int64
	bit     int
	outcome string
	err     error
}

// The outcomes of a flipped bit. A wrong read, or the loss of what was acknowledged, is none: the test fails.
const (
	refusedAtOpen   = "refused at open"
	detectedAtRead  = "detected at read"
	detectedByScrub = "detected by scrub"
	harmless        = "harmless"
)

// flippable are the files of a directory, with their sizes, and those less the zeros that end them.
func flippable(t *testing.T, dir string) (files []flippableFile) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if size := len(strings.TrimRight(string(content), "\x00")); size > 0 {
			files = append(files, flippableFile{e.Name(), int64(len(content)), int64(size)})
		}
	}
	return files
}

type flippableFile struct {
	name       string
	size, data int64
}

// randomFlip picks any byte of any file, any byte of what is not zeros at an end, or first any file, or else the small
// files that guard the others would hardly be met.
func randomFlip(r *rand.Rand, files []flippableFile) flip {
	flipped := func(name string, size int64) flip {
		return flip{file: name, offset: r.Int64N(size), bit: r.IntN(8)}
	}
	how := r.IntN(4)
	if how == 0 {
		f := files[r.IntN(len(files))]
		return flipped(f.name, f.data)
	}
	var total int64
	for _, f := range files {
		if total += f.data; how == 1 {
			total += f.size - f.data
		}
	}
	at := r.Int64N(total)
	for _, f := range files {
		size := f.data
		if how == 1 {
			size = f.size
		}
		if at < size {
			return flipped(f.name, size)
		}
		at -= size
	}
	panic("unreachable")
}

func (f *flip) apply(dir string) error {
	file, err := os.OpenFile(filepath.Join(dir, f.file), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	var b [1]byte
	if _, err := file.ReadAt(b[:], f.offset); err != nil {
		return err
	}
	b[0] ^= 1 << f.bit
	_, err = file.WriteAt(b[:], f.offset)
	return errors.Join(err, file.Close())
}

// judge opens the directory, reads all there is, and goes on: a replica that serves must serve what was
// acknowledged.
func (f *flip) judge(t *testing.T, dir string, want func(storage.Store) error) {
	t.Helper()
	s, err := storage.Open(damageOptions(dir))
	if err != nil {
		f.outcome, f.err = refusedAtOpen, err
	} else {
		s.Impatient()
		f.outcome = harmless
		if err = want(s); err != nil {
			f.outcome, f.err = detectedAtRead, err
		} else if err = scrubAll(s, 64<<10); err != nil {
			f.outcome, f.err = detectedByScrub, err
		}
		_ = s.Close()
	}
	if err != nil && !errors.Is(err, storage.ErrDamaged) && !errors.Is(err, storage.ErrFormat) {
		t.Errorf("violation of durability: bit %d of byte %d of %s: %v", f.bit, f.offset, f.file, err)
	}
}

// scrubAll is one whole scrub.
func scrubAll(s storage.Store, budget int) error {
	for at, done := (storage.ScrubPosition{}), false; !done; {
		var err error
		if at, done, err = s.Scrub(at, budget); err != nil {
			return err
		}
	}
	return nil
}

// TestFlippedBits is the claim of the package with random bits: each run is refused, detected or harmless, and no
// read is wrong. It prints what became of each file's.
func TestFlippedBits(t *testing.T) {
	for _, d := range flipDirectories(t) {
		t.Run(d.name, func(t *testing.T) {
			files := flippable(t, d.dir)
			r := rand.New(rand.NewPCG(*flipSeed, 5))
			table := map[string]int{}
			for range *flips {
				f := randomFlip(r, files)
				spoilt := copyDir(t, d.dir)
				if err := f.apply(spoilt); err != nil {
					t.Fatal(err)
				}
				f.judge(t, spoilt, d.want)
				table[fmt.Sprintf("%-12s %s", kind(f.file), f.outcome)]++
				if f.outcome == harmless {
					t.Logf("harmless: bit %d of byte %d of %s", f.bit, f.offset, f.file)
				}
				if err := os.RemoveAll(spoilt); err != nil {
					t.Fatal(err)
				}
			}
			for _, line := range slices.Sorted(func(yield func(string) bool) {
				for what, n := range table {
					if !yield(fmt.Sprintf("%s: %d", what, n)) {
						return
					}
				}
			}) {
				t.Log(line)
			}
		})
	}
}

func kind(file string) string {
	if ext := filepath.Ext(file); ext != "" {
		return ext
	}
	return file
}

type flipDirectory struct {
	name string
	dir  string
	want func(storage.Store) error
}

// flipDirectories are what a kill leaves of a replica, and what a close does.
func flipDirectories(t *testing.T) []flipDirectory {
	t.Helper()
	acked := newHistory(560)
	killed := acked.write(t)
	closed := copyDir(t, killed)
	if err := openBadger(t, damageOptions(closed)).Close(); err != nil {
		t.Fatal(err)
	}
	two, want := twoLogs(t)
	redo, redone := redoing(t)
	return []flipDirectory{
		{"killed", killed, acked.check}, {"closed", closed, acked.check},
		{"killed with two logs", two, want.check}, {"killed in a redo", redo, redone},
	}
}

// twoLogs is what a kill leaves while the older of two memory tables is still being flushed: its log, and a newer
// one, in which all groups of the older one were dropped already. So no hole in the log of groups would tell
// that writes of the state are missing.
func twoLogs(t *testing.T) (dir string, want history) {
	t.Helper()
	const older, all = 40, 60
	want = newHistory(all)
	for i := range want.batches {
		want.batches[i].DropGroups = 0
	}
	want.batches[all-10].DropGroups, want.dropped = older+5, older+5
	first := filepath.Join(t.TempDir(), "first")
	s := createBadger(t, damageOptions(first))
	for _, b := range want.batches[:older] {
		if err := s.Save(b); err != nil {
			t.Fatal(err)
		}
	}
	first = copyDir(t, first)
	dir = copyDir(t, first)
	s = openBadger(t, damageOptions(dir))
	for _, b := range want.batches[older:] {
		if err := s.Save(b); err != nil {
			t.Fatal(err)
		}
	}
	dir = copyDir(t, dir)
	// Until the older table is flushed the manifest does not know of it.
	for _, pattern := range []string{"*.sst", "MANIFEST"} {
		names, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, name := range names {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	logs, err := filepath.Glob(filepath.Join(first, "*.mem"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("logs: %v, %v", logs, err)
	}
	for _, name := range []string{"MANIFEST", filepath.Base(logs[0])} {
		copyFile(t, filepath.Join(first, name), filepath.Join(dir, name))
	}
	if err := openAndCheck(copyDir(t, dir), want); err != nil {
		t.Fatal(err)
	}
	return dir, want
}

// redoing is what a kill leaves in the middle of a redo, once it is marked, beside a staged state. The group is not
// acknowledged, so it may be lost, but not in part.
func redoing(t *testing.T) (dir string, check func(storage.Store) error) {
	t.Helper()
	const groups = 40
	want := newHistory(groups)
	start := want.write(t)
	staged := redoneBatch(groups).Writes
	s := openBadger(t, damageOptions(start))
	if err := errors.Join(s.Stage(staged, []byte("all")), s.Close()); err != nil {
		t.Fatal(err)
	}
	batch := redoneBatch(groups + 1)
	redone := newHistory(groups)
	redone.batches = append(redone.batches, batch)
	for _, w := range batch.Writes {
		redone.state[string(w.Key)] = string(w.Value)
	}
	check = func(s storage.Store) error {
		want := want
		if s.LastGroup() > groups {
			want = redone
		}
		if err := want.check(s); err != nil {
			return err
		}
		next := 0
		err := s.ScanStaged(nil, func(key, value []byte) error {
			if next >= len(staged) || !bytes.Equal(key, staged[next].Key) || !bytes.Equal(value, staged[next].Value) {
				return fmt.Errorf("wrong data: %q is staged", key)
			}
			next++
			return nil
		})
		if note, _ := s.Staged(); err == nil && string(note) == "all" && next < len(staged) {
			err = fmt.Errorf("wrong data: %d of %d keys are staged", next, len(staged))
		}
		return err
	}
	for n := 3; ; n++ {
		dir = copyDir(t, start)
		s := openBadger(t, damageOptions(dir))
		left, stopped := stopAfter(t, s, dir, n, func() error { return s.Save(batch) })
		if !stopped {
			t.Fatal("no stop was behind the marker")
		}
		again := openBadger(t, damageOptions(copyDir(t, left)))
		marked := again.LastGroup() > groups
		if closeAll(t, again); marked {
			return left, check
		}
	}
}

// TestFlippedWhileRunning flips bits of the files of a running store, which has them mapped: a scrub tells each that
// would have been told by Open, and none once it is flipped back.
func TestFlippedWhileRunning(t *testing.T) {
	acked := newHistory(60)
	dir := filepath.Join(t.TempDir(), "data")
	s := createBadger(t, damageOptions(dir))
	for _, b := range acked.batches[:40] {
		if err := s.Save(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil { // leaves one table, and nothing to compact
		t.Fatal(err)
	}
	s = openBadger(t, damageOptions(dir))
	for _, b := range acked.batches[40:] {
		if err := s.Save(b); err != nil {
			t.Fatal(err)
		}
	}
	s.Impatient()
	files := flippable(t, dir)
	r := rand.New(rand.NewPCG(*flipSeed, 6))
	if err := scrubAll(s, 64<<10); err != nil {
		t.Fatal(err)
	}
	table := map[string]int{}
	for range *flips {
		f := randomFlip(r, files)
		if err := f.apply(dir); err != nil {
			t.Fatal(err)
		}
		err := scrubAll(s, 64<<10)
		refused := openAndCheck(copyDir(t, dir), acked)
		switch {
		case err != nil && !errors.Is(err, storage.ErrDamaged):
			t.Fatal(err)
		case err == nil && refused != nil:
			t.Errorf("bit %d of byte %d of %s goes unnoticed until the next start: %v", f.bit, f.offset, f.file, refused)
		case err == nil:
			table[kind(f.file)+" harmless"]++
		default:
			table[kind(f.file)+" detected by scrub"]++
		}
		if err := f.apply(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Log(table)
	if err := scrubAll(s, 1); err != nil {
		t.Fatal(err)
	}
}
