package execution

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// kvBench is a key-value machine over an empty store.
type kvBench struct {
	t     failer
	state *State
}

func newKV(t failer) *kvBench { return &kvBench{t: t, state: NewState(newMemory())} }

// do admits and applies one operation.
func (b *kvBench) do(op wire.Op) wire.Result {
	payload := wire.AppendOp(nil, &op)
	footprint, err := KV{}.Footprint(payload)
	if err != nil {
		b.t.Fatalf("footprint of %+v: %v", op, err)
	}
	answers, err := b.state.Apply(KV{}, &epaxos.Command{
		Requests: []epaxos.Request{{Payload: payload}}, Footprint: footprint,
	})
	if err != nil {
		b.t.Fatalf("apply %+v: %v", op, err)
	}
	result, err := wire.DecodeResult(answers[0])
	if err != nil {
		b.t.Fatalf("result of %+v: %v", op, err)
	}
	return result
}

func get(key string) wire.Op    { return wire.Op{Kind: wire.OpGet, Key: []byte(key)} }
func remove(key string) wire.Op { return wire.Op{Kind: wire.OpDelete, Key: []byte(key)} }

func put(key, value string) wire.Op {
	return wire.Op{Kind: wire.OpPut, Key: []byte(key), Value: []byte(value)}
}

func increment(key string, delta int64) wire.Op {
	return wire.Op{Kind: wire.OpIncrement, Key: []byte(key), Delta: delta}
}

func compareAndSet(key, value string, c wire.Compare) wire.Op {
	c.Key = []byte(key)
	return wire.Op{Kind: wire.OpCompareAndSet, Key: []byte(key), Value: []byte(value), Compares: []wire.Compare{c}}
}

func valueIs(key, value string) wire.Compare {
	return wire.Compare{
		Key: []byte(key), Target: wire.CompareValue, Relation: wire.Equal, Value: []byte(value),
	}
}

func version(key string, relation wire.CompareRelation, version uint64) wire.Compare {
	return wire.Compare{Key: []byte(key), Target: wire.CompareVersion, Relation: relation, Version: version}
}

// short is a result as the tests write it.
func short(r wire.Result) string {
	text := fmt.Sprintf("%s v%d %q", []string{"?", "ok", "failed", "wrong-type"}[r.Status], r.Version, r.Value)
	if !r.Found {
		text += " none"
	}
	return text
}

func TestOperations(t *testing.T) {
	steps := []struct {
		op   wire.Op
		want string
	}{
		{get("k"), `ok v0 "" none`},
		{put("k", "a"), `ok v1 ""`},
		{put("k", "b"), `ok v2 ""`},
		{get("k"), `ok v2 "b"`},
		{compareAndSet("k", "c", valueIs("k", "x")), `failed v2 "b"`},
		{compareAndSet("k", "c", valueIs("k", "b")), `ok v3 ""`},
		{compareAndSet("k", "d", version("k", wire.Greater, 3)), `failed v3 "c"`},
		{compareAndSet("k", "d", version("k", wire.Less, 4)), `ok v4 ""`},
		{increment("k", 1), `wrong-type v4 ""`},
		{get("k"), `ok v4 "d"`},
		{remove("k"), `ok v0 ""`}, // existed before
		{remove("k"), `ok v0 "" none`},
		{put("k", ""), `ok v1 ""`},
		{get("k"), `ok v1 ""`},
		{increment("n", -5), `ok v1 "-5"`},
		{increment("n", 7), `ok v2 "2"`},
		{compareAndSet("absent", "x", valueIs("absent", "")), `failed v0 "" none`},
		{compareAndSet("absent", "x", version("absent", wire.Equal, 0)), `ok v1 ""`},
	}
	b := newKV(t)
	for i, step := range steps {
		if got := short(b.do(step.op)); got != step.want {
			t.Errorf("step %d: got %s, want %s", i, got, step.want)
		}
	}
}

// TestIncrementWrapsAround at both ends, modulo 2^64, on every replica alike.
func TestIncrementWrapsAround(t *testing.T) {
	b := newKV(t)
	b.do(put("n", strconv.FormatInt(math.MaxInt64, 10)))
	if got := b.do(increment("n", 1)); string(got.Value) != strconv.FormatInt(math.MinInt64, 10) {
		t.Errorf("got %s", got.Value)
	}
	if got := b.do(increment("n", -1)); string(got.Value) != strconv.FormatInt(math.MaxInt64, 10) {
		t.Errorf("got %s", got.Value)
	}
}

func TestIncrementOfWhatIsNoNumber(t *testing.T) {
	for _, value := range []string{"", "x", "1.5", " 1", "0x10", "1_000", "9223372036854775808"} {
		b := newKV(t)
		b.do(put("n", value))
		if got := b.do(increment("n", 1)); got.Status != wire.OpWrongType {
			t.Errorf("increment of %q: %s", value, short(got))
		}
		if got := b.do(get("n")); string(got.Value) != value || got.Version != 1 {
			t.Errorf("a refused increment of %q wrote %s", value, short(got))
		}
	}
}

// TestAbsentValueComparesWithNothing: only NotEqual holds.
func TestAbsentValueComparesWithNothing(t *testing.T) {
	for relation := wire.Equal; relation <= wire.Greater; relation++ {
		b := newKV(t)
		c := wire.Compare{Target: wire.CompareValue, Relation: relation, Value: []byte("m")}
		want := relation == wire.NotEqual
		if got := b.do(compareAndSet("k", "v", c)); (got.Status == wire.OpOK) != want {
			t.Errorf("relation %d: %s", relation, short(got))
		}
	}
}

// TestTransactionBranches: all compares decide, the operations of the branch see each other, and the
// other branch leaves no trace.
func TestTransactionBranches(t *testing.T) {
	b := newKV(t)
	b.do(put("a", "1"))
	txn := wire.Op{
		Kind:     wire.OpTxn,
		Compares: []wire.Compare{valueIs("a", "1"), version("b", wire.Equal, 0)},
		Then:     []wire.Op{increment("a", 1), put("b", "new"), get("a"), get("b"), remove("a"), get("a")},
		Else:     []wire.Op{get("b"), increment("b", 1), put("c", "else")},
	}
	got := b.do(txn)
	var texts []string
	for _, r := range got.Results {
		texts = append(texts, short(r))
	}
	want := []string{`ok v2 "2"`, `ok v1 ""`, `ok v2 "2"`, `ok v1 "new"`, `ok v0 ""`, `ok v0 "" none`}
	if !got.Succeeded || !reflect.DeepEqual(texts, want) {
		t.Errorf("succeeded %t: %q, want %q", got.Succeeded, texts, want)
	}
	got = b.do(txn)
	if got.Succeeded || len(got.Results) != 3 || short(got.Results[1]) != `wrong-type v1 ""` {
		t.Errorf("second run: %+v", got)
	}
	if got := short(b.do(get("c"))); got != `ok v1 "else"` {
		t.Errorf("a wrong type in the branch must leave the other operations as they are: c is %s", got)
	}
}

func TestFootprints(t *testing.T) {
	const read, write = epaxos.Read, epaxos.Write
	tests := []struct {
		name string
		op   wire.Op
		want epaxos.Footprint
	}{
		{"get", get("k"), accesses(read, "k")},
		{"put", put("k", "v"), accesses(write, "k")},
		{"delete", remove("k"), accesses(write, "k")},
		{"increment", increment("k", 1), accesses(write, "k")},
		{"compare and set", compareAndSet("k", "v", version("k", wire.Equal, 0)), accesses(write, "k")},
		{"transaction", wire.Op{
			Kind:     wire.OpTxn,
			Compares: []wire.Compare{valueIs("z", "1"), valueIs("b", "1"), valueIs("z", "2")},
			Then:     []wire.Op{get("b"), put("c", "")},
			Else:     []wire.Op{get("c"), put("b", ""), get("a")},
		}, append(append(accesses(read, "a"), accesses(write, "b", "c")...), accesses(read, "z")...)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := KV{}.Footprint(wire.AppendOp(nil, &test.op))
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v %v, want %v", got, err, test.want)
			}
		})
	}
}

// TestAdmission: what exceeds a limit or makes no sense is refused before it is proposed.
func TestAdmission(t *testing.T) {
	long := strings.Repeat("x", wire.KeyMax+1)
	tests := []struct {
		name string
		op   wire.Op
	}{
		{"empty key", put("", "v")},
		{"long key", get(long)},
		{"large value", put("k", strings.Repeat("x", wire.ValueMax+1))},
		{"unknown kind", wire.Op{Kind: 99, Key: []byte("k")}},
		{"no compare", wire.Op{Kind: wire.OpCompareAndSet, Key: []byte("k")}},
		{"unknown target", compareAndSet("k", "v", wire.Compare{Target: 9, Relation: wire.Equal})},
		{"unknown relation", compareAndSet("k", "v", wire.Compare{Target: wire.CompareValue, Relation: 9})},
		{"large operand", compareAndSet("k", "v", valueIs("k", strings.Repeat("x", wire.ValueMax+1)))},
		{"compares another key", wire.Op{
			Kind: wire.OpCompareAndSet, Key: []byte("k"), Compares: []wire.Compare{valueIs("l", "")},
		}},
		{"many operations", wire.Op{Kind: wire.OpTxn, Then: make([]wire.Op, wire.OpsMax+1)}},
		{"empty key to compare", wire.Op{Kind: wire.OpTxn, Compares: []wire.Compare{valueIs("", "")}}},
		{"unknown target in a transaction", wire.Op{Kind: wire.OpTxn, Compares: []wire.Compare{{Key: []byte("k")}}}},
		{"bad operation inside", wire.Op{Kind: wire.OpTxn, Else: []wire.Op{put("", "")}}},
		{"transaction inside", wire.Op{Kind: wire.OpTxn, Then: []wire.Op{{Kind: wire.OpTxn}}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := validate(&test.op); err == nil {
				t.Error("valid")
			}
			// Some of it cannot even be written; what can is refused.
			if test.name == "compares another key" {
				return
			}
			if f, err := (KV{}).Footprint(wire.AppendOp(nil, &test.op)); err == nil {
				t.Errorf("admitted with %v", f)
			}
		})
	}
	if _, err := (KV{}).Footprint([]byte("\xc1garbage")); err == nil {
		t.Error("garbage was admitted")
	}
	if _, err := (KV{}).Apply(nil, []byte("\xc1garbage")); err == nil {
		t.Error("garbage was applied")
	}
}

// TestDamagedValue is a fault of the replica, never an answer.
func TestDamagedValue(t *testing.T) {
	b := newKV(t)
	b.state.Put(epaxos.SpaceState, "k", []byte("short"))
	op := get("k")
	if _, err := b.state.Run(KV{}, accesses(epaxos.Read, "k"), wire.AppendOp(nil, &op)); err == nil {
		t.Error("a value shorter than its version was read")
	}
}

// TestSavedForm pins what is on disk.
func TestSavedForm(t *testing.T) {
	b := newKV(t)
	b.do(put("k", "old"))
	b.do(put("k", "new"))
	saved, _, _ := b.state.Get(epaxos.SpaceState, "k")
	if want := string(binary.BigEndian.AppendUint64(nil, 2)) + "new"; string(saved) != want {
		t.Errorf("got %q, want %q", saved, want)
	}
}

// modelKV is the machine as one would explain it.
type modelKV map[string]modelValue

type modelValue struct {
	value   string
	version uint64
}

func (m modelKV) do(op *wire.Op) (text string) {
	key := string(op.Key)
	now, found := m[key]
	set := func(value, answer string) string {
		m[key] = modelValue{value, now.version + 1}
		return fmt.Sprintf("ok v%d %q", now.version+1, answer)
	}
	suffix := ""
	if !found {
		suffix = " none"
	}
	switch op.Kind {
	case wire.OpGet:
		return fmt.Sprintf("ok v%d %q%s", now.version, now.value, suffix)
	case wire.OpPut:
		return set(string(op.Value), "")
	case wire.OpDelete:
		delete(m, key)
		return `ok v0 ""` + suffix
	case wire.OpCompareAndSet:
		if now.version == op.Compares[0].Version {
			return set(string(op.Value), "")
		}
		return fmt.Sprintf("failed v%d %q%s", now.version, now.value, suffix)
	default:
		number, err := strconv.ParseInt(now.value, 10, 64)
		if found && err != nil {
			return fmt.Sprintf("wrong-type v%d %q", now.version, "")
		}
		sum := strconv.FormatInt(number+op.Delta, 10)
		return set(sum, sum)
	}
}

func drawOp(t *rapid.T) wire.Op {
	key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		return get(key)
	case 1:
		return put(key, rapid.SampledFrom([]string{"", "7", "-9223372036854775808", "text"}).Draw(t, "value"))
	case 2:
		return remove(key)
	case 3:
		return compareAndSet(key, "set", version(key, wire.Equal, rapid.Uint64Range(0, 3).Draw(t, "version")))
	default:
		return increment(key, rapid.Int64().Draw(t, "delta"))
	}
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
			if rapid.Bool().Draw(t, "turn") {
				store.save(b.state.Take())
				b.state.Saved()
			}
		}
	})
}

// BenchmarkPut applies puts to 100,000 keys, a turn every 1,000.
func BenchmarkPut(b *testing.B) {
	store := newMemory()
	state := NewState(store)
	commands := make([]*epaxos.Command, 100_000)
	for i := range commands {
		op := put(fmt.Sprintf("key-%d", i*7919%len(commands)), "0123456789abcdef0123456789abcdef")
		payload := wire.AppendOp(nil, &op)
		footprint, err := KV{}.Footprint(payload)
		if err != nil {
			b.Fatal(err)
		}
		commands[i] = &epaxos.Command{Requests: []epaxos.Request{{Payload: payload}}, Footprint: footprint}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := state.Apply(KV{}, commands[i%len(commands)]); err != nil {
			b.Fatal(err)
		}
		if i%1000 == 999 {
			state.Take()
			state.Saved()
		}
	}
}

// TestTransactionResultIsBounded: reads beyond the limit tell so instead of making an answer that no
// frame carries; nothing else changes.
func TestTransactionResultIsBounded(t *testing.T) {
	kv := newKV(t)
	value := strings.Repeat("x", wire.ValueMax)
	var ops []wire.Op
	for _, key := range []string{"a", "b", "c", "d"} {
		kv.do(put(key, value))
		ops = append(ops, get(key))
	}
	ops = append(ops, put("a", "y"))
	result := kv.do(wire.Op{Kind: wire.OpTxn, Then: ops})
	total, omitted := 0, 0
	for _, r := range result.Results {
		total += len(r.Value)
		if r.Status == wire.OpTooLarge {
			omitted++
		}
	}
	if total > wire.ResultMax || omitted != 2 || result.Results[4].Version != 2 {
		t.Errorf("%d bytes of values, %d left out, last version %d", total, omitted, result.Results[4].Version)
	}
}
