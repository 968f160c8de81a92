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
	},
	generate: func(t *rapid.T) Result {
		r := drawResult(t)
		r.Results = drawList(t, 4, drawResult)
		return r
	},
	encode: func(dst []byte, r Result) []byte { return AppendResult(dst, &r) },
	decode: DecodeResult,
}

func drawResult(t *rapid.T) Result {
	return Result{
		Status: OpStatus(drawNumber(t, uint64(OpOK), uint64(OpTooLarge))), Found: rapid.Bool().Draw(t, "found"),
		Value: drawBytes(t), Version: drawNumber(t, 0, math.MaxUint64), Succeeded: rapid.Bool().Draw(t, "succeeded"),
	}
}

func TestResult(t *testing.T)       { resultCodec.test(t) }
func FuzzDecodeResult(f *testing.F) { resultCodec.fuzz(f) }

func TestResultRefused(t *testing.T) {
	ok := Result{Status: OpOK}
	nested := Result{Status: OpOK, Results: []Result{{Status: OpOK, Results: []Result{ok}}}}
	many := Result{Status: OpOK, Results: repeat(ok, OpsMax+1)}
	for _, r := range []Result{{}, {Status: OpTooLarge + 1}, nested, many} {
		if got, err := DecodeResult(AppendResult(nil, &r)); !errors.Is(err, ErrMalformed) {
			t.Errorf("got %+v, %v", got, err)
		}
	}
}
