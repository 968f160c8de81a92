package execution

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

func TestRanges(t *testing.T) {
	limited := func(op wire.Op, limit uint64, options wire.RangeOptions) wire.Op {
		op.Limit, op.Options = limit, options
		return op
	}
	b := newKV(t)
	for _, key := range []string{"a1", "a2", "a3", "b"} {
		b.do(put(key, "of "+key))
	}
	b.do(put("a2", "again"))
	b.do(remove("b"))
	for i, step := range []struct {
		op   wire.Op
		want string
	}{
		{readRange("a", "b"), `ok v0 "" none a1=of a1@1 a2=again@2 a3=of a3@1 3 keys`},
		{readRange("", ""), `ok v0 "" none a1=of a1@1 a2=again@2 a3=of a3@1 3 keys`},
		{limited(readRange("a", "b"), 2, 0), `ok v0 "" none a1=of a1@1 a2=again@2 2 keys next a3`},
		{limited(readRange("a", "b"), 3, 0), `ok v0 "" none a1=of a1@1 a2=again@2 a3=of a3@1 3 keys`},
		{limited(readRange("a3", "b"), 2, wire.RangeKeys), `ok v0 "" none a3=@1 1 keys`},
		{limited(readRange("a", ""), 0, wire.RangeCount), `ok v0 "" none 3 keys`},
		{readRange("b", ""), `ok v0 "" none`}, // what is deleted is not there
		{limited(deleteRange("a", "b"), 1, 0), `ok v0 "" none 1 keys next a2`},
		{deleteRange("a", "a3"), `ok v0 "" none 1 keys`},
		{deleteRange("a", "a3"), `ok v0 "" none`},
		{put("a2", "third life"), `ok v4 ""`},
		{readRange("", ""), `ok v0 "" none a2=third life@4 a3=of a3@1 2 keys`},
		{limited(forgetRange("", ""), 1, 0), `ok v0 "" none 1 keys next b`}, // a1
		{put("a1", "anew"), `ok v1 ""`},
		{forgetRange("", ""), `ok v0 "" none 1 keys`}, // b
		{put("a2", "goes on"), `ok v5 ""`},
	} {
		if got := short(b.do(step.op)); got != step.want {
			t.Errorf("step %d: got %s, want %s", i, got, step.want)
		}
	}
}

// TestConditionsOnRanges: emptiness, and counts on both sides of every relation.
func TestConditionsOnRanges(t *testing.T) {
	b := newKV(t)
	b.do(put("q/1", ""))
	b.do(put("q/2", ""))
	b.do(put("q/3", ""))
	b.do(remove("q/3"))
	for _, c := range []struct {
		compare wire.Compare
		want    bool
	}{
		{count("q/", "q0", wire.Equal, 2), true},
		{count("q/", "q0", wire.Equal, 1), false},
		{count("q/", "q0", wire.NotEqual, 2), false},
		{count("q/", "q0", wire.NotEqual, 3), true},
		{count("q/", "q0", wire.Less, 3), true},
		{count("q/", "q0", wire.Less, 2), false},
		{count("q/", "q0", wire.Greater, 1), true},
		{count("q/", "q0", wire.Greater, 2), false},
		{count("r/", "", wire.Equal, 0), true},
		{count("", "", wire.Equal, 0), false},
		{count("q/", "q0", wire.Less, math.MaxUint64), true},
	} {
		txn := wire.Op{Kind: wire.OpTxn, Compares: []wire.Compare{c.compare}, Then: []wire.Op{get("q/1")}}
		if got := b.do(txn); got.Succeeded != c.want {
			t.Errorf("%+v: %t", c.compare, got.Succeeded)
		}
	}
}

// TestRangesInTransactions see what the operations before them did.
func TestRangesInTransactions(t *testing.T) {
	b := newKV(t)
	b.do(put("a", "1"))
	got := b.do(wire.Op{Kind: wire.OpTxn, Then: []wire.Op{
		put("b", "2"), readRange("", ""), deleteRange("a", "b"), put("c", "3"), readRange("a", ""),
		add("n", 2), readRange("n", ""),
	}})
	want := []string{
		`ok v1 ""`, `ok v0 "" none a=1@1 b=2@1 2 keys`, `ok v0 "" none 1 keys`, `ok v1 ""`,
		`ok v0 "" none b=2@1 c=3@1 2 keys`, `ok v0 ""`, `ok v0 "" none n=2@1 1 keys`,
	}
	for i := range got.Results {
		if text := short(got.Results[i]); text != want[i] {
			t.Errorf("operation %d: got %s, want %s", i, text, want[i])
		}
	}
}

// TestRangeAnswersAreBounded: pages that follow one another show every key once, and each fits in a frame.
func TestRangeAnswersAreBounded(t *testing.T) {
	b := newKV(t)
	value := strings.Repeat("x", wire.ValueMax)
	for i := range 5 {
		b.do(put(fmt.Sprintf("k%d", i), value))
	}
	var keys []string
	pages := 0
	for op := readRange("k", "l"); ; pages++ {
		r := b.do(op)
		size := 0
		for _, p := range r.Pairs {
			keys = append(keys, string(p.Key))
			size += len(p.Key) + len(p.Value)
		}
		if size > wire.ResultMax || len(r.Pairs) == 0 {
			t.Fatalf("page %d has %d keys and %d bytes", pages, len(r.Pairs), size)
		}
		if r.Next == nil {
			break
		}
		op.Key = r.Next
	}
	if want := []string{"k0", "k1", "k2", "k3", "k4"}; !slices.Equal(keys, want) || pages < 2 {
		t.Errorf("got %q in %d pages", keys, pages+1)
	}
	// All operations of a transaction share one budget.
	got := b.do(wire.Op{Kind: wire.OpTxn, Then: []wire.Op{get("k0"), readRange("k", "l"), get("k1")}})
	first, pairs, last := got.Results[0], got.Results[1], got.Results[2]
	if len(first.Value) != wire.ValueMax || len(pairs.Pairs) != 0 || string(pairs.Next) != "k0" ||
		len(last.Value) != wire.ValueMax {
		t.Errorf("%d bytes, then %d pairs and next %s, then %d bytes",
			len(first.Value), len(pairs.Pairs), pairs.Next, len(last.Value))
	}
}

// TestRangeWorkIsBounded: deleted keys count too, since nobody sees how many there are.
func TestRangeWorkIsBounded(t *testing.T) {
	b := newKV(t)
	for i := range wire.ScanMax + 2 {
		b.state.Put(epaxos.SpaceState, fmt.Sprintf("k%05d", i), deletedRecord(1))
	}
	first := fmt.Sprintf("k%05d", wire.ScanMax)
	if got, want := short(b.do(readRange("", ""))), `ok v0 "" none next `+first; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := short(b.do(deleteRange("k", ""))), `ok v0 "" none next `+first; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	txn := wire.Op{
		Kind: wire.OpTxn, Compares: []wire.Compare{count("", "", wire.Equal, 0)},
		Then: []wire.Op{put("then", "")}, Else: []wire.Op{put("else", "")},
	}
	if got := b.do(txn); got.Status != wire.OpLimited || got.Results != nil {
		t.Errorf("a condition that cannot be decided: %+v", got)
	}
	for _, branch := range []string{"then", "else"} {
		if b.do(get(branch)).Found {
			t.Errorf("it carried out %s", branch)
		}
	}
	most := wire.GrowthMax / (deleteBytes + len("k00000"))
	got := b.do(forgetRange("k1", ""))
	if got.Count != uint64(most) || string(got.Next) != fmt.Sprintf("k%05d", 10_000+most) {
		t.Errorf("forgot %d, next %s, want %d", got.Count, got.Next, most)
	}
}

// TestGrowthIsBounded: a short request must not write more than a batch of the store takes.
func TestGrowthIsBounded(t *testing.T) {
	b := newKV(t)
	half := strings.Repeat("x", wire.ValueMax/2)
	b.do(put("a", half))
	b.do(put("b", half))
	if got, want := short(b.do(appendTo("a", half+"x"))), `limited v1 ""`; got != want {
		t.Errorf("beyond a value's limit: got %s, want %s", got, want)
	}
	got := b.do(wire.Op{Kind: wire.OpTxn, Then: []wire.Op{appendTo("a", "x"), appendTo("b", "x"), appendTo("c", "x")}})
	want := []string{`ok v2 ""`, `limited v1 ""`, `ok v1 ""`}
	for i := range want {
		if text := short(got.Results[i]); text != want[i] {
			t.Errorf("append %d: got %s, want %s", i, text, want[i])
		}
	}
	many := 2 * wire.GrowthMax / deleteBytes
	for i := range many {
		b.state.Put(epaxos.SpaceState, fmt.Sprintf("k%05d", i), (&record{found: true, version: 1}).saved())
	}
	left := uint64(many)
	for op := deleteRange("k", "l"); ; {
		r := b.do(op)
		if r.Count == 0 || r.Count*deleteBytes > wire.GrowthMax {
			t.Fatalf("deleted %d keys at once", r.Count)
		}
		if left -= r.Count; r.Next == nil {
			break
		}
		op.Key = r.Next
	}
	if left != 0 {
		t.Errorf("%d keys are left", left)
	}
}

// TestScanMergesWhatIsNotSaved: what a scan shows is what Get shows, wherever it is.
func TestScanMergesWhatIsNotSaved(t *testing.T) {
	keys := []string{"a", "b", "ba", "c", "\xff", "\xff\xff"}
	rapid.Check(t, func(t *rapid.T) {
		store := newMemory()
		s := NewState(store)
		s.LimitCache(rapid.IntRange(0, 500).Draw(t, "cache"))
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			key := rapid.SampledFrom(keys).Draw(t, "key")
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0, 1:
				s.Put(epaxos.SpaceState, key, []byte(rapid.StringN(0, 3, 3).Draw(t, "value")))
			case 2:
				s.Delete(epaxos.SpaceState, key)
			case 3:
				s.Put(epaxos.SpaceSession, key, []byte("of another space"))
			case 4:
				store.save(s.Take())
			case 5:
				s.Saved()
			}
		}
		from := rapid.SampledFrom(append(keys, "")).Draw(t, "from")
		to := rapid.SampledFrom(append(keys, "")).Draw(t, "to")
		enough := rapid.IntRange(1, len(keys)).Draw(t, "enough")
		var got, want []string
		err := s.Scan(epaxos.SpaceState, from, to, func(key string, value []byte) bool {
			got = append(got, fmt.Sprintf("%x=%x", key, value))
			return len(got) < enough
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			value, found, _ := s.Get(epaxos.SpaceState, key)
			if found && key >= from && (to == "" || key < to) && len(want) < enough {
				want = append(want, fmt.Sprintf("%x=%x", key, value))
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("from %q to %q: got %q, want %q", from, to, got, want)
		}
	})
}

// TestScanOfABrokenStore stops the replica.
func TestScanOfABrokenStore(t *testing.T) {
	store := newMemory()
	store.err = errors.New("the disk is gone")
	op := readRange("", "")
	f := epaxos.Footprint{{Mode: epaxos.Read, Range: true}}
	if _, err := NewState(store).Run(KV{}, f, wire.AppendOp(nil, &op)); !errors.Is(err, store.err) {
		t.Errorf("got %v", err)
	}
}

// TestAddTellsNothing that depends on the order: the view lets a request that only adds do nothing else.
func TestAddTellsNothing(t *testing.T) {
	b := newKV(t)
	b.do(put("n", "40"))
	if got, want := short(b.do(add("n", 2))), `ok v0 ""`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := short(b.do(get("n"))), `ok v2 "42"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	b.do(put("n", fmt.Sprint(math.MaxInt64)))
	b.do(add("n", 1))
	if got, want := short(b.do(get("n"))), fmt.Sprintf("ok v4 %q", fmt.Sprint(math.MinInt64)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, _, err := (KV{}).Merge(nil, false, []byte("short")); err == nil {
		t.Error("an operand that is no number was merged")
	}
	op := increment("n", 1)
	if _, err := b.state.Run(KV{}, accesses(epaxos.Add, "n"), wire.AppendOp(nil, &op)); !errors.Is(err, ErrFootprint) {
		t.Errorf("an increment that tells the sum ran as an add: %v", err)
	}
}

// TestMergeFaults: a machine without Merge, one that fails, and a store that does.
func TestMergeFaults(t *testing.T) {
	s := NewState(newMemory())
	f := accesses(epaxos.Add, "k")
	if _, err := s.Run(mergeless{}, f, nil); err == nil {
		t.Error("a machine without Merge merged")
	}
	s.Put(epaxos.SpaceState, "k", []byte("broken"))
	if _, err := s.Run(script{}, f, []byte("merge k x")); err == nil {
		t.Error("a fault of Merge passed")
	}
	store := newMemory()
	store.err = errors.New("the disk is gone")
	if _, err := NewState(store).Run(script{}, f, []byte("merge k x")); !errors.Is(err, store.err) {
		t.Errorf("got %v", err)
	}
}

// mergeless adds without being able to.
type mergeless struct{}

func (mergeless) Footprint([]byte) (epaxos.Footprint, error) { return nil, nil }

func (mergeless) Apply(view View, _ []byte) ([]byte, error) {
	view.Merge("k", nil)
	return nil, nil
}
