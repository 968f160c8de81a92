package wire

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/epaxos"
)

func drawSet(t *rapid.T) InstanceSet {
	s := InstanceSet{Epoch: epaxos.Epoch(drawNumber(t, 0, math.MaxUint32))}
	replica := epaxos.ReplicaID(0)
	for range rapid.IntRange(0, 3).Draw(t, "columns") {
		replica += epaxos.ReplicaID(rapid.IntRange(1, 9).Draw(t, "replica"))
		c := InstanceColumn{Replica: replica, Prefix: epaxos.Slot(rapid.Uint64Range(0, 1<<40).Draw(t, "prefix"))}
		end := c.Prefix
		for range rapid.IntRange(0, 4).Draw(t, "runs") {
			first := end + epaxos.Slot(rapid.Uint64Range(2, 1<<20).Draw(t, "gap"))
			end = first + epaxos.Slot(rapid.Uint64Range(0, 1<<20).Draw(t, "length"))
			c.Above = append(c.Above, InstanceRun{first, end})
		}
		s.Columns = append(s.Columns, c)
	}
	return s
}

var watchRequestCodec = codec[WatchRequest]{
	name: "watch_request",
	samples: []sample[WatchRequest]{
		{"all keys from now on", WatchRequest{From: []byte{}, End: []byte{}}},
		{"goes on", WatchRequest{From: []byte("a"), End: []byte("b"), Token: []byte{1, 2}, BytesMax: 4096, Wait: 10000}},
		{"with the state", WatchRequest{From: []byte("a"), End: []byte("a\x00"), State: true}},
	},
	generate: func(t *rapid.T) WatchRequest {
		return WatchRequest{
			From: drawBytes(t), End: drawBytes(t), Token: drawBytes(t), State: rapid.Bool().Draw(t, "state"),
			BytesMax: drawNumber(t, 0, math.MaxUint64), Wait: drawNumber(t, 0, math.MaxUint64),
		}
	},
	encode: func(dst []byte, r WatchRequest) []byte { return AppendWatchRequest(dst, &r) }, decode: DecodeWatchRequest,
}

var watchResultCodec = codec[WatchResult]{
	name: "watch_result",
	samples: []sample[WatchResult]{
		{"nothing", WatchResult{Token: []byte{}}},
		{"resync", WatchResult{Token: []byte{1}, Resync: true, More: true}},
		{"each kind", WatchResult{
			Events: []WatchEvent{
				{Kind: WatchPut, Instance: epaxos.InstanceID{Epoch: 1, Replica: 2, Slot: 3}, Key: []byte("k"), Value: []byte("v"), Version: 7},
				{Kind: WatchDelete, Instance: epaxos.InstanceID{Epoch: 1, Replica: 2, Slot: 3}, Index: 1, Key: []byte("k"), Version: 8},
				{Kind: WatchAdd, Instance: epaxos.InstanceID{Epoch: 1, Replica: 1, Slot: 300}, Key: []byte("n"), Delta: -5},
				{Kind: WatchState, Key: []byte("s"), Value: []byte{}, Version: 1},
			},
			Token: []byte{9}, Current: true,
		}},
	},
	generate: func(t *rapid.T) WatchResult {
		r := WatchResult{
			Token: drawBytes(t), Resync: rapid.Bool().Draw(t, "resync"), Current: rapid.Bool().Draw(t, "current"),
			More: rapid.Bool().Draw(t, "more"),
		}
		for range rapid.IntRange(0, 3).Draw(t, "events") {
			r.Events = append(r.Events, WatchEvent{
				Kind: WatchKind(drawNumber(t, 1, uint64(watchLast))), Instance: drawInstance(t),
				Index: uint32(drawNumber(t, 0, math.MaxUint32)), Key: drawBytes(t), Value: drawBytes(t),
				Version: drawNumber(t, 0, math.MaxUint64), Delta: rapid.Int64().Draw(t, "delta"),
			})
		}
		return r
	},
	encode: func(dst []byte, r WatchResult) []byte { return AppendWatchResult(dst, &r) }, decode: DecodeWatchResult,
}

var watchTokenCodec = codec[WatchToken]{
	name: "watch_token", fixed: true,
	samples: []sample[WatchToken]{
		{"nothing", WatchToken{}},
		{"some", WatchToken{
			Span: 0xfedcba9876543210,
			Told: InstanceSet{Epoch: 3, Columns: []InstanceColumn{
				{Replica: 1, Prefix: 300, Above: []InstanceRun{{302, 302}, {400, 70000}}}, {Replica: 5, Above: []InstanceRun{{2, 9}}},
				{Replica: 6, Prefix: 12},
			}},
			Part: &WatchPart{Replica: 5, Slot: 11, Index: 17},
		}},
		{"in the state", WatchToken{Told: InstanceSet{Epoch: 1, Columns: []InstanceColumn{{Replica: 1, Prefix: 2}}}, Cursor: []byte("k")}},
		{"before the first key", WatchToken{Cursor: []byte{}}},
	},
	generate: func(t *rapid.T) WatchToken {
		token := WatchToken{Span: drawNumber(t, 0, math.MaxUint64), Told: drawSet(t), Cursor: drawBytes(t)}
		if rapid.Bool().Draw(t, "part") {
			token.Part = &WatchPart{
				Replica: epaxos.ReplicaID(drawNumber(t, 1, math.MaxUint32)), Slot: epaxos.Slot(drawNumber(t, 1, slotMax)),
				Index: uint32(drawNumber(t, 0, math.MaxUint32)),
			}
		}
		return token
	},
	encode: func(dst []byte, token WatchToken) []byte { return AppendWatchToken(dst, &token) }, decode: DecodeWatchToken,
}

func TestWatchRequest(t *testing.T)       { watchRequestCodec.test(t) }
func FuzzDecodeWatchRequest(f *testing.F) { watchRequestCodec.fuzz(f) }
func TestWatchResult(t *testing.T)        { watchResultCodec.test(t) }
func FuzzDecodeWatchResult(f *testing.F)  { watchResultCodec.fuzz(f) }
func TestWatchToken(t *testing.T)         { watchTokenCodec.test(t) }
func FuzzDecodeWatchToken(f *testing.F)   { watchTokenCodec.fuzz(f) }

func TestSpanSum(t *testing.T) {
	seen := map[uint64]string{}
	for _, span := range [][2]string{{"", ""}, {"a", ""}, {"", "a"}, {"a", "b"}, {"ab", ""}, {"a", "\x00b"}, {"a\x00", "b"}} {
		sum := SpanSum([]byte(span[0]), []byte(span[1]))
		if other, twice := seen[sum]; twice {
			t.Errorf("%q has the sum of %s", span, other)
		}
		seen[sum] = span[0] + ".." + span[1]
	}
	if SpanSum(nil, nil) != SpanSum([]byte{}, []byte{}) {
		t.Error("nil is another span than an empty key")
	}
}
