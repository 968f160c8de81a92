package watch

import (
	"fmt"
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// benchSite is a replica without a state.
type benchSite struct{}

func (benchSite) Event(c *execution.Change) (execution.Event, bool, error) {
	return execution.Event{Kind: execution.EventPut, Value: c.Value}, true, nil
}

func (benchSite) Scan(_, _ string, _ func(string, []byte) bool) error { return nil }

// BenchmarkExecuted is what one put costs a replica: in the journal alone, and with polls that wait for other keys.
func BenchmarkExecuted(b *testing.B) {
	value := make([]byte, 64)
	for _, points := range []int{0, 10000} {
		for _, ranges := range []int{0, 100} {
			b.Run(fmt.Sprintf("points=%d,ranges=%d", points, ranges), func(b *testing.B) {
				w := New(64<<20, 1<<20)
				w.Restart(wire.InstanceSet{Epoch: 1})
				token := func(from, end string) *wire.WatchToken {
					return &wire.WatchToken{Span: wire.SpanSum([]byte(from), []byte(end)), Told: wire.InstanceSet{Epoch: 1}}
				}
				for i := range points + ranges {
					p := Poll{ID: epaxos.ProposalID(i + 1), From: fmt.Sprintf("watched%d", i)} //nolint:gosec // few
					if p.End = p.From + "\x00"; i >= points {
						p.End = p.From + "x"
					}
					p.Token = token(p.From, p.End)
					if err := w.Open(p); err != nil {
						b.Fatal(err)
					}
				}
				if _, err := w.Serve(benchSite{}); err != nil {
					b.Fatal(err)
				}
				slot := epaxos.Slot(0)
				for b.Loop() {
					slot++
					changes := []execution.Change{{Key: "key", Kind: execution.ChangePut, Value: value}}
					w.Executed(epaxos.ReplicaID(1+slot%3), slot/3+1, changes) //nolint:gosec // small
					if answers, err := w.Serve(benchSite{}); err != nil || len(answers) > 0 {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkPoll is one round of a watcher of one key: a change, its answer, and the next poll, which begins with a
// token alone.
func BenchmarkPoll(b *testing.B) {
	w := New(64<<20, 1<<20)
	w.Restart(wire.InstanceSet{Epoch: 1})
	slot := epaxos.Slot(0)
	executes := func(key string) {
		slot++
		w.Executed(1, slot, []execution.Change{{Key: key, Kind: execution.ChangePut, Value: make([]byte, 64)}})
	}
	for range 200_000 {
		executes("other")
	}
	told := wire.WatchToken{Span: wire.SpanSum([]byte("k"), []byte("k\x00")), Told: w.journal.executed.Clone()}
	id := epaxos.ProposalID(0)
	for b.Loop() {
		id++
		token := told
		token.Told = told.Told.Clone()
		if err := w.Open(Poll{ID: id, From: "k", End: "k\x00", Token: &token}); err != nil {
			b.Fatal(err)
		}
		if answers, err := w.Serve(benchSite{}); err != nil || len(answers) > 0 {
			b.Fatal(err)
		}
		executes("other")
		executes("k")
		answers, err := w.Serve(benchSite{})
		if err != nil || len(answers) != 1 {
			b.Fatal(err, len(answers))
		}
		result, err := wire.DecodeWatchResult(answers[0].Result)
		if err != nil || len(result.Events) != 1 {
			b.Fatal(err)
		}
		if told, err = wire.DecodeWatchToken(result.Token); err != nil {
			b.Fatal(err)
		}
	}
}
