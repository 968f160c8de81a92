package wire

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var opCodec = codec[Op]{
	name: "op",
	samples: []sample[Op]{
		{"get", Op{Kind: OpGet, Key: []byte("x")}},
		{"put", Op{Kind: OpPut, Key: []byte("x"), Value: []byte("value")}},
		{"put nothing", Op{Kind: OpPut, Key: []byte{}, Value: []byte{}}},
		{"delete", Op{Kind: OpDelete, Key: []byte("x")}},
		{"compare and set", Op{
			Kind: OpCompareAndSet, Key: []byte("x"), Value: []byte("new"),
			Compares: []Compare{{Key: []byte("x"), Target: CompareValue, Relation: Equal, Value: []byte("old")}},
		}},
		{"create", Op{
			Kind: OpCompareAndSet, Key: []byte("x"), Value: []byte("new"),
			Compares: []Compare{{Key: []byte("x"), Target: CompareVersion, Relation: Equal}},
		}},
		{"increment", Op{Kind: OpIncrement, Key: []byte("x"), Delta: 1}},
		{"decrement", Op{Kind: OpIncrement, Key: []byte("x"), Delta: math.MinInt64}},
		{"transaction", Op{
			Kind: OpTxn,
			Compares: []Compare{
				{Key: []byte("a"), Target: CompareVersion, Relation: Greater, Version: 300},
				{Key: []byte("b"), Target: CompareValue, Relation: Less, Value: []byte("m")},
			},
			Then: []Op{{Kind: OpPut, Key: []byte("x"), Value: []byte("v")}, {Kind: OpGet, Key: []byte("y")}},
			Else: []Op{{Kind: OpIncrement, Key: []byte("z"), Delta: -300}},
		}},
		{"empty transaction", Op{Kind: OpTxn}},
	},
	generate: func(t *rapid.T) Op { return drawOp(t, true) },
	encode:   func(dst []byte, op Op) []byte { return AppendOp(dst, &op) },
	decode:   DecodeOp,
	fixed:    true,
}

func drawOp(t *rapid.T, txn bool) Op {
	kinds := []OpKind{OpGet, OpPut, OpDelete, OpCompareAndSet, OpIncrement}
	if txn {
		kinds = append(kinds, OpTxn)
	}
	op := Op{Kind: rapid.SampledFrom(kinds).Draw(t, "kind")}
	if op.Kind == OpTxn {
		op.Compares = drawList(t, 4, func(t *rapid.T) Compare { return drawCompare(t, drawBytes(t)) })
		inside := func(t *rapid.T) Op { return drawOp(t, false) }
		op.Then, op.Else = drawList(t, 4, inside), drawList(t, 4, inside)
		return op
	}
	op.Key = drawBytes(t)
	switch op.Kind {
	case OpPut:
		op.Value = drawBytes(t)
	case OpCompareAndSet:
		op.Value, op.Compares = drawBytes(t), []Compare{drawCompare(t, op.Key)}
	case OpIncrement:
		op.Delta = rapid.Int64().Draw(t, "delta")
	}
	return op
}

func drawCompare(t *rapid.T, key []byte) Compare {
	c := Compare{Key: key, Relation: CompareRelation(drawNumber(t, uint64(Equal), uint64(Greater)))}
	if rapid.Bool().Draw(t, "version") {
		c.Target, c.Version = CompareVersion, drawNumber(t, 0, math.MaxUint64)
	} else {
		c.Target, c.Value = CompareValue, drawBytes(t)
	}
	return c
}

func TestOp(t *testing.T)       { opCodec.test(t) }
func FuzzDecodeOp(f *testing.F) { opCodec.fuzz(f) }

// TestOpRefused lists operations that can be written down but not decoded.
func TestOpRefused(t *testing.T) {
	get := Op{Kind: OpGet, Key: []byte("x")}
	compare := Compare{Key: []byte("x"), Target: CompareVersion, Relation: Equal}
	for _, c := range []struct {
		name string
		op   Op
		why  string
	}{
		{"no kind", Op{Key: []byte("x")}, "kind"},
		{"unknown kind", Op{Kind: OpTxn + 1, Key: []byte("x")}, "kind"},
		{"long key", Op{Kind: OpGet, Key: make([]byte, KeyMax+1)}, "key"},
		{"long value", Op{Kind: OpPut, Value: make([]byte, ValueMax+1)}, "value"},
		{"compare and set without a comparison", Op{Kind: OpCompareAndSet}, "3 fields instead of the 6"},
		{"compare and set with two", Op{Kind: OpCompareAndSet, Compares: []Compare{compare, compare}}, "9 fields"},
		{"comparison of nothing", Op{Kind: OpTxn, Compares: []Compare{{Relation: Equal}}}, "compare target"},
		{"comparison without relation", Op{Kind: OpTxn, Compares: []Compare{{Target: CompareValue}}}, "relation"},
		{"comparison of a long key", Op{Kind: OpTxn, Compares: []Compare{{Key: make([]byte, KeyMax+1)}}}, "compare key"},
		{"nested", Op{Kind: OpTxn, Then: []Op{{Kind: OpTxn}}}, "inside a transaction"},
		{"nested in else", Op{Kind: OpTxn, Else: []Op{get, {Kind: OpTxn}}}, "inside a transaction"},
		{"many operations", Op{Kind: OpTxn, Then: repeat(get, OpsMax+1)}, "then"},
		{"many others", Op{Kind: OpTxn, Else: repeat(get, OpsMax+1)}, "else"},
		{"many comparisons", Op{Kind: OpTxn, Compares: repeat(compare, OpsMax+1)}, "compares"},
	} {
		got, err := DecodeOp(AppendOp(nil, &c.op))
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: got %+v, %v, want an error about %q", c.name, got, err, c.why)
		}
	}
}

// TestOpLimits decodes what is just within the limits.
func TestOpLimits(t *testing.T) {
	key, value := bytes.Repeat([]byte("k"), KeyMax), bytes.Repeat([]byte("v"), ValueMax)
	put := Op{Kind: OpPut, Key: key, Value: value}
	if got, err := DecodeOp(AppendOp(nil, &put)); err != nil || len(got.Key) != KeyMax || len(got.Value) != ValueMax {
		t.Errorf("the largest put: %d bytes of key, %d of value, %v", len(got.Key), len(got.Value), err)
	}
	txn := Op{Kind: OpTxn, Then: repeat(Op{Kind: OpGet, Key: key}, OpsMax), Else: repeat(Op{Kind: OpGet, Key: key}, OpsMax)}
	if got, err := DecodeOp(AppendOp(nil, &txn)); err != nil || len(got.Then) != OpsMax || len(got.Else) != OpsMax {
		t.Errorf("the largest transaction: %d and %d operations, %v", len(got.Then), len(got.Else), err)
	}
}

func repeat[T any](one T, n int) []T {
	all := make([]T, n)
	for i := range all {
		all[i] = one
	}
	return all
}
