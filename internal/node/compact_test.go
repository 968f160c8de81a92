package node

import (
	"fmt"
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
)

func newHistory(c Compaction) *history {
	var h history
	h.init(c)
	h.restart(epaxos.NewMembership(1, 1, 2))
	return &h
}

// save notes a group with these records.
func (h *history) save(number uint64, bytes int, slots ...epaxos.Slot) {
	for column, slot := range slots {
		if slot > 0 {
			h.touch(h.members.ID(column, slot))
		}
	}
	h.add(number, bytes, 0)
	h.close()
}

func TestHistoryCoversAPrefix(t *testing.T) {
	h := newHistory(Compaction{Groups: 4, Bytes: 100, Segment: 2})
	for i := range 10 {
		h.save(uint64(i+1), 10, epaxos.Slot(i+1), epaxos.Slot((i+1)%2)) //nolint:gosec // small
	}
	for _, test := range []struct {
		floor         epaxos.Dependencies
		groups, bytes int
	}{
		{epaxos.Dependencies{0, 0}, 0, 0},
		{epaxos.Dependencies{10, 0}, 0, 0}, // the first segment holds a record of the other column
		{epaxos.Dependencies{1, 1}, 0, 0},  // half of a segment is none
		{epaxos.Dependencies{2, 1}, 2, 20},
		{epaxos.Dependencies{7, 1}, 6, 60},
		{epaxos.Dependencies{10, 10}, 8, 80}, // the last segment is open
	} {
		groups, bytes := h.covered(test.floor)
		if groups != test.groups || bytes != test.bytes {
			t.Errorf("floor %v: %d groups of %d bytes, want %d of %d", test.floor, groups, bytes, test.groups, test.bytes)
		}
	}
	if h.enough(3, 90) || !h.enough(4, 0) || !h.enough(1, 100) || h.enough(0, 0) {
		t.Error("the thresholds are 4 groups or 100 bytes")
	}
}

func TestHistoryDrop(t *testing.T) {
	h := newHistory(Compaction{Segment: 4})
	for i := range 10 {
		h.save(uint64(i+1), 10, 1) //nolint:gosec // small
	}
	h.plan = &plan{groups: 6}
	h.add(11, 10, 6)
	kept, bytes := 0, 0
	for _, s := range h.segments {
		kept += s.groups
		bytes += s.bytes
	}
	if kept != 5 || bytes != 50 || h.bytes != 50 || h.plan != nil {
		t.Errorf("%d groups of %d bytes are kept, %d in all; plan %v", kept, bytes, h.bytes, h.plan)
	}
}

// What is in no group yet belongs to whatever group comes next.
func TestHistoryKeepsWhatIsPending(t *testing.T) {
	h := newHistory(Compaction{Segment: 1})
	h.touch(h.members.ID(0, 7))
	h.add(1, 1, 0)
	h.add(2, 1, 0) // of the same flush: it may hold the record as well
	h.close()
	h.save(3, 1)
	h.save(4, 1)
	if groups, _ := h.covered(epaxos.Dependencies{6, 0}); groups != 0 {
		t.Errorf("%d groups could go", groups)
	}
	if groups, _ := h.covered(epaxos.Dependencies{7, 0}); groups != 3 {
		t.Errorf("%d groups could go, want 3", groups)
	}
}

// A record that holds back others is worth rewriting only if enough can be deleted behind it.
func TestHistoryStrays(t *testing.T) {
	for covered, want := range map[int]bool{3: false, 4: true} {
		t.Run(fmt.Sprint(covered), func(t *testing.T) {
			h := newHistory(Compaction{Groups: 4, Segment: 1})
			h.save(1, 1, 100)
			for i := range covered + 1 {
				h.save(uint64(i+2), 1, 1) //nolint:gosec // small
			}
			if got := h.strays(epaxos.Dependencies{1, 0}); got != want {
				t.Errorf("got %v, want %v", got, want)
			}
			if h.strays(epaxos.Dependencies{0, 0}) {
				t.Error("where nothing can go, nothing is rewritten")
			}
		})
	}
}
