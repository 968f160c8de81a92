package storage_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/264bc8cf/epaxos/storage"
)

const (
	killedDirEnv = "STORAGE_TEST_KILLED_DIR"
	killedGroups = 600
)

// TestKilledProcess is not a test of its own but the process that TestKill kills: it saves groups, and
// writes a line for each that is acknowledged.
func TestKilledProcess(t *testing.T) {
	dir := os.Getenv(killedDirEnv)
	if dir == "" {
		t.Skip("runs in a process of TestKill only")
	}
	s, err := storage.Open(damageOptions(dir))
	if err != nil {
		t.Fatal(err)
	}
	for number := int(s.LastGroup()) + 1; number <= killedGroups; number++ {
		if err := s.Save(historyBatch(number)); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("saved %d\n", number)
	}
}

// A process killed while it saves loses nothing it acknowledged, wherever it was: between groups,
// while a memory table is flushed, while tables are compacted, while it starts again.
func TestKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := storage.Create(damageOptions(dir)); err != nil {
		t.Fatal(err)
	}
	for _, until := range []int{1, 190, 230, 470} {
		acked := runUntilSaved(t, "TestKilledProcess", killedDirEnv+"="+dir, until)
		s := openBadger(t, damageOptions(dir))
		if s.LastGroup() < uint64(acked) {
			t.Fatalf("group %d was acknowledged, the log ends at %d", acked, s.LastGroup())
		}
		if err := newHistory(int(s.LastGroup())).check(s); err != nil {
			t.Fatal(err)
		}
		// The next process starts where this one is killed too, instead of from a clean close.
		dir = copyDir(t, dir)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// runUntilSaved runs a test in a process of its own, kills it when it has acknowledged group until, and returns
// the last that it acknowledged.
func runUntilSaved(t *testing.T, test, env string, until int) (acked int) {
	t.Helper()
	process := exec.Command(os.Args[0], "-test.run=^"+test+"$")
	process.Env = append(os.Environ(), env)
	out, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	killed := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said = append(said, lines.Text())
		if n, _ := fmt.Sscanf(lines.Text(), "saved %d", &acked); n == 1 && acked >= until && !killed {
			killed = true
			if err := process.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := process.Wait(); err == nil || !killed {
		t.Fatalf("the process ended by itself (%v):\n%s", err, strings.Join(said, "\n"))
	}
	return acked
}

// The reserve is a setting, so a disk with room may be full by decree.
func TestReserve(t *testing.T) {
	o := testOptions(filepath.Join(t.TempDir(), "data"))
	if err := createBadger(t, o).Close(); err != nil {
		t.Fatal(err)
	}
	o.FreeReserveBytes = 1 << 60
	wantError(t, openError(t, o), storage.ErrNoSpace, o.Dir)
	o.FreeReserveBytes = 1
	openBadger(t, o)
}
