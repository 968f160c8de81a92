package watch

import (
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// FuzzToken asks with whatever a client may have made of a token: the answer decodes, and so does its token; nothing
// panics, and a poll that waits can be taken back.
func FuzzToken(f *testing.F) {
	set := wire.InstanceSet{Epoch: 2}
	set.AddUpTo(1, 1, 3)
	set.Add(2, 7)
	for _, token := range []wire.WatchToken{
		{}, {Told: set}, {Told: set, Part: &wire.WatchPart{Replica: 1, Slot: 4, Index: 1}}, {Told: set, Cursor: []byte("k")},
		{Told: wire.InstanceSet{Epoch: 1}, Part: &wire.WatchPart{Replica: 9, Slot: 1 << 60, Index: 1<<32 - 1}, Cursor: []byte{}},
		{Told: wire.InstanceSet{Epoch: 9}, Cursor: []byte{0xff}},
	} {
		f.Add(wire.AppendWatchToken(nil, &token), uint8(0))
	}
	f.Fuzz(func(t *testing.T, body []byte, gaps uint8) {
		token, err := wire.DecodeWatchToken(body)
		if err != nil {
			return
		}
		w := New(1<<20, 2)
		w.Restart(wire.InstanceSet{Epoch: 1})
		for slot := epaxos.Slot(1); slot < 300; slot++ {
			w.Executed(1+epaxos.ReplicaID(slot%3), slot*(1+epaxos.Slot(gaps)), putOf("k", 3)) //nolint:gosec // small
		}
		w.Begin(2)
		for slot := epaxos.Slot(1); slot < 9; slot++ {
			w.Executed(1, slot, append(putOf("k", 3), putOf("l", 3)...))
		}
		token.Span = wire.SpanSum([]byte("a"), []byte("z"))
		if err := w.Open(Poll{ID: 1, From: "a", End: "z", Token: &token, BytesMax: 100}); err != nil {
			t.Fatal(err)
		}
		answers := serve(t, w)
		result := w.End(1)
		if len(answers) == 1 {
			result = answers[0].Result
		}
		if result == nil {
			return // it waits for something else
		}
		decoded, err := wire.DecodeWatchResult(result)
		if err == nil {
			_, err = wire.DecodeWatchToken(decoded.Token)
		}
		if err != nil {
			t.Fatalf("violation of integrity: %v", err)
		}
	})
}
