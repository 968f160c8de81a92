package wire

import (
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"
)

var resultCodec = codec[Result]{
	name: "result",
	samples: []sample[Result]{
		{"found", Result{Status: OpOK, Found: true, Value: []byte("value"), Version: 3}},
		{"found empty", Result{Status: OpOK, Found: true, Value: []byte{}, Version: 300}},
		{"absent", Result{Status: OpOK}},
		{"compare failed", Result{Status: OpCompareFailed, Found: true, Value: []byte("other"), Version: math.MaxUint64}},
		{"transaction", Result{Status: OpOK, Succeeded: true, Results: []Result{
			{Status: OpOK, Found: true, Value: []byte("v"), Version: 1}, {Status: OpWrongType},
		}}},
		{"limited", Result{Status: OpLimited}},
		{"range", Result{Status: OpOK, Pairs: []Pair{
			{Key: []byte("a"), Value: []byte("v"), Version: 1}, {Key: []byte("b"), Version: 300},
		}, Count: 2, Next: []byte("c")}},
		{"count", Result{Status: OpOK, Count: 300}},
		{"nothing yet", Result{Status: OpOK, Next: []byte("a")}},
		{"leased", Result{Status: OpOK, Found: true, Value: []byte("v"), Version: 3, Lease: id(2, 300)}},
		{"no lease", Result{Status: OpLeaseGone, Found: true, Version: 3}},
		{"transaction on a range", Result{Status: OpOK, Succeeded: true, Results: []Result{{Status: OpOK, Count: 1}}}},
	},
	generate: func(t *rapid.T) Result {
		r := drawResult(t)
		r.Results = drawList(t, 4, drawResult)
		return r
	},
	encode: func(dst []byte, r Result) []byte { return AppendResult(dst, &r) },
	decode: DecodeResult,
	optional: func(r Result) bool {
		return r.Lease.IsZero() && (len(r.Pairs) > 0 || r.Count > 0 || r.Next != nil)
	},
}

func drawResult(t *rapid.T) Result {
	r := Result{
		Status: OpStatus(drawNumber(t, uint64(OpOK), uint64(statusLast))), Found: rapid.Bool().Draw(t, "found"),
		Value: drawBytes(t), Version: drawNumber(t, 0, math.MaxUint64), Succeeded: rapid.Bool().Draw(t, "succeeded"),
	}
	if rapid.Bool().Draw(t, "ranged") {
		r.Pairs, r.Count, r.Next = drawList(t, 4, drawPair), drawNumber(t, 0, math.MaxUint64), drawBytes(t)
	}
	r.Lease = drawSession(t)
	return r
}

func drawPair(t *rapid.T) Pair {
	return Pair{Key: drawBytes(t), Value: drawBytes(t), Version: drawNumber(t, 0, math.MaxUint64)}
}

func TestResult(t *testing.T)       { resultCodec.test(t) }
func FuzzDecodeResult(f *testing.F) { resultCodec.fuzz(f) }

func TestResultRefused(t *testing.T) {
	ok := Result{Status: OpOK}
	nested := Result{Status: OpOK, Results: []Result{{Status: OpOK, Results: []Result{ok}}}}
	many := Result{Status: OpOK, Results: repeat(ok, OpsMax+1)}
	crowded := Result{Status: OpOK, Pairs: repeat(Pair{}, ScanMax+1)}
	long := Result{Status: OpOK, Next: make([]byte, KeyMax+1)}
	for _, r := range []Result{{}, {Status: statusLast + 1}, nested, many, crowded, long} {
		if got, err := DecodeResult(AppendResult(nil, &r)); !errors.Is(err, ErrMalformed) {
			t.Errorf("got %+v, %v", got, err)
		}
	}
}
