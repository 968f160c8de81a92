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
		{"put leased", Op{Kind: OpPut, Key: []byte("x"), Value: []byte("value"), Lease: id(2, 300)}},
		{"create leased", Op{
			Kind: OpCompareAndSet, Key: []byte("x"), Value: []byte("new"), Lease: id(1, 1),
			Compares: []Compare{{Key: []byte("x"), Target: CompareVersion, Relation: Equal}},
		}},
		{"swap leased", Op{Kind: OpSwap, Key: []byte("x"), Value: []byte("new"), Lease: id(2, 300)}},
		{"transaction on leases", Op{
			Kind: OpTxn,
			Compares: []Compare{
				{Key: []byte("a"), Target: CompareLease, Relation: Equal, Value: []byte(id(2, 300).Key())},
				{Key: []byte("b"), Target: CompareLease, Relation: NotEqual, Value: []byte{}},
			},
			Then: []Op{{Kind: OpPut, Key: []byte("x"), Value: []byte("v"), Lease: id(2, 300)}},
		}},
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
		{"append", Op{Kind: OpAppend, Key: []byte("x"), Value: []byte("more")}},
		{"add", Op{Kind: OpAdd, Key: []byte("x"), Delta: -1}},
		{"swap", Op{Kind: OpSwap, Key: []byte("x"), Value: []byte("new")}},
		{"take", Op{Kind: OpTake, Key: []byte("x")}},
		{"range", Op{Kind: OpRange, Key: []byte("a"), End: []byte("b"), Limit: 300, Options: RangeKeys}},
		{"all keys", Op{Kind: OpRange, Key: []byte{}, End: []byte{}, Options: RangeCount}},
		{"delete range", Op{Kind: OpDeleteRange, Key: []byte("a"), End: []byte("b"), Limit: 1}},
		{"forget range", Op{Kind: OpForgetRange, Key: []byte("a"), End: []byte{}, Limit: 1}},
		{"transaction on a range", Op{
			Kind: OpTxn,
			Compares: []Compare{
				{Key: []byte("a"), Target: CompareCount, Relation: Equal, Version: 0, End: []byte("b")},
			},
			Then: []Op{{Kind: OpAdd, Key: []byte("n"), Delta: 1}},
			Else: []Op{{Kind: OpDeleteRange, Key: []byte("a"), End: []byte("b")}},
		}},
	},
	generate: func(t *rapid.T) Op { return drawOp(t, true) },
	encode:   func(dst []byte, op Op) []byte { return AppendOp(dst, &op) },
	decode:   DecodeOp,
	fixed:    true,
}

func drawOp(t *rapid.T, txn bool) Op {
	kinds := []OpKind{
		OpGet, OpPut, OpDelete, OpCompareAndSet, OpIncrement, OpAppend, OpAdd, OpSwap, OpTake, OpRange, OpDeleteRange,
		OpForgetRange,
	}
	if txn {
		kinds = append(kinds, OpTxn)
	}
	op := Op{Kind: rapid.SampledFrom(kinds).Draw(t, "kind")}
	if op.Kind == OpTxn {
		op.Compares = drawList(t, 4, drawTxnCompare)
		inside := func(t *rapid.T) Op { return drawOp(t, false) }
		op.Then, op.Else = drawList(t, 4, inside), drawList(t, 4, inside)
		return op
	}
	op.Key = drawBytes(t)
	switch op.Kind {
	case OpPut, OpAppend, OpSwap:
		op.Value = drawBytes(t)
	case OpRange, OpDeleteRange, OpForgetRange:
		op.End, op.Limit = drawBytes(t), drawNumber(t, 0, math.MaxUint64)
		if op.Kind == OpRange {
			op.Options = RangeOptions(drawNumber(t, 0, uint64(RangeCount)))
		}
	case OpCompareAndSet:
		op.Value, op.Compares = drawBytes(t), []Compare{drawCompare(t, op.Key)}
	case OpIncrement, OpAdd:
		op.Delta = rapid.Int64().Draw(t, "delta")
	}
	if op.Kind.Leasable() {
		op.Lease = drawSession(t)
	}
	return op
}

func drawTxnCompare(t *rapid.T) Compare {
	c := drawCompare(t, drawBytes(t))
	switch rapid.IntRange(0, 5).Draw(t, "target") {
	case 0:
		c.Target, c.Value, c.Version, c.End = CompareCount, nil, drawNumber(t, 0, math.MaxUint64), drawBytes(t)
	case 1:
		c.Target, c.Value, c.Version = CompareLease, drawBytes(t), 0
	}
	return c
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
		{"unknown kind", Op{Kind: opLast + 1, Key: []byte("x")}, "kind"},
		{"long key", Op{Kind: OpGet, Key: make([]byte, KeyMax+1)}, "key"},
		{"long value", Op{Kind: OpPut, Value: make([]byte, ValueMax+1)}, "value"},
		{"compare and set without a comparison", Op{Kind: OpCompareAndSet}, "3 fields instead of the 6"},
		{"compare and set with two", Op{Kind: OpCompareAndSet, Compares: []Compare{compare, compare}}, "9 fields"},
		{"comparison of nothing", Op{Kind: OpTxn, Compares: []Compare{{Relation: Equal}}}, "compare target"},
		{"comparison without relation", Op{Kind: OpTxn, Compares: []Compare{{Target: CompareValue}}}, "relation"},
		{"comparison of a long key", Op{Kind: OpTxn, Compares: []Compare{{Key: make([]byte, KeyMax+1)}}}, "compare key"},
		{"long end", Op{Kind: OpDeleteRange, End: make([]byte, KeyMax+1)}, "end"},
		{"unknown option", Op{Kind: OpRange, Options: RangeCount + 1}, "options"},
		{"count outside a transaction", Op{
			Kind: OpCompareAndSet, Compares: []Compare{{Target: CompareCount, Relation: Equal}},
		}, "compare target"},
		{"count up to a long key", Op{
			Kind: OpTxn, Compares: []Compare{{Target: CompareCount, Relation: Equal, End: make([]byte, KeyMax+1)}},
		}, "compare end"},
		{"lease outside a transaction", Op{
			Kind: OpCompareAndSet, Compares: []Compare{{Target: CompareLease, Relation: Equal}},
		}, "compare target"},
		{"append under a lease", Op{Kind: OpAppend, Lease: id(1, 1)}, "4 fields instead of the 3"},
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

// TestOpFormat: what older programs cannot execute needs the level that brought it, wherever it stands.
func TestOpFormat(t *testing.T) {
	put := Op{Kind: OpPut, Key: []byte("x")}
	leased := put
	leased.Lease = id(1, 1)
	compare := []Compare{{Key: []byte("x"), Target: CompareLease, Relation: Equal}}
	for _, c := range []struct {
		name string
		op   Op
		want uint32
	}{
		{"put", put, FormatMin},
		{"leased put", leased, FormatLeases},
		{"transaction", Op{Kind: OpTxn, Then: []Op{put}, Else: []Op{put}}, FormatMin},
		{"leased put in then", Op{Kind: OpTxn, Then: []Op{put, leased}}, FormatLeases},
		{"leased put in else", Op{Kind: OpTxn, Else: []Op{put, leased}}, FormatLeases},
		{"compare of leases", Op{Kind: OpTxn, Compares: compare}, FormatLeases},
	} {
		if got := c.op.Format(); got != c.want {
			t.Errorf("%s: level %d, want %d", c.name, got, c.want)
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
