package prompt

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func linesOf(h *History) []string {
	var all []string
	for i := range h.Len() {
		all = append(all, h.At(i))
	}
	return all
}

func open(t *testing.T, path string) *History {
	t.Helper()
	h, err := OpenHistory(path)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHistory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "history")
	h := open(t, path)
	for _, line := range []string{
		"get a", "get a", "", " put password x", "get b ", "get\x1b[2J", "get \xff", strings.Repeat("x", lineBytesMax+1), "get a",
	} {
		h.Add(line)
	}
	want := []string{"get a", "get b", "get a"}
	if got := linesOf(h); !slices.Equal(got, want) || h.Err() != nil {
		t.Errorf("%q, %v, want %q", got, h.Err(), want)
	}
	other := open(t, path)
	other.Add("of another shell")
	h.Add("get c")
	if got := linesOf(open(t, path)); !slices.Equal(got, append([]string{"get c", "of another shell"}, want...)) {
		t.Errorf("read again: %q", got)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: others can read it", info.Mode(), err)
	}
}

// TestHistoryIsBounded: neither the lines in memory nor the file grow for ever.
func TestHistoryIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history")
	h := open(t, path)
	for i := range 2 * historyLines {
		h.Add(fmt.Sprintf("get %d", i))
	}
	if h.Len() != historyLines {
		t.Errorf("%d lines in memory", h.Len())
	}
	again := open(t, path)
	content, err := os.ReadFile(path)
	if err != nil || strings.Count(string(content), "\n") != historyLines || !slices.Equal(linesOf(again), linesOf(h)) {
		t.Errorf("%d bytes in the file, %v; the latest of %d is %q", len(content), err, again.Len(), again.At(0))
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("x", 2*historyBytes)+"\nget a\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := linesOf(open(t, path)); !slices.Equal(got, []string{"get a"}) {
		t.Errorf("of a file that is too long: %d lines", len(got))
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 6 || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestHistoryWithoutFile: whatever is wrong with the file, the shell has a history.
func TestHistoryWithoutFile(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "file", "history")} {
		if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		h, err := OpenHistory(path)
		if err == nil {
			t.Errorf("%s can be used", path)
		}
		h.Add("get a")
		if h.Len() != 1 || h.Err() != nil {
			t.Errorf("%d lines, %v", h.Len(), h.Err())
		}
	}
}
