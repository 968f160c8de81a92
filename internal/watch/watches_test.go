package watch

import (
	"errors"
	"fmt"
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
)

func fresh(openMax int) *Watches {
	w := New(1<<20, openMax)
	w.Restart(wire.InstanceSet{Epoch: 1})
	return w
}

func pollOf(id epaxos.ProposalID, from, end string) Poll {
	span := wire.SpanSum([]byte(from), []byte(end))
	return Poll{ID: id, From: from, End: end, Token: &wire.WatchToken{Span: span, Told: wire.InstanceSet{Epoch: 1}}}
}

func putOf(key string, bytes int) []execution.Change {
	return []execution.Change{{Key: key, Kind: execution.ChangePut, Value: make([]byte, bytes)}}
}

func serve(t *testing.T, w *Watches) []Answer {
	t.Helper()
	answers, err := w.Serve(benchSite{})
	if err != nil {
		t.Fatal(err)
	}
	return answers
}

// A change wakes those who watch its key, and nobody else is looked at.
func TestOnlyWhoWatchesIsWoken(t *testing.T) {
	w := fresh(1000)
	spans := [][2]string{{"b", "b\x00"}, {"a", "c"}, {"", ""}, {"b", ""}, {"c", "c\x00"}, {"a", "b"}, {"b\x00", ""}}
	for i, span := range spans {
		if err := w.Open(pollOf(epaxos.ProposalID(i+1), span[0], span[1])); err != nil { //nolint:gosec // few
			t.Fatal(err)
		}
	}
	if answers := serve(t, w); len(answers) > 0 || w.Due() {
		t.Fatalf("%d answers before anything has changed", len(answers))
	}
	w.Executed(1, 1, putOf("b", 1))
	if len(w.ripe) != 4 {
		t.Errorf("%d polls are woken, want 4", len(w.ripe))
	}
	woken := map[epaxos.ProposalID]bool{}
	for _, a := range serve(t, w) {
		woken[a.ID] = true
	}
	for id := range epaxos.ProposalID(len(spans)) { //nolint:gosec // few
		if woken[id+1] != (id < 4) {
			t.Errorf("the poll of %q is answered: %v", spans[id], woken[id+1])
		}
	}
	if w.Waiting() != 3 {
		t.Errorf("%d polls wait, want 3", w.Waiting())
	}
}

// A hot key that many watch is told in parts, to each once.
func TestManyAreToldInParts(t *testing.T) {
	for _, c := range []struct{ polls, bytes, first int }{{3000, 1, serveMax}, {100, 200 << 10, 41}} {
		w := fresh(1 << 20)
		for i := range c.polls {
			if err := w.Open(pollOf(epaxos.ProposalID(i+1), "k", "k\x00")); err != nil { //nolint:gosec // few
				t.Fatal(err)
			}
		}
		serve(t, w)
		w.Executed(1, 1, putOf("k", c.bytes))
		told := map[epaxos.ProposalID]bool{}
		for calls := 0; w.Due(); calls++ {
			answers := serve(t, w)
			if calls == 0 && len(answers) != c.first {
				t.Errorf("%d answers at first, want %d", len(answers), c.first)
			}
			for _, a := range answers {
				if told[a.ID] {
					t.Fatalf("%d is answered twice", a.ID)
				}
				told[a.ID] = true
			}
		}
		if len(told) != c.polls || w.Waiting() != 0 {
			t.Errorf("%d of %d polls are answered, %d wait", len(told), c.polls, w.Waiting())
		}
	}
}

func TestPollsAreBounded(t *testing.T) {
	w := fresh(2)
	for i := range 3 {
		err := w.Open(pollOf(epaxos.ProposalID(i+1), fmt.Sprint(i), "")) //nolint:gosec // few
		if want := i == 2; errors.Is(err, ErrCrowded) != want {
			t.Errorf("poll %d: %v", i, err)
		}
	}
	other := pollOf(4, "x", "y")
	other.End = "z"
	w.End(1)
	if err := w.Open(other); !errors.Is(err, ErrSpan) {
		t.Errorf("a token of other keys: %v", err)
	}
	if ids := w.Void(); len(ids) != 1 || ids[0] != 2 || w.Waiting() != 0 {
		t.Errorf("%v are taken back, want 2 alone", ids)
	}
}

// However much is changed, at once or bit by bit, the journal stays within its bound, but for what came last.
func TestTheJournalIsBounded(t *testing.T) {
	const limit = 10_000
	w := New(limit, 1)
	for slot := range epaxos.Slot(2000) {
		size := 10
		if slot%100 == 0 {
			size = 3 * limit
		}
		w.Executed(1, 3*slot+1, putOf("key", size)) // with gaps, which cost too
		if w.Bytes() > limit && len(w.journal.segments) > 1 {
			t.Fatalf("%d bytes in %d segments after %d", w.Bytes(), len(w.journal.segments), slot)
		}
	}
}
