package storage_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/264bc8cf/epaxos/storage"
)

func TestCondemn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := storage.Condemn(dir, "no directory"); err == nil {
		t.Fatal("a directory that is not there was condemned")
	}
	s := createBadger(t, testOptions(dir))
	if reason, condemned, err := storage.Condemned(dir); condemned || err != nil || reason != "" {
		t.Fatalf("condemned: %q, %v, %v", reason, condemned, err)
	}
	reason := "group 7 was heard of by replica 2, but the log ends at group 5 \"\n\xff"
	err := errors.Join(storage.Condemn(dir, reason), storage.Condemn(dir, "another"), s.Save(storage.Batch{}))
	if err != nil {
		t.Fatal(err)
	}
	if got, condemned, err := storage.Condemned(dir); !condemned || err != nil || got != reason {
		t.Fatalf("condemned: %q, %v, %v; want the first reason", got, condemned, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantError(t, openError(t, testOptions(dir)), storage.ErrCondemned, "group 7", "add a new one", dir)
	wantError(t, storage.Create(testOptions(dir)), os.ErrExist)
	if id, err := storage.ReadIdentity(dir); err != nil || id != testIdentity {
		t.Fatalf("whose it was cannot be told: %v, %v", id, err)
	}
	// A verdict that was damaged too is still one.
	path := filepath.Join(dir, "condemned")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, spoilt := range []string{"", "x", string(content[:len(content)/2]), strings.Replace(string(content), "7", "8", 1)} {
		if err := os.WriteFile(path, []byte(spoilt), 0o600); err != nil {
			t.Fatal(err)
		}
		wantError(t, openError(t, testOptions(dir)), storage.ErrCondemned, "cannot be read")
	}
	// And so it is without the identity, or anything else that could be damaged.
	if err := os.Remove(filepath.Join(dir, "identity")); err != nil {
		t.Fatal(err)
	}
	wantError(t, openError(t, testOptions(dir)), storage.ErrCondemned)
}

func TestLongReason(t *testing.T) {
	dir := t.TempDir()
	if err := storage.Condemn(dir, strings.Repeat("\x00", 1<<20)); err != nil {
		t.Fatal(err)
	}
	if reason, condemned, err := storage.Condemned(dir); !condemned || err != nil || len(reason) != 2<<10 {
		t.Fatalf("%d bytes of reason, %v, %v", len(reason), condemned, err)
	}
}

// A crash while the verdict is written leaves none, and the directory as it was.
func TestHalfAVerdict(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := storage.Create(testOptions(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "condemned.tmp"), []byte("epaxos"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := openBadger(t, testOptions(dir)).Close(); err != nil {
		t.Fatal(err)
	}
	if err := storage.Condemn(dir, "now"); err != nil {
		t.Fatal(err)
	}
	wantError(t, openError(t, testOptions(dir)), storage.ErrCondemned, "now")
}
