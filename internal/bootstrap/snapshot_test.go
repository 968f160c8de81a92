package bootstrap

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/264bc8cf/epaxos/internal/hostile"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// someSnapshot is the file of a small snapshot.
func someSnapshot(tb testing.TB) []byte {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "some")
	w, err := CreateSnapshot(path)
	if err != nil {
		tb.Fatal(err)
	}
	head := &wire.SnapshotHead{Cluster: [16]byte{7}, Replica: 1, Members: wire.Members{
		Epoch: 3, Format: 2, NextReplica: 2, Voters: []wire.Member{{Replica: 1, Incarnation: 5, Addr: "a:1"}},
	}}
	for _, part := range []wire.SnapshotPart{
		{ID: 1, Head: head, Entries: []wire.SnapshotEntry{{Key: []byte("\x00a"), Value: []byte("1")}}},
		{ID: 1, Entries: []wire.SnapshotEntry{{Key: []byte("\x00b")}, {Key: []byte("\x01members")}}},
		{ID: 1, Last: true},
	} {
		if err := w.Add(wire.AppendSnapshotPart(nil, &part)); err != nil {
			tb.Fatal(err)
		}
	}
	if info, err := w.Finish(); err != nil || info.Keys != 3 || info.Parts != 3 {
		tb.Fatal(info, err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	if left, err := filepath.Glob(path + "*"); err != nil || len(left) != 1 {
		tb.Fatal(left, err)
	}
	return content
}

// TestSnapshotDamage: no bit of a snapshot can change, and none of its end be missing, unnoticed.
func TestSnapshotDamage(t *testing.T) {
	content := someSnapshot(t)
	if info, err := readSnapshot(bytes.NewReader(content), nil); err != nil || info.Keys != 3 || info.Bytes != 13 {
		t.Fatalf("%+v, %v", info, err)
	}
	for bit := range 8 * len(content) {
		damaged := bytes.Clone(content)
		damaged[bit/8] ^= 1 << (bit % 8)
		if _, err := readSnapshot(bytes.NewReader(damaged), nil); !errors.Is(err, ErrSnapshot) {
			t.Errorf("violation of integrity: bit %d is flipped: %v", bit, err)
		}
	}
	for n := range content {
		if _, err := readSnapshot(bytes.NewReader(content[:n]), nil); !errors.Is(err, ErrSnapshot) {
			t.Errorf("violation of integrity: %d of %d bytes: %v", n, len(content), err)
		}
	}
}

// TestSnapshotParts: what does not follow is not written.
func TestSnapshotParts(t *testing.T) {
	head := &wire.SnapshotHead{Cluster: [16]byte{7}, Replica: 1, Members: wire.Members{
		Epoch: 3, Format: 2, NextReplica: 2, Voters: []wire.Member{{Replica: 1, Incarnation: 5, Addr: "a:1"}},
	}}
	a, b := []wire.SnapshotEntry{{Key: []byte("a")}}, []wire.SnapshotEntry{{Key: []byte("b")}}
	for name, parts := range map[string][]wire.SnapshotPart{
		"no head":         {{ID: 1, Entries: a}},
		"a second head":   {{ID: 1, Head: head, Entries: a}, {ID: 1, Head: head, Entries: b}},
		"a key twice":     {{ID: 1, Head: head, Entries: a}, {ID: 1, Entries: a}},
		"keys descending": {{ID: 1, Head: head, Entries: b}, {ID: 1, Entries: a}},
		"an empty key":    {{ID: 1, Head: head, Entries: []wire.SnapshotEntry{{}}}},
		"beyond the last": {{ID: 1, Head: head, Last: true}, {ID: 1, Entries: a}},
		"no last":         {{ID: 1, Head: head, Entries: a}},
	} {
		path := filepath.Join(t.TempDir(), "some")
		w, err := CreateSnapshot(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range parts {
			if err == nil {
				err = w.Add(wire.AppendSnapshotPart(nil, &parts[i]))
			}
		}
		if err == nil {
			_, err = w.Finish()
		}
		if !errors.Is(err, ErrSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: there is a file", name)
		}
		if err := w.Abort(); err != nil {
			t.Error(err)
		}
	}
}

// FuzzReadSnapshot: whatever the file, it is a snapshot or refused, in memory in proportion.
func FuzzReadSnapshot(f *testing.F) {
	content := someSnapshot(f)
	f.Add(content)
	f.Add(content[:len(content)/2])
	f.Add([]byte(snapshotMagic + "\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, content []byte) {
		hostile.Cheap(t, hostile.Factor, len(content)+2<<20, func() {
			_, err := readSnapshot(bytes.NewReader(content), nil)
			if err != nil && !errors.Is(err, ErrSnapshot) {
				t.Errorf("the error %v does not wrap ErrSnapshot", err)
			}
		})
	})
}
