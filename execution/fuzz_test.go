package execution_test

import (
	"slices"
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/hostile"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// FuzzKV: what a client may send is refused by Footprint, or carried out within the footprint that it
// names, with a result that a client can read; twice the same on equal states.
func FuzzKV(f *testing.F) {
	key, value := []byte("k"), []byte("7")
	for _, op := range []wire.Op{
		{Kind: wire.OpGet, Key: key},
		{Kind: wire.OpPut, Key: key, Value: value},
		{Kind: wire.OpDelete, Key: key},
		{Kind: wire.OpIncrement, Key: key, Delta: -1 << 63},
		{Kind: wire.OpCompareAndSet, Key: key, Value: value, Compares: []wire.Compare{{
			Key: key, Target: wire.CompareValue, Relation: wire.Less, Value: value,
		}}},
		{Kind: wire.OpAppend, Key: key, Value: value},
		{Kind: wire.OpAdd, Key: key, Delta: 1<<63 - 1},
		{Kind: wire.OpSwap, Key: key, Value: value},
		{Kind: wire.OpTake, Key: key},
		{Kind: wire.OpRange, End: []byte("z"), Limit: 1},
		{Kind: wire.OpRange, Key: key, Options: wire.RangeKeys},
		{Kind: wire.OpDeleteRange, Key: []byte("a"), End: []byte("z")},
		{Kind: wire.OpForgetRange},
		{
			Kind: wire.OpTxn,
			Compares: []wire.Compare{
				{Key: key, End: []byte("z"), Target: wire.CompareCount, Relation: wire.Equal, Version: 1},
			},
			Then: []wire.Op{{Kind: wire.OpAdd, Key: key, Delta: 1}, {Kind: wire.OpDeleteRange, Key: key}},
			Else: []wire.Op{{Kind: wire.OpRange}, {Kind: wire.OpAdd, Key: []byte("m"), Delta: 1}},
		},
		{
			Kind: wire.OpTxn,
			Compares: []wire.Compare{
				{Key: key, Target: wire.CompareVersion, Relation: wire.Greater, Version: 1},
				{Key: []byte("l"), Target: wire.CompareValue, Relation: wire.NotEqual},
			},
			Then: []wire.Op{{Kind: wire.OpIncrement, Key: key, Delta: 1}, {Kind: wire.OpGet, Key: []byte{}}},
			Else: []wire.Op{{Kind: wire.OpDelete, Key: []byte("l")}, {Kind: wire.OpPut, Key: key}},
		},
	} {
		f.Add(wire.AppendOp(nil, &op), value)
		f.Add(wire.AppendOp(nil, &op), []byte("not a number"))
	}
	f.Fuzz(func(t *testing.T, payload, old []byte) {
		hostile.Cheap(t, hostile.Factor, len(payload), func() { _, _ = execution.KV{}.Footprint(payload) })
		footprint, err := execution.KV{}.Footprint(payload)
		if err != nil {
			return
		}
		old = old[:min(len(old), wire.ValueMax)]
		put := wire.AppendOp(nil, &wire.Op{Kind: wire.OpPut, Key: key, Value: old})
		command := &epaxos.Command{
			Requests:  []epaxos.Request{{Payload: put}, {Payload: payload}, {Payload: payload}},
			Footprint: append(slices.Clone(footprint), epaxos.Access{Mode: epaxos.Write, Key: string(key)}),
		}
		var before [][]byte
		for range 2 {
			results, err := execution.NewState(nothing{}).Apply(execution.KV{}, command)
			if err != nil {
				t.Fatalf("violation of progress: what was admitted stops the replica: %v", err)
			}
			for _, result := range results {
				if _, err := wire.DecodeResult(result); err != nil {
					t.Fatalf("violation of integrity: a result that does not decode: %v", err)
				}
			}
			if before != nil && !slices.EqualFunc(results, before, slices.Equal) {
				t.Fatalf("violation of order: %x, and then %x", before, results)
			}
			before = results
		}
	})
}

// nothing is the saved state of a replica that never ran.
type nothing struct{}

func (nothing) Get([]byte) ([]byte, bool, error) { return nil, false, nil }

func (nothing) Scan([]byte, []byte, func(key, value []byte) error) error { return nil }
