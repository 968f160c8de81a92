package history

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// store is a state for the machine that ships.
type store map[string][]byte

func (s store) Get(key string) ([]byte, bool) { value, found := s[key]; return value, found }
func (s store) Put(key string, value []byte)  { s[key] = value }
func (s store) Delete(key string)             { delete(s, key) }

func (s store) Scan(from, to string, visit func(key string, value []byte) bool) {
	for _, key := range slices.Sorted(maps.Keys(s)) {
		if within(key, []byte(from), []byte(to)) && !visit(key, s[key]) {
			return
		}
	}
}

func (s store) Merge(key string, operand []byte) bool {
	value, found := s[key]
	merged, ok, err := execution.KV{}.Merge(value, found, operand)
	if err != nil {
		panic(err)
	}
	if ok {
		s[key] = merged
	}
	return ok
}

func (s store) Attach(epaxos.InstanceID, string) execution.Attachment { return execution.LeaseGone }

// apply carries out an operation on the machine that ships, which the model is to agree with.
func (s store) apply(t *testing.T, op *wire.Op) wire.Result {
	t.Helper()
	body, err := execution.KV{}.Apply(s, wire.AppendOp(nil, op))
	if err != nil {
		t.Fatal(err)
	}
	result, err := wire.DecodeResult(body)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// generate makes the history of closed loops on one correct copy of the machine: each operation
// takes effect at a random time between its call and its return, and some never tell.
func generate(t *testing.T, seed uint64, clients, operations int, draw func(*rand.Rand, int) wire.Op) []Operation {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	free := make([]time.Duration, clients)
	all := make([]Operation, operations)
	effects := make([]time.Duration, operations)
	order := make([]int, operations)
	for i := range all {
		client := random.IntN(clients)
		o := Operation{Client: client, Op: draw(random, i), Outcome: wire.OutcomeApplied, Call: free[client]}
		effects[i] = o.Call + time.Duration(random.IntN(50))
		o.Return = effects[i] + time.Duration(random.IntN(50))
		free[client] = o.Return + 1
		if random.IntN(100) == 0 {
			o.Outcome = wire.OutcomeUnknown
			effects[i] += time.Duration(random.IntN(200))
			if random.IntN(2) == 0 {
				effects[i] = never
			}
		}
		all[i], order[i] = o, i
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(effects[a] - effects[b]) })
	state := store{}
	for _, i := range order {
		if effects[i] == never {
			break
		}
		result := state.apply(t, &all[i].Op)
		if all[i].Outcome == wire.OutcomeApplied {
			all[i].Result = result
		}
	}
	return all
}

func getsAndPuts(random *rand.Rand, i int) wire.Op {
	op := wire.Op{Kind: wire.OpGet, Key: []byte("hot")}
	if random.IntN(2) == 0 {
		op.Kind, op.Value = wire.OpPut, fmt.Appendf(nil, "value %d", i)
	}
	return op
}

// everything draws each operation on one key, with few values, so that they meet.
func everything(random *rand.Rand, _ int) wire.Op {
	value := fmt.Appendf(nil, "%d", random.IntN(3))
	kinds := []wire.OpKind{
		wire.OpGet, wire.OpPut, wire.OpDelete, wire.OpCompareAndSet, wire.OpIncrement,
		wire.OpAppend, wire.OpAdd, wire.OpSwap, wire.OpTake,
	}
	op := wire.Op{Kind: kinds[random.IntN(len(kinds))], Key: []byte{'a' + byte(random.IntN(2))}}
	switch op.Kind {
	case wire.OpPut, wire.OpAppend, wire.OpSwap:
		op.Value = value
	case wire.OpIncrement, wire.OpAdd:
		op.Delta = 1 - int64(random.IntN(3))
	case wire.OpCompareAndSet:
		op.Value = []byte("word")
		op.Compares = []wire.Compare{{
			Key: op.Key, Value: value, Version: uint64(random.IntN(3)),
			Target:   wire.CompareTarget(1 + random.IntN(2)),
			Relation: wire.CompareRelation(1 + random.IntN(4)),
		}}
	}
	return op
}

// ranges draws operations on ranges of three keys, and on single ones.
func ranges(random *rand.Rand, i int) wire.Op {
	from := []string{"", "a", "b"}[random.IntN(3)]
	op := wire.Op{Key: []byte(from), End: []byte([]string{"c", "d", ""}[random.IntN(3)]), Limit: uint64(random.IntN(4))}
	switch random.IntN(8) {
	case 0:
		op.Kind = wire.OpDeleteRange
		if random.IntN(4) == 0 {
			op.Kind = wire.OpForgetRange
		}
	case 1, 2:
		op.Kind, op.Options = wire.OpRange, wire.RangeOptions(random.IntN(3))
	case 3:
		return wire.Op{
			Kind: wire.OpTxn,
			Compares: []wire.Compare{{
				Key: op.Key, End: op.End, Target: wire.CompareCount, Version: op.Limit,
				Relation: wire.CompareRelation(1 + random.IntN(4)),
			}},
			Then: []wire.Op{{Kind: wire.OpRange, Key: op.Key, End: op.End}, everything(random, i)},
			Else: []wire.Op{everything(random, i), {Kind: wire.OpDeleteRange, Key: op.Key, End: op.End}},
		}
	default:
		op = everything(random, i)
		op.Key = []byte{'a' + byte(random.IntN(3))}
		if len(op.Compares) > 0 {
			op.Compares[0].Key = op.Key
		}
	}
	return op
}

// TestRanges: the model agrees with the machine, and so does the order read off the results.
func TestRanges(t *testing.T) {
	for seed := range uint64(50) {
		history := generate(t, seed, 4, 100, ranges)
		if report := verdict(t, history); report.Verdict != Linearizable || report.Keys != 1 {
			t.Fatalf("seed %d: %+v", seed, report)
		}
		if report, err := CheckOrder(history); err != nil || report.Verdict != Linearizable {
			t.Fatalf("seed %d: the order: %+v, %v", seed, report, err)
		}
		for _, key := range ByKey(history) {
			if report := verdict(t, key); report.Verdict != Linearizable {
				t.Fatalf("seed %d: by itself: %+v", seed, report)
			}
		}
	}
}

// TestPlantedViolationsOfRanges damages a correct history of ranges in one place each.
func TestPlantedViolationsOfRanges(t *testing.T) {
	good := generate(t, 5, 4, 100, ranges)
	page := func(from int, pairs int) int {
		return find(good, from, func(o *Operation) bool { return o.Op.Kind == wire.OpRange && len(o.Result.Pairs) >= pairs })
	}
	for name, damage := range map[string]func(h []Operation){
		"key left out": func(h []Operation) {
			r := &h[page(40, 2)].Result
			r.Pairs, r.Count = r.Pairs[1:], r.Count-1
		},
		"key that is not there": func(h []Operation) {
			r := &h[page(40, 1)].Result
			r.Pairs = append(slices.Clone(r.Pairs), wire.Pair{Key: []byte("bb"), Version: 1})
			r.Count++
		},
		"version that was never": func(h []Operation) {
			r := &h[page(40, 1)].Result
			r.Pairs = slices.Clone(r.Pairs)
			r.Pairs[0].Version += 1000
		},
		"count of deleted": func(h []Operation) {
			h[find(good, 40, func(o *Operation) bool { return o.Op.Kind == wire.OpDeleteRange })].Result.Count += 9
		},
	} {
		t.Run(name, func(t *testing.T) {
			history := slices.Clone(good)
			damage(history)
			if report := verdict(t, history); report.Verdict != Illegal {
				t.Errorf("%v: %s", report.Verdict, report.Detail)
			}
		})
	}
}

// TestBarrenRange: nobody ever named a key in it.
func TestBarrenRange(t *testing.T) {
	o := Operation{Op: wire.Op{Kind: wire.OpRange}, Outcome: wire.OutcomeApplied, Result: wire.Result{Status: wire.OpOK}}
	if report := verdict(t, []Operation{o}); report.Verdict != Linearizable || report.Keys != 0 {
		t.Errorf("%+v", report)
	}
}

func verdict(t *testing.T, operations []Operation) Report {
	t.Helper()
	report, err := Check(operations, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestHotKeyIsCheckable(t *testing.T) {
	operations := generate(t, 1, 50, 20_000, getsAndPuts)
	report := verdict(t, operations)
	if report.Verdict != Linearizable || report.Operations != len(operations) || report.Keys != 1 {
		t.Errorf("%+v", report)
	}
}

func TestEveryOperation(t *testing.T) {
	for seed := range uint64(50) {
		if report := verdict(t, generate(t, seed, 4, 200, everything)); report.Verdict != Linearizable {
			t.Fatalf("seed %d: %+v", seed, report)
		}
	}
}

// TestPlantedViolations damages a long correct history in one place each.
func TestPlantedViolations(t *testing.T) {
	good := generate(t, 7, 20, 6000, getsAndPuts)
	// Those that the damage is about: far apart in time, so that they cannot have overlapped.
	put := find(good, 2000, func(o *Operation) bool { return o.Op.Kind == wire.OpPut })
	later := find(good, 4000, func(o *Operation) bool { return o.Op.Kind == wire.OpPut })
	get := find(good, 4000, func(o *Operation) bool { return o.Op.Kind == wire.OpGet })
	for _, c := range []struct {
		name   string
		damage func(h []Operation)
	}{
		{"stale read", func(h []Operation) {
			h[get].Result.Version, h[get].Result.Value = h[put].Result.Version, h[put].Op.Value
		}},
		{"read from the future", func(h []Operation) {
			early := find(h, 1000, func(o *Operation) bool { return o.Op.Kind == wire.OpGet })
			h[early].Result.Version, h[early].Result.Value = h[later].Result.Version, h[later].Op.Value
		}},
		{"read of nothing", func(h []Operation) { h[get].Result = wire.Result{Status: wire.OpOK} }},
		{"value that nobody wrote", func(h []Operation) { h[get].Result.Value = []byte("phantom") }},
		{"value of another version", func(h []Operation) { h[get].Result.Value = h[put].Op.Value }},
		{"lost update", func(h []Operation) { h[later].Outcome = wire.OutcomeNotApplied }},
		{"duplicate version", func(h []Operation) { h[later].Result.Version-- }},
		{"reordered writes", func(h []Operation) {
			h[put].Result.Version, h[later].Result.Version = h[later].Result.Version, h[put].Result.Version
		}},
		{"version from nowhere", func(h []Operation) { h[later].Result.Version = 1 << 60 }},
		{"version zero", func(h []Operation) { h[later].Result.Version = 0 }},
		{"failed put", func(h []Operation) { h[put].Result.Status = wire.OpCompareFailed }},
	} {
		t.Run(c.name, func(t *testing.T) {
			history := slices.Clone(good)
			c.damage(history)
			report := verdict(t, history)
			if report.Verdict != Illegal || report.Key != "hot" || report.Detail == "" {
				t.Errorf("%v: %s", report.Verdict, report.Detail)
			}
		})
	}
}

func find(operations []Operation, from int, want func(*Operation) bool) int {
	for i := from; ; i++ {
		if o := &operations[i]; o.Outcome == wire.OutcomeApplied && want(o) {
			return i
		}
	}
}

// script builds short histories of one key.
type script struct{ operations []Operation }

func (s *script) add(kind wire.OpKind, value string, call, end time.Duration) *Operation {
	s.operations = append(s.operations, Operation{
		Client: len(s.operations), Op: wire.Op{Kind: kind, Key: []byte("k"), Value: []byte(value)},
		Outcome: wire.OutcomeApplied, Call: call, Return: end,
	})
	return &s.operations[len(s.operations)-1]
}

func (s *script) put(value string, version uint64, call, end time.Duration) {
	s.add(wire.OpPut, value, call, end).Result = wire.Result{Status: wire.OpOK, Found: true, Version: version}
}

func (s *script) get(value string, version uint64, call, end time.Duration) {
	s.add(wire.OpGet, "", call, end).Result = wire.Result{
		Status: wire.OpOK, Found: version > 0, Value: []byte(value), Version: version,
	}
}

func (s *script) unknown(value string, call time.Duration) {
	s.add(wire.OpPut, value, call, call).Outcome = wire.OutcomeUnknown
}

func TestShortHistories(t *testing.T) {
	for _, c := range []struct {
		name string
		want Verdict
		tell func(s *script)
	}{
		{"nothing", Linearizable, func(*script) {}},
		{"in turn", Linearizable, func(s *script) {
			s.get("", 0, 0, 1)
			s.put("a", 1, 2, 3)
			s.get("a", 1, 4, 5)
		}},
		{"overlapping read, before or after", Linearizable, func(s *script) {
			s.put("a", 1, 0, 10)
			s.get("", 0, 1, 9)
			s.get("a", 1, 1, 9)
		}},
		{"bounds count as overlap", Linearizable, func(s *script) {
			s.put("a", 1, 0, 5)
			s.get("", 0, 5, 6)
		}},
		{"new, then old", Illegal, func(s *script) {
			s.put("a", 1, 0, 10)
			s.get("a", 1, 1, 2)
			s.get("", 0, 3, 4)
		}},
		{"unknown that was seen", Linearizable, func(s *script) {
			s.unknown("a", 0)
			s.get("a", 1, 50, 51)
		}},
		{"unknown that was not", Linearizable, func(s *script) {
			s.unknown("a", 0)
			s.get("", 0, 50, 51)
			s.put("b", 1, 52, 53)
		}},
		{"unknown that shows in a version", Linearizable, func(s *script) {
			s.unknown("a", 0)
			s.put("b", 2, 50, 51)
		}},
		{"unknown that took effect late", Linearizable, func(s *script) {
			s.unknown("a", 0)
			s.put("b", 1, 50, 51)
			s.get("a", 2, 60, 61)
		}},
		{"the right ones of several unknown", Linearizable, func(s *script) {
			s.unknown("a", 40)
			s.unknown("b", 30)
			s.unknown("c", 0)
			s.put("d", 2, 10, 20)
			s.get("a", 3, 50, 51)
			s.put("e", 5, 60, 61)
		}},
		{"unknown that was seen, and then not", Illegal, func(s *script) {
			s.unknown("a", 0)
			s.get("a", 1, 10, 11)
			s.get("", 0, 20, 21)
		}},
		{"unknown that began too late", Illegal, func(s *script) {
			s.put("b", 2, 10, 20)
			s.unknown("a", 30)
		}},
		{"unknown that took effect twice", Illegal, func(s *script) {
			s.unknown("a", 0)
			s.put("b", 2, 10, 11)
			s.get("a", 3, 20, 21)
		}},
		{"not applied, but seen", Illegal, func(s *script) {
			s.add(wire.OpPut, "a", 0, 5).Outcome = wire.OutcomeNotApplied
			s.get("a", 1, 10, 11)
		}},
		{"reads that nobody has the answer of", Linearizable, func(s *script) {
			s.add(wire.OpGet, "", 0, 5).Outcome = wire.OutcomeUnknown
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s script
			c.tell(&s)
			if report := verdict(t, s.operations); report.Verdict != c.want {
				t.Errorf("%v, want %v: %s", report.Verdict, c.want, report.Detail)
			}
		})
	}
}

// TestPlacingAgreesWithSearching compares the two ways on short histories, most of them wrong.
func TestPlacingAgreesWithSearching(t *testing.T) {
	verdicts := map[Verdict]int{}
	for seed := range uint64(4000) {
		random := rand.New(rand.NewPCG(seed, 2))
		history := generate(t, seed, 3, 8, getsAndPuts)
		for range random.IntN(3) {
			o := &history[random.IntN(len(history))]
			switch random.IntN(4) {
			case 0:
				o.Outcome = wire.OutcomeUnknown
			case 1:
				o.Result.Version = uint64(random.IntN(5))
			case 2:
				o.Result.Value = []byte("value 3")
			case 3:
				o.Call, o.Return = o.Call/2, o.Return/2
			}
		}
		keys, err := byKey(history)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			placed, detail, _ := k.check(time.Now().Add(time.Minute))
			whole := piece{operations: k.operations}
			searched := whole.check(time.Now().Add(time.Minute))
			if placed != searched {
				t.Fatalf("seed %d: placing says %v, searching %v: %s\n%s", seed, placed, searched, detail, sample(k.operations))
			}
			verdicts[placed]++
		}
	}
	if verdicts[Linearizable] < 500 || verdicts[Illegal] < 500 {
		t.Errorf("verdicts %v: the histories are too much alike", verdicts)
	}
}

func TestNoTime(t *testing.T) {
	report, err := Check(generate(t, 1, 3, 10, getsAndPuts), 0)
	if err != nil || report.Verdict != Undecided || report.Key != "hot" {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestRefused(t *testing.T) {
	get := wire.Op{Kind: wire.OpGet, Key: []byte("k")}
	for _, c := range []struct {
		name string
		o    Operation
		why  string
	}{
		{"empty transaction", Operation{Op: wire.Op{Kind: wire.OpTxn}, Outcome: wire.OutcomeApplied}, "without a key"},
		{"nested transaction", Operation{
			Op: wire.Op{Kind: wire.OpTxn, Then: []wire.Op{get, {Kind: wire.OpTxn}}}, Outcome: wire.OutcomeApplied,
		}, "inside a transaction"},
		{"kind", Operation{Op: wire.Op{Kind: 99}, Outcome: wire.OutcomeApplied}, "kind 99"},
		{"no outcome", Operation{Op: get}, "outcome 0"},
		{"backwards", Operation{Op: get, Outcome: wire.OutcomeApplied, Call: 2, Return: 1}, "before it was called"},
		{"compare-and-set of nothing", Operation{
			Op: wire.Op{Kind: wire.OpCompareAndSet}, Outcome: wire.OutcomeApplied,
		}, "need one"},
	} {
		if _, err := Check([]Operation{c.o}, time.Second); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want an error about %q", c.name, err, c.why)
		}
	}
}

func TestRecorder(t *testing.T) {
	var recorder Recorder
	var wg sync.WaitGroup
	for client := range 4 {
		wg.Go(func() {
			for range 100 {
				recorder.Add(Operation{Client: client})
			}
		})
	}
	wg.Wait()
	operations := recorder.Operations()
	if len(operations) != 400 {
		t.Fatalf("%d operations", len(operations))
	}
	operations[0].Client = -1
	if recorder.Operations()[0].Client == -1 {
		t.Error("the copy is not one")
	}
}

func TestReportNamesOperations(t *testing.T) {
	var s script
	s.put("a", 1, 0, 1)
	s.get("", 0, 2, 3)
	report := verdict(t, s.operations)
	for _, text := range []string{`client 0, 0s to 1ns: put "a" -> version 1`, "client 1, 2ns to 3ns: get"} {
		if !strings.Contains(report.Detail, text) {
			t.Errorf("no %q in %s", text, report.Detail)
		}
	}
	if got := report.Verdict.String(); got != "not linearizable" {
		t.Errorf("the verdict reads %q", got)
	}
}
