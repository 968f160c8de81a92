package history

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// accounts draws transfers between three keys, reads of all of them, and operations on one.
func accounts(random *rand.Rand, i int) wire.Op {
	name := func() []byte { return []byte{'a' + byte(random.IntN(3))} }
	get := func(key []byte) wire.Op { return wire.Op{Kind: wire.OpGet, Key: key} }
	add := func(key []byte, n int64) wire.Op { return wire.Op{Kind: wire.OpIncrement, Key: key, Delta: n} }
	from, to := name(), name()
	switch random.IntN(5) {
	case 0:
		return wire.Op{Kind: wire.OpTxn, Then: []wire.Op{get([]byte("a")), get([]byte("b")), get([]byte("c"))}}
	case 1:
		return get(from)
	case 2:
		return add(from, int64(i))
	default:
		return wire.Op{
			Kind: wire.OpTxn,
			Compares: []wire.Compare{{
				Key: from, Target: wire.CompareVersion, Relation: wire.Less, Version: uint64(random.IntN(2 * i)),
			}},
			Then: []wire.Op{add(from, -1), add(to, 1)}, Else: []wire.Op{get(from), get(to)},
		}
	}
}

func TestTransactions(t *testing.T) {
	for seed := range uint64(30) {
		operations := generate(t, seed, 6, 300, func(r *rand.Rand, i int) wire.Op { return accounts(r, i+1) })
		report := verdict(t, operations)
		if report.Verdict != Linearizable || report.Keys != 1 {
			t.Fatalf("seed %d: %+v", seed, report)
		}
	}
}

// TestPlantedViolationsOfTransactions damages a correct history in one place each. The operations on
// each key by itself stay explicable.
func TestPlantedViolationsOfTransactions(t *testing.T) {
	txn := func(h []Operation, from int, succeeded bool) int {
		return find(h, from, func(o *Operation) bool {
			return o.Op.Kind == wire.OpTxn && len(o.Op.Compares) > 0 && o.Result.Succeeded == succeeded
		})
	}
	for name, damage := range map[string]func(h []Operation){
		"half of a transfer": func(h []Operation) {
			i := txn(h, 150, true)
			h[i].Op.Then = h[i].Op.Then[:1]
			h[i].Result.Results = h[i].Result.Results[:1]
		},
		"a branch not taken": func(h []Operation) {
			i := txn(h, 150, false)
			h[i].Result.Succeeded = true
		},
		"a result too few": func(h []Operation) {
			i := txn(h, 150, true)
			h[i].Result.Results = h[i].Result.Results[:1]
		},
		"a torn read": func(h []Operation) {
			read := func(o *Operation) bool { return len(o.Op.Compares) == 0 && o.Op.Kind == wire.OpTxn }
			early, late := find(h, 100, read), find(h, 200, read)
			results := slices.Clone(h[late].Result.Results)
			results[1] = h[early].Result.Results[1]
			h[late].Result.Results = results
		},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			history := generate(t, 3, 6, 300, func(r *rand.Rand, i int) wire.Op { return accounts(r, i+1) })
			damage(history)
			report := verdict(t, history)
			if report.Verdict != Illegal || report.Key != "a+b+c" || !strings.Contains(report.Detail, "transaction") {
				t.Fatalf("%v of %q: %s", report.Verdict, report.Key, report.Detail)
			}
			path := filepath.Join(t.TempDir(), "history.html")
			if err := report.Visualize(path, time.Minute); err != nil {
				t.Fatal(err)
			}
			if page, err := os.ReadFile(path); err != nil || !strings.Contains(string(page), "all conditions held") {
				t.Errorf("the page of %d bytes shows no transaction: %v", len(page), err)
			}
		})
	}
}

// TestTies: a chain of transactions makes one group of the keys it touches; others stay by themselves.
func TestTies(t *testing.T) {
	var h []Operation
	tie := func(keys ...string) {
		var ops []wire.Op
		results := []wire.Result{}
		for _, key := range keys {
			ops = append(ops, wire.Op{Kind: wire.OpGet, Key: []byte(key)})
			results = append(results, wire.Result{Status: wire.OpOK})
		}
		op, result := ops[0], results[0]
		if len(keys) > 1 {
			op = wire.Op{Kind: wire.OpTxn, Then: ops}
			result = wire.Result{Status: wire.OpOK, Succeeded: true, Results: results}
		}
		h = append(h, Operation{Op: op, Outcome: wire.OutcomeApplied, Result: result, Return: 1})
	}
	tie("d", "e")
	tie("a", "b")
	tie("alone")
	tie("f", "g")
	tie("c", "d")
	tie("b", "c")
	keys, err := byKey(h)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, k := range keys {
		names = append(names, fmt.Sprintf("%s:%d", k.name(), len(k.operations)))
	}
	if got := strings.Join(names, " "); got != "a+b+c+d+e:4 alone:1 f+g:1" {
		t.Error(got)
	}
	if report := verdict(t, h); report.Verdict != Linearizable || report.Keys != 3 {
		t.Errorf("%+v", report)
	}
}
