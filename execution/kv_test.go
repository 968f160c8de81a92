package execution

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"

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

func add(key string, delta int64) wire.Op {
	return wire.Op{Kind: wire.OpAdd, Key: []byte(key), Delta: delta}
}

func appendTo(key, value string) wire.Op {
	return wire.Op{Kind: wire.OpAppend, Key: []byte(key), Value: []byte(value)}
}

func readRange(from, end string) wire.Op {
	return wire.Op{Kind: wire.OpRange, Key: []byte(from), End: []byte(end)}
}

func deleteRange(from, end string) wire.Op {
	return wire.Op{Kind: wire.OpDeleteRange, Key: []byte(from), End: []byte(end)}
}

func forgetRange(from, end string) wire.Op {
	return wire.Op{Kind: wire.OpForgetRange, Key: []byte(from), End: []byte(end)}
}

func count(from, end string, relation wire.CompareRelation, count uint64) wire.Compare {
	return wire.Compare{
		Key: []byte(from), End: []byte(end), Target: wire.CompareCount, Relation: relation, Version: count,
	}
}

func version(key string, relation wire.CompareRelation, version uint64) wire.Compare {
	return wire.Compare{Key: []byte(key), Target: wire.CompareVersion, Relation: relation, Version: version}
}

// short is a result as the tests write it.
func short(r wire.Result) string {
	statuses := []string{"?", "ok", "failed", "wrong-type", "too-large", "limited"}
	text := fmt.Sprintf("%s v%d %q", statuses[r.Status], r.Version, r.Value)
	if !r.Found {
		text += " none"
	}
	for _, p := range r.Pairs {
		text += fmt.Sprintf(" %s=%s@%d", p.Key, p.Value, p.Version)
	}
	if r.Count > 0 {
		text += fmt.Sprintf(" %d keys", r.Count)
	}
	if r.Next != nil {
		text += fmt.Sprintf(" next %s", r.Next)
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
		{remove("k"), `ok v5 ""`}, // existed before
		{get("k"), `ok v0 "" none`},
		{remove("k"), `ok v0 "" none`},
		{compareAndSet("k", "x", version("k", wire.Equal, 5)), `failed v0 "" none`},
		{put("k", ""), `ok v6 ""`}, // never a version of its earlier life
		{get("k"), `ok v6 ""`},
		{remove("k"), `ok v7 ""`},
		{compareAndSet("k", "x", version("k", wire.Equal, 0)), `ok v8 ""`},
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
	want := []string{`ok v2 "2"`, `ok v1 ""`, `ok v2 "2"`, `ok v1 "new"`, `ok v3 ""`, `ok v0 "" none`}
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
		{"append", appendTo("k", "v"), accesses(write, "k")},
		{"swap", wire.Op{Kind: wire.OpSwap, Key: []byte("k")}, accesses(write, "k")},
		{"take", wire.Op{Kind: wire.OpTake, Key: []byte("k")}, accesses(write, "k")},
		{"add", add("k", 1), accesses(epaxos.Add, "k")},
		{"range", readRange("a", "b"), epaxos.Footprint{{Mode: read, Range: true, Key: "a", End: "b"}}},
		{"all", readRange("", ""), epaxos.Footprint{{Mode: read, Range: true}}},
		{"delete range", deleteRange("a", ""), epaxos.Footprint{{Mode: write, Range: true, Key: "a"}}},
		{"adds in a transaction", wire.Op{
			Kind: wire.OpTxn, Compares: []wire.Compare{version("v", wire.Equal, 1)},
			Then: []wire.Op{add("a", 1), add("b", 1), add("a", 2), get("b")}, Else: []wire.Op{add("v", 1)},
		}, append(accesses(epaxos.Add, "a"), accesses(write, "b", "v")...)},
		{"ranges in a transaction", wire.Op{
			Kind: wire.OpTxn, Compares: []wire.Compare{count("a", "c", wire.Equal, 0), count("a", "b", wire.Less, 9)},
			Then: []wire.Op{readRange("a", "c"), put("x", "")}, Else: []wire.Op{deleteRange("a", "b"), get("a")},
		}, append(append(accesses(read, "a"), accesses(write, "x")...),
			epaxos.Access{Mode: write, Range: true, Key: "a", End: "b"},
			epaxos.Access{Mode: read, Range: true, Key: "a", End: "c"})},
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
		{"empty key to add to", wire.Op{Kind: wire.OpAdd}},
		{"large value to append", wire.Op{Kind: wire.OpAppend, Key: []byte("k"), Value: make([]byte, wire.ValueMax+1)}},
		{"empty range", readRange("b", "b")},
		{"range backwards", wire.Op{Kind: wire.OpDeleteRange, Key: []byte("b"), End: []byte("a")}},
		{"range from a long key", readRange(long, "")},
		{"range to a long key", readRange("", long)},
		{"range options", wire.Op{Kind: wire.OpRange, Options: 3}},
		{"count of an empty range", wire.Op{Kind: wire.OpTxn, Compares: []wire.Compare{count("b", "a", wire.Equal, 0)}}},
		{"count outside a transaction", compareAndSet("k", "v", wire.Compare{
			Target: wire.CompareCount, Relation: wire.Equal,
		})},
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
	both := binary.BigEndian.AppendUint64(nil, deletedBit|leasedBit|1)
	for name, saved := range map[string][]byte{
		"deleted, with a value": append(deletedRecord(1), "value"...), "deleted, with a lease": append(both, make([]byte, 16)...),
		"with a part of a lease": append(binary.BigEndian.AppendUint64(nil, leasedBit|1), "fifteen bytes.."...),
	} {
		b.state.Put(epaxos.SpaceState, "k", saved)
		for _, op := range []wire.Op{get("k"), add("k", 1), readRange("", "")} {
			payload := wire.AppendOp(nil, &op)
			if _, err := b.state.Run(KV{}, epaxos.Footprint{{Mode: epaxos.Everything}}, payload); !errors.Is(err, errValue) {
				t.Errorf("%+v of a key that is saved as %s: %v", op, name, err)
			}
		}
		if _, _, err := (KV{}).Ended(saved, epaxos.InstanceID{}); !errors.Is(err, errValue) {
			t.Errorf("end of a lease of a key that is saved as %s: %v", name, err)
		}
		if _, err := (KV{}).Orphaned(saved); !errors.Is(err, errValue) {
			t.Errorf("restored without the lease, a key that is saved as %s: %v", name, err)
		}
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
	b.do(remove("k"))
	saved, _, _ = b.state.Get(epaxos.SpaceState, "k")
	if want := string(binary.BigEndian.AppendUint64(nil, 1<<63+3)); string(saved) != want {
		t.Errorf("deleted: got %q, want %q", saved, want)
	}
	lease := epaxos.InstanceID{Epoch: 1, Replica: 2, Slot: 3}
	now := record{found: true, version: 5, value: []byte("v"), lease: lease}
	want := string(binary.BigEndian.AppendUint64(nil, 1<<62+5)) + lease.Key() + "v"
	if string(now.saved()) != want {
		t.Errorf("leased: got %q, want %q", now.saved(), want)
	}
	if read, err := parseRecord([]byte(want)); err != nil || !reflect.DeepEqual(read, now) {
		t.Errorf("leased: %+v, %v, want %+v", read, err, now)
	}
	if after, err := (KV{}).Orphaned([]byte(want)); err != nil || string(after) != string(deletedRecord(6)) {
		t.Errorf("restored without its lease: %q, %v", after, err)
	}
	free := now
	free.lease = epaxos.InstanceID{}
	if after, err := (KV{}).Orphaned(free.saved()); err != nil || string(after) != string(free.saved()) {
		t.Errorf("restored, and without a lease: %q, %v", after, err)
	}
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
