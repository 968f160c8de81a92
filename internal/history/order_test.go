package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// at is an operation on a time line in milliseconds.
func at(client, call, end int, op wire.Op, result wire.Result) Operation {
	return Operation{
		Client: client, Op: op, Outcome: wire.OutcomeApplied, Result: result,
		Call: time.Duration(call) * time.Millisecond, Return: time.Duration(end) * time.Millisecond,
	}
}

func put(key, value string) wire.Op {
	return wire.Op{Kind: wire.OpPut, Key: []byte(key), Value: []byte(value)}
}
func get(key string) wire.Op { return wire.Op{Kind: wire.OpGet, Key: []byte(key)} }
func add(key string, delta int64) wire.Op {
	return wire.Op{Kind: wire.OpIncrement, Key: []byte(key), Delta: delta}
}
func blind(key string, delta int64) wire.Op {
	return wire.Op{Kind: wire.OpAdd, Key: []byte(key), Delta: delta}
}
func remove(key string) wire.Op { return wire.Op{Kind: wire.OpDelete, Key: []byte(key)} }
func appendTo(key, value string) wire.Op {
	return wire.Op{Kind: wire.OpAppend, Key: []byte(key), Value: []byte(value)}
}

// reading reads all keys from w on.
var reading = wire.Op{Kind: wire.OpRange, Key: []byte("w"), Options: wire.RangeKeys}

func page(key string, version uint64) wire.Result {
	return wire.Result{Status: wire.OpOK, Count: 1, Pairs: []wire.Pair{{Key: []byte(key), Version: version}}}
}
func paged(key string, version uint64, next string) wire.Result {
	r := page(key, version)
	r.Next = []byte(next)
	return r
}
func wrote(version uint64) wire.Result {
	return wire.Result{Status: wire.OpOK, Found: true, Version: version}
}
func saw(version uint64, value string) wire.Result {
	return wire.Result{Status: wire.OpOK, Found: version > 0, Version: version, Value: []byte(value)}
}
func txn(ops ...wire.Op) wire.Op { return wire.Op{Kind: wire.OpTxn, Then: ops} }
func results(all ...wire.Result) wire.Result {
	return wire.Result{Status: wire.OpOK, Succeeded: true, Results: all}
}
func unknown(client, call int, op wire.Op) Operation {
	return Operation{Client: client, Op: op, Outcome: wire.OutcomeUnknown, Call: time.Duration(call) * time.Millisecond}
}

// TestPlantedAnomalies: each history has one fault of a kind that is known by a name.
func TestPlantedAnomalies(t *testing.T) {
	setIf := func(key string, version uint64, value string) wire.Op {
		return wire.Op{Kind: wire.OpCompareAndSet, Key: []byte(key), Value: []byte(value), Compares: []wire.Compare{
			{Key: []byte(key), Target: wire.CompareVersion, Relation: wire.Equal, Version: version}}}
	}
	for name, test := range map[string]struct {
		history []Operation
		words   []string // of the report
	}{
		"write skew": {[]Operation{
			at(1, 0, 9, txn(get("x"), put("y", "1")), results(saw(0, ""), wrote(1))),
			at(2, 0, 9, txn(get("y"), put("x", "2")), results(saw(0, ""), wrote(1))),
		}, []string{`read version 0 of "x", which the next overwrote`, `read version 0 of "y", which the next overwrote`}},
		"write skew by conditions": {[]Operation{
			at(1, 0, 9, wire.Op{Kind: wire.OpTxn, Then: []wire.Op{put("y", "1")}, Compares: []wire.Compare{
				{Key: []byte("x"), Target: wire.CompareVersion, Relation: wire.Equal}}}, results(wrote(1))),
			at(2, 0, 9, wire.Op{Kind: wire.OpTxn, Then: []wire.Op{put("x", "1")}, Compares: []wire.Compare{
				{Key: []byte("y"), Target: wire.CompareVersion, Relation: wire.Equal}}}, results(wrote(1))),
		}, []string{`read version 0 of "x"`, `read version 0 of "y"`}},
		"stale read": {[]Operation{
			at(1, 0, 1, put("x", "1"), wrote(1)), at(1, 2, 3, put("x", "2"), wrote(2)), at(2, 4, 5, get("x"), saw(1, "1")),
		}, []string{`read version 1 of "x", which the next overwrote`, "had ended before"}},
		"read of nothing": {[]Operation{
			at(1, 0, 1, put("x", "1"), wrote(1)), at(2, 4, 5, get("x"), saw(0, "")),
		}, []string{`read version 0 of "x", which the next overwrote`, "had ended before"}},
		"lost update": {[]Operation{
			at(1, 0, 9, put("x", "1"), wrote(1)), at(2, 0, 9, put("x", "2"), wrote(1)),
		}, []string{"lost update", `version 1 of "x"`}},
		"real-time inversion": {[]Operation{
			at(1, 0, 1, put("x", "1"), wrote(2)), at(2, 2, 3, put("x", "2"), wrote(1)),
		}, []string{`wrote version 1 of "x", which the next overwrote`, "had ended before"}},
		"real-time inversion over keys": {[]Operation{
			at(1, 0, 9, txn(put("x", "1"), get("y")), results(wrote(1), saw(1, "2"))),
			at(2, 0, 1, txn(get("x")), results(saw(1, "1"))),
			at(3, 2, 3, put("y", "2"), wrote(1)),
		}, []string{`wrote version 1 of "x", which the next read`, `wrote version 1 of "y", which the next read`, "had ended"}},
		"fractured read": {[]Operation{
			at(1, 0, 9, txn(put("x", "1"), put("y", "1")), results(wrote(1), wrote(1))),
			at(2, 0, 9, txn(get("x"), get("y")), results(saw(1, "1"), saw(0, ""))),
		}, []string{`wrote version 1 of "x", which the next read`, `read version 0 of "y", which the next overwrote`}},
		"fractured read of an unknown outcome": {[]Operation{
			unknown(1, 0, txn(put("x", "1"), put("y", "1"))),
			at(2, 0, 9, txn(get("x"), get("y")), results(saw(1, "1"), saw(0, ""))),
			at(2, 10, 19, get("y"), saw(1, "1")),
		}, []string{`wrote version 1 of "x", which the next read`, `read version 0 of "y"`}},
		"intermediate read": {[]Operation{
			at(1, 0, 9, txn(put("x", "1"), put("x", "2")), results(wrote(1), wrote(2))),
			at(2, 0, 9, get("x"), saw(1, "1")),
		}, []string{`wrote version 1 of "x", which the next read`, `read version 1 of "x", which the next overwrote`}},
		"long fork": {[]Operation{
			at(1, 0, 9, put("x", "1"), wrote(1)), at(2, 0, 9, put("y", "1"), wrote(1)),
			at(3, 0, 9, txn(get("x"), get("y")), results(saw(1, "1"), saw(0, ""))),
			at(4, 0, 9, txn(get("x"), get("y")), results(saw(0, ""), saw(1, "1"))),
		}, []string{`read version 0 of "y"`, `read version 0 of "x"`}},
		"another value": {[]Operation{
			at(1, 0, 9, put("x", "1"), wrote(1)), at(2, 0, 9, get("x"), saw(1, "2")),
		}, []string{`version 1 of "x"`, `"1"`, `"2"`}},
		"a value from nowhere": {[]Operation{at(2, 0, 9, get("x"), saw(1, "2"))}, []string{`"x" reached version 1`}},
		"an update that nobody made": {[]Operation{
			at(1, 0, 9, put("x", "1"), wrote(2)), unknown(2, 0, get("x")),
		}, []string{`"x" reached version 2`}},
		"a sum": {[]Operation{
			at(1, 0, 9, add("n", 2), saw(1, "2")), at(2, 0, 9, add("n", 3), saw(2, "6")),
		}, []string{`version 1 of "n" is 2`}},
		"a sum from nowhere": {[]Operation{at(1, 0, 9, add("n", 2), saw(1, "3"))}, []string{`"n"`}},
		"a condition that did not hold": {[]Operation{
			at(1, 0, 9, put("x", "1"), wrote(1)), at(1, 0, 9, put("x", "2"), wrote(2)),
			at(2, 0, 9, setIf("x", 1, "3"), wrote(3)),
		}, []string{`read version 1 of "x", which the next overwrote`, `wrote version 2 of "x", which the next overwrote`}},
		"a deleted key that is read before it is written": {[]Operation{
			at(1, 0, 1, get("x"), saw(1, "1")), at(2, 2, 3, put("x", "1"), wrote(1)),
			at(3, 4, 5, remove("x"), wrote(2)),
		}, []string{`wrote version 1 of "x", which the next read`, "had ended"}},
		"a second life that is not": {[]Operation{
			at(1, 0, 9, put("x", "1"), wrote(1)), at(2, 0, 9, remove("x"), wrote(2)), at(3, 0, 9, get("x"), saw(2, "1")),
		}, []string{`version 2 of "x" is a delete, and is read`}},
		"a version of an earlier life": {[]Operation{
			at(1, 0, 1, put("x", "1"), wrote(1)), at(1, 2, 3, remove("x"), wrote(2)), at(1, 4, 5, put("x", "2"), wrote(1)),
		}, []string{"lost update"}},
		"a value that was appended elsewhere": {[]Operation{
			at(1, 0, 9, put("x", "a"), wrote(1)), at(2, 0, 9, appendTo("x", "b"), wrote(2)),
			at(3, 0, 9, get("x"), saw(2, "b")),
		}, []string{`version 1 of "x" is "a", and with "b" behind it "b"`}},
		"more than was added": {[]Operation{
			at(1, 0, 9, blind("n", 1), wrote(0)), at(2, 0, 9, get("n"), saw(2, "2")),
		}, []string{`"n" reached version 2`}},
		"what was swapped out": {[]Operation{
			at(1, 0, 9, put("x", "1"), wrote(1)),
			at(2, 0, 9, wire.Op{Kind: wire.OpSwap, Key: []byte("x"), Value: []byte("2")}, saw(2, "other")),
		}, []string{`version 1 of "x" was "1" and is read as "other"`}},
		"a range of the past": {[]Operation{
			at(1, 0, 1, put("x", "1"), wrote(1)), at(1, 2, 3, put("x", "2"), wrote(2)), at(2, 4, 5, reading, page("x", 1)),
		}, []string{`read version 1 of "x", which the next overwrote`, "had ended before"}},
		"a range without a key": {[]Operation{
			at(1, 0, 1, put("x", "1"), wrote(1)), at(2, 4, 5, reading, wire.Result{Status: wire.OpOK}),
		}, []string{`read version 0 of "x", which the next overwrote`, "had ended before"}},
		"a range that was not empty": {[]Operation{
			at(1, 0, 1, put("x", "1"), wrote(1)),
			at(2, 4, 5, wire.Op{Kind: wire.OpTxn, Then: []wire.Op{put("y", "1")}, Compares: []wire.Compare{
				{Key: []byte("w"), End: []byte("z"), Target: wire.CompareCount, Relation: wire.Equal}}}, results(wrote(1))),
		}, []string{`read version 0 of "x", which the next overwrote`, "had ended before"}},
	} {
		t.Run(name, func(t *testing.T) {
			report, err := CheckOrder(test.history)
			if err != nil {
				t.Fatal(err)
			}
			if report.Verdict != Illegal {
				t.Fatalf("the verdict is %v", report.Verdict)
			}
			for _, word := range test.words {
				if !strings.Contains(report.Detail, word) {
					t.Errorf("the report does not say %q:\n%s", word, report.Detail)
				}
			}
		})
	}
}

// TestHarmlessHistories: what only looks like a fault.
func TestHarmlessHistories(t *testing.T) {
	for name, history := range map[string][]Operation{
		"empty":                  {},
		"overlapping reads":      {at(1, 0, 9, put("x", "1"), wrote(1)), at(2, 1, 8, get("x"), saw(0, "")), at(3, 1, 8, get("x"), saw(1, "1"))},
		"ends as another begins": {at(1, 0, 5, put("x", "1"), wrote(1)), at(2, 5, 9, get("x"), saw(0, ""))},
		"unknown writes fill versions": {
			unknown(1, 0, put("x", "1")), unknown(2, 0, put("x", "2")), at(3, 4, 9, put("x", "3"), wrote(3)),
		},
		"an unknown write much later": {
			unknown(1, 0, put("x", "1")), at(2, 1, 2, get("x"), saw(0, "")), at(2, 3, 4, get("x"), saw(1, "1")),
		},
		"own writes are read": {
			at(1, 0, 9, txn(put("x", "1"), get("x"), put("x", "2")), results(wrote(1), saw(1, "1"), wrote(2))),
			at(2, 0, 9, get("x"), saw(2, "2")),
		},
		"versions go on after a delete": {
			at(1, 0, 1, put("x", "1"), wrote(1)), at(1, 2, 3, remove("x"), wrote(2)), at(2, 3, 4, get("x"), saw(0, "")),
			at(1, 4, 5, put("x", "2"), wrote(3)), at(2, 6, 7, get("x"), saw(3, "2")),
		},
		"a range that was deleted": {
			at(1, 0, 1, put("x", "1"), wrote(1)),
			at(1, 2, 3, wire.Op{Kind: wire.OpDeleteRange, Key: []byte("w")}, wire.Result{Status: wire.OpOK, Count: 1}),
			at(1, 4, 5, put("x", "2"), wrote(3)), at(2, 6, 7, reading, page("x", 3)),
		},
		"a page of a range": {
			at(1, 0, 1, put("x", "1"), wrote(1)), at(1, 0, 1, put("y", "1"), wrote(1)), at(2, 6, 7, reading, paged("x", 1, "y")),
		},
		"adds tell no version": {
			at(1, 0, 1, blind("n", 1), wrote(0)), at(1, 2, 3, add("n", 1), saw(2, "2")), unknown(3, 0, blind("n", 1)),
			at(2, 6, 7, get("n"), saw(3, "3")),
		},
		"what was taken back": {
			{Client: 1, Op: put("x", "1"), Outcome: wire.OutcomeNotApplied}, at(2, 0, 9, get("x"), saw(0, "")),
		},
	} {
		t.Run(name, func(t *testing.T) {
			report, err := CheckOrder(history)
			if err != nil {
				t.Fatal(err)
			}
			if report.Verdict != Linearizable {
				t.Errorf("%v:\n%s", report.Verdict, report.Detail)
			}
		})
	}
}

func TestCheckOrderRefuses(t *testing.T) {
	if _, err := CheckOrder([]Operation{at(1, 5, 4, get("x"), saw(0, ""))}); err == nil {
		t.Error("an operation returned before it was called, and nothing was said")
	}
}

// manyKeys draws transactions, conditions and sums on few keys.
func manyKeys(random *rand.Rand, i int) wire.Op {
	key := func() string { return fmt.Sprintf("k%d", random.IntN(4)) }
	value := fmt.Sprintf("value %d", i)
	switch random.IntN(6) {
	case 0:
		return put(key(), value)
	case 1:
		return add("sum", int64(i))
	case 2:
		op := put(key(), value)
		op.Kind = wire.OpCompareAndSet
		op.Compares = []wire.Compare{{Key: op.Key, Target: wire.CompareVersion, Relation: wire.Equal, Version: uint64(random.IntN(9))}}
		return op
	case 3:
		return get(key())
	default:
		return txn(get("k0"), put(key(), value), get("k3"), put(key(), value+"b"))
	}
}

// seeds is how many histories a test makes.
func seeds(count uint64) uint64 {
	if testing.Short() {
		return count / 10 // the race detector makes each ten times as long
	}
	return count
}

// TestCheckOrderOnCorrectHistories: one correct copy of the machine never looks wrong, whatever
// outcomes are unknown.
func TestCheckOrderOnCorrectHistories(t *testing.T) {
	for seed := range seeds(200) {
		history := generate(t, seed, 8, 300, manyKeys)
		report, err := CheckOrder(history)
		if err != nil {
			t.Fatal(err)
		}
		if report.Verdict != Linearizable {
			t.Fatalf("seed %d: %s", seed, report.Detail)
		}
	}
}

// TestCheckOrderOnDamagedHistories: two answers of one kind that are exchanged are noticed nearly always.
func TestCheckOrderOnDamagedHistories(t *testing.T) {
	noticed, all := 0, 0
	for seed := range seeds(300) {
		random := rand.New(rand.NewPCG(seed, 2))
		history := generate(t, seed, 8, 300, manyKeys)
		txns := make([]int, 0, len(history))
		for i := range history {
			if history[i].Op.Kind == wire.OpTxn && history[i].Outcome == wire.OutcomeApplied {
				txns = append(txns, i)
			}
		}
		a, b := txns[random.IntN(len(txns))], txns[random.IntN(len(txns))]
		one, two := &history[a].Result.Results[0], &history[b].Result.Results[0]
		if one.Version == two.Version {
			continue
		}
		one.Version, two.Version = two.Version, one.Version
		one.Value, two.Value = two.Value, one.Value
		all++
		report, err := CheckOrder(history)
		if err != nil {
			t.Fatal(err)
		}
		if report.Verdict == Illegal {
			noticed++
		}
	}
	if 100*noticed < 95*all {
		t.Errorf("%d of %d damaged histories were noticed", noticed, all)
	}
	t.Logf("%d of %d damaged histories were noticed", noticed, all)
}

// TestLongHistory: the time it takes does not depend on what overlaps.
func TestLongHistory(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector makes it ten times as long")
	}
	history := generate(t, 1, 500, 20_000, manyKeys)
	report, err := CheckOrder(history)
	if err != nil {
		t.Fatal(err)
	}
	if report.Verdict != Linearizable || report.Operations != len(history) {
		t.Errorf("%+v", report)
	}
	stale := slices.IndexFunc(history[18_000:], func(o Operation) bool {
		return o.Op.Kind == wire.OpGet && o.Outcome == wire.OutcomeApplied && o.Result.Version > 100
	})
	history[18_000+stale].Result.Version = 50
	history[18_000+stale].Result.Value, history[18_000+stale].Result.Status = nil, wire.OpTooLarge
	if report, err = CheckOrder(history); err != nil || report.Verdict != Illegal {
		t.Errorf("a stale read at the end gives %v, %v", report.Verdict, err)
	}
	if lines := strings.Count(report.Detail, "\n"); lines > 20 {
		t.Errorf("the cycle has %d lines:\n%s", lines, report.Detail)
	}
}
