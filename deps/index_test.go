package deps

import (
	"fmt"
	"slices"
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
)

func point(mode epaxos.Mode, key string) epaxos.Footprint {
	return epaxos.Footprint{{Mode: mode, Key: key}}
}

func span2(mode epaxos.Mode, from, to string) epaxos.Footprint {
	return epaxos.Footprint{{Mode: mode, Range: true, Key: from, End: to}}
}

var everything = epaxos.Footprint{{Mode: epaxos.Everything}}

// TestRaise is the table of who meets whom. Column 0 holds what is inserted, at slot 7.
func TestRaise(t *testing.T) {
	tests := []struct {
		name     string
		inserted epaxos.Footprint
		asked    epaxos.Footprint
		meets    bool
	}{
		{"write write", point(epaxos.Write, "k"), point(epaxos.Write, "k"), true},
		{"write read", point(epaxos.Write, "k"), point(epaxos.Read, "k"), true},
		{"read read", point(epaxos.Read, "k"), point(epaxos.Read, "k"), false},
		{"add add", point(epaxos.Add, "k"), point(epaxos.Add, "k"), false},
		{"add read", point(epaxos.Add, "k"), point(epaxos.Read, "k"), true},
		{"another key", point(epaxos.Write, "k"), point(epaxos.Write, "l"), false},
		{"another space", point(epaxos.Write, "k"),
			epaxos.Footprint{{Mode: epaxos.Write, Space: epaxos.SpaceSession, Key: "k"}}, false},
		{"range over point", point(epaxos.Write, "k"), span2(epaxos.Read, "a", "l"), true},
		{"range ends before point", point(epaxos.Write, "k"), span2(epaxos.Read, "a", "k"), false},
		{"range begins at point", point(epaxos.Write, "k"), span2(epaxos.Read, "k", "l"), true},
		{"range without bound", point(epaxos.Write, "k"), span2(epaxos.Read, "a", ""), true},
		{"point in range", span2(epaxos.Read, "a", "l"), point(epaxos.Write, "k"), true},
		{"ranges that touch", span2(epaxos.Write, "a", "b"), span2(epaxos.Write, "b", "c"), false},
		{"ranges that overlap", span2(epaxos.Write, "a", "c"), span2(epaxos.Write, "b", "d"), true},
		{"ranges that read", span2(epaxos.Read, "a", "c"), span2(epaxos.Read, "b", "d"), false},
		{"empty range", span2(epaxos.Write, "c", "a"), span2(epaxos.Write, "", ""), false},
		{"everything over read", point(epaxos.Read, "k"), everything, true},
		{"read under everything", everything, point(epaxos.Read, "k"), true},
		{"everything twice", everything, everything, true},
		{"no footprint", epaxos.Footprint{}, everything, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			index := New(2)
			index.Insert(0, 7, test.inserted)
			got, want := epaxos.Dependencies{0, 3}, epaxos.Dependencies{0, 3}
			if test.meets {
				want[0] = 7
			}
			if index.Raise(test.asked, got); !got.Equal(want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// TestEveryKeyCounts is the bug of stopping at the first key that meets: the second has the higher slot.
func TestEveryKeyCounts(t *testing.T) {
	index := New(1)
	index.Insert(0, 5, point(epaxos.Write, "x"))
	index.Insert(0, 9, point(epaxos.Write, "y"))
	got := epaxos.Dependencies{0}
	index.Raise(append(point(epaxos.Write, "x"), point(epaxos.Write, "y")...), got)
	if got[0] != 9 {
		t.Errorf("got %v, want 9", got)
	}
}

// TestAboveNamesEachOnce although the instance meets the question on two keys.
func TestAboveNamesEachOnce(t *testing.T) {
	index := New(2)
	both := append(point(epaxos.Write, "x"), point(epaxos.Write, "y")...)
	for _, slot := range []epaxos.Slot{3, 1, 2, 3} {
		index.Insert(1, slot, both)
	}
	index.Insert(0, 4, point(epaxos.Read, "x"))
	got := index.Above(both, epaxos.Dependencies{3, 1})
	want := []epaxos.Position{{Column: 0, Slot: 4}, {Column: 1, Slot: 2}, {Column: 1, Slot: 3}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestForgetGoesRound in steps no larger than asked for, and frees memory for new keys.
func TestForgetGoesRound(t *testing.T) {
	index := New(1)
	for i := range 1000 {
		index.Insert(0, epaxos.Slot(1+i), point(epaxos.Write, string(rune('a'+i))))
	}
	index.Forget(epaxos.Dependencies{900}, 500)
	if n := index.Len(); n != 500 {
		t.Errorf("after one step of 500: %d keys, want 500", n)
	}
	forgetAll(index, epaxos.Dependencies{900})
	if n := index.Len(); n != 100 {
		t.Errorf("after a round: %d keys, want 100", n)
	}
	blocks := len(index.spaces[0].entries)
	for i := range 900 {
		index.Insert(0, epaxos.Slot(1001+i), point(epaxos.Write, string(rune('a'+i))))
	}
	if n := len(index.spaces[0].entries); n != blocks {
		t.Errorf("%d blocks after reuse, want %d", n, blocks)
	}
	index.Insert(0, 800, point(epaxos.Write, "late"))
	got := epaxos.Dependencies{900}
	if index.Raise(point(epaxos.Write, "late"), got); got[0] != 900 {
		t.Errorf("an instance below the floor came back: %v", got)
	}
}

func TestRuns(t *testing.T) {
	var r runs
	for _, slot := range []epaxos.Slot{5, 1, 3, 9, 2, 4, 3, 8, 5} {
		r.add(slot)
	}
	if want := (runs{{1, 5}, {8, 9}}); !slices.Equal(r, want) {
		t.Errorf("got %v, want %v", r, want)
	}
	if r.forget(8); !slices.Equal(r, runs{{9, 9}}) {
		t.Errorf("after forgetting up to 8: %v", r)
	}
}

// TestHotPathAllocatesNothing once a key is known, in the order of the protocol.
func TestHotPathAllocatesNothing(t *testing.T) {
	index := New(5)
	into := make(epaxos.Dependencies, 5)
	footprint := point(epaxos.Write, "hot")
	slot := epaxos.Slot(0)
	step := func() {
		slot++
		index.Raise(footprint, into)
		index.Insert(2, slot, footprint)
	}
	for range 5000 { // the list of older slots grows by doubling, the fewer times the longer it is
		step()
	}
	if n := testing.AllocsPerRun(1000, step); n >= 1 {
		t.Errorf("%v allocations for each command on a known key", n)
	}
}

// What was dropped long ago does not slow a round down for good.
func TestForgetPassesOverFreeEntries(t *testing.T) {
	const many = 100_000
	index := New(1)
	for slot := epaxos.Slot(1); slot <= many; slot++ {
		index.Insert(0, slot, point(epaxos.Write, fmt.Sprint(slot)))
	}
	for floor := (epaxos.Dependencies{many}); index.Len() > 0; {
		index.Forget(floor, many)
	}
	calls := 1
	for !index.Forget(epaxos.Dependencies{many}, 512) {
		calls++
	}
	if calls > 64 {
		t.Fatalf("a round over nothing took %d calls", calls)
	}
}
