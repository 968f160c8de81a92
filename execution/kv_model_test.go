package execution

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// modelKV is the machine as one would explain it.
type modelKV map[string]modelValue

type modelValue struct {
	value   string
	version uint64
	deleted bool
}

func (m modelKV) do(op *wire.Op) (text string) {
	key := string(op.Key)
	now := m[key]
	found := now.version > 0 && !now.deleted
	shown := now.version
	suffix := ""
	if !found {
		shown, suffix = 0, " none"
	}
	set := func(value, answer, suffix string) string {
		m[key] = modelValue{value: value, version: now.version + 1}
		return fmt.Sprintf("ok v%d %q%s", now.version+1, answer, suffix)
	}
	number, err := strconv.ParseInt(now.value, 10, 64)
	sum := strconv.FormatInt(number+op.Delta, 10)
	switch op.Kind {
	case wire.OpGet:
		return fmt.Sprintf("ok v%d %q%s", shown, now.value, suffix)
	case wire.OpPut:
		return set(string(op.Value), "", "")
	case wire.OpAppend:
		return set(now.value+string(op.Value), "", "")
	case wire.OpSwap:
		return set(string(op.Value), now.value, suffix)
	case wire.OpDelete, wire.OpTake:
		if !found {
			return `ok v0 "" none`
		}
		m[key] = modelValue{version: now.version + 1, deleted: true}
		if op.Kind == wire.OpDelete {
			now.value = ""
		}
		return fmt.Sprintf("ok v%d %q", now.version+1, now.value)
	case wire.OpCompareAndSet:
		if shown == op.Compares[0].Version {
			return set(string(op.Value), "", "")
		}
		return fmt.Sprintf("failed v%d %q%s", shown, now.value, suffix)
	case wire.OpIncrement:
		if found && err != nil {
			return fmt.Sprintf("wrong-type v%d %q", now.version, "")
		}
		return set(sum, sum, "")
	case wire.OpAdd:
		if found && err != nil {
			return `wrong-type v0 ""`
		}
		set(sum, "", "")
		return `ok v0 ""`
	default:
		return m.doRange(op)
	}
}

func (m modelKV) doRange(op *wire.Op) (text string) {
	var keys []string
	for key, now := range m {
		if now.version > 0 && now.deleted == (op.Kind == wire.OpForgetRange) && key >= string(op.Key) && (len(op.End) == 0 || key < string(op.End)) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	count, next := len(keys), ""
	if op.Limit > 0 && op.Limit < uint64(count) {
		count = int(op.Limit)
		next = " next " + keys[count]
	}
	text = `ok v0 "" none`
	for _, key := range keys[:count] {
		now := m[key]
		switch {
		case op.Kind == wire.OpForgetRange:
			delete(m, key)
		case op.Kind == wire.OpDeleteRange:
			m[key] = modelValue{version: now.version + 1, deleted: true}
		case op.Options == wire.RangeKeys:
			text += fmt.Sprintf(" %s=@%d", key, now.version)
		case op.Options == 0:
			text += fmt.Sprintf(" %s=%s@%d", key, now.value, now.version)
		}
	}
	if count > 0 {
		text += fmt.Sprintf(" %d keys", count)
	}
	return text + next
}

func drawOp(t *rapid.T) wire.Op {
	key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
	value := rapid.SampledFrom([]string{"", "7", "-9223372036854775808", "text"}).Draw(t, "value")
	switch kind := wire.OpKind(rapid.IntRange(int(wire.OpGet), int(wire.OpForgetRange)).Draw(t, "kind")); kind {
	case wire.OpTxn:
		return get(key)
	case wire.OpCompareAndSet:
		return compareAndSet(key, "set", version(key, wire.Equal, rapid.Uint64Range(0, 3).Draw(t, "version")))
	case wire.OpRange, wire.OpDeleteRange, wire.OpForgetRange:
		op := wire.Op{Kind: kind, Limit: rapid.Uint64Range(0, 3).Draw(t, "limit")}
		op.Key = []byte(rapid.SampledFrom([]string{"", "a", "aa", "b"}).Draw(t, "from"))
		op.End = []byte(rapid.SampledFrom([]string{"", "bb", "c", "d"}).Draw(t, "end"))
		if kind == wire.OpRange {
			op.Options = wire.RangeOptions(rapid.IntRange(0, 2).Draw(t, "options"))
		}
		return op
	default:
		return wire.Op{Kind: kind, Key: []byte(key), Value: []byte(value), Delta: rapid.Int64().Draw(t, "delta")}
	}
}

// drawPeaceful is an operation that often does not interfere with its like.
func drawPeaceful(t *rapid.T) wire.Op {
	key := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key")
	switch rapid.IntRange(0, 5).Draw(t, "peaceful") {
	case 0:
		return readRange("b", "")
	case 1:
		return get(key)
	case 2:
		return drawOp(t)
	default:
		return add(key, rapid.Int64().Draw(t, "delta"))
	}
}

// drawRequest is an operation or a transaction.
func drawRequest(t *rapid.T) wire.Op {
	if rapid.IntRange(0, 2).Draw(t, "alone") > 0 {
		return drawPeaceful(t)
	}
	op := wire.Op{Kind: wire.OpTxn}
	for range rapid.IntRange(0, 2).Draw(t, "compares") {
		c := version(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "compared"), wire.Greater, 0)
		if rapid.Bool().Draw(t, "count") {
			c = count("a", "c", wire.Less, rapid.Uint64Range(0, 2).Draw(t, "keys"))
		}
		op.Compares = append(op.Compares, c)
	}
	op.Then = rapid.SliceOfN(rapid.Custom(drawPeaceful), 0, 3).Draw(t, "then")
	op.Else = rapid.SliceOfN(rapid.Custom(drawPeaceful), 0, 3).Draw(t, "else")
	return op
}

// TestKVAgreesWithAModel over random operations, alone and in transactions, with turns in between.
func TestKVAgreesWithAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		store, model := newMemory(), make(modelKV)
		b := &kvBench{t: t, state: NewState(store)}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			ops := rapid.SliceOfN(rapid.Custom(drawOp), 1, 4).Draw(t, "ops")
			results := []wire.Result{b.do(ops[0])}
			if len(ops) > 1 {
				results = append(results, b.do(wire.Op{Kind: wire.OpTxn, Then: ops[1:]}).Results...)
			}
			for i := range ops {
				if got, want := short(results[i]), model.do(&ops[i]); got != want {
					t.Fatalf("operation %d of %+v: got %s, want %s", i, ops, got, want)
				}
			}
			switch rapid.IntRange(0, 3).Draw(t, "turn") {
			case 0:
				store.save(b.state.Take())
				b.state.Saved()
			case 1: // taken, not yet told to be saved
				store.save(b.state.Take())
			}
		}
	})
}

// TestWhatDoesNotInterfereCommutes: replicas may execute such requests in either order, so state and answers
// must be the same to the bit, whatever was there before.
func TestWhatDoesNotInterfereCommutes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var payloads [][]byte
		var footprints []epaxos.Footprint
		requests := rapid.SliceOfN(rapid.Custom(drawRequest), 2, 2).Draw(t, "requests")
		for i := range requests {
			payload := wire.AppendOp(nil, &requests[i])
			f, err := KV{}.Footprint(payload)
			if err != nil {
				t.Fatal(err)
			}
			payloads, footprints = append(payloads, payload), append(footprints, f)
		}
		if footprints[0].Interferes(footprints[1]) {
			t.Skip("they interfere")
		}
		before := rapid.SliceOfN(rapid.Custom(drawOp), 0, 6).Draw(t, "before")
		run := func(order ...int) (answers [2][]byte, state []Write) {
			b := &kvBench{t: t, state: NewState(newMemory())}
			for _, op := range before {
				b.do(op)
			}
			for _, i := range order {
				answer, err := b.state.Run(KV{}, footprints[i], payloads[i])
				if err != nil {
					t.Fatalf("%+v: %v", requests[i], err)
				}
				answers[i] = answer
			}
			return answers, b.state.Take()
		}
		answers, state := run(0, 1)
		otherAnswers, otherState := run(1, 0)
		if !reflect.DeepEqual(answers, otherAnswers) || !reflect.DeepEqual(state, otherState) {
			t.Fatalf("violation of order: %+v\nanswers %q and then %q,\nstate %+v and then %+v",
				requests, answers, otherAnswers, state, otherState)
		}
	})
}
