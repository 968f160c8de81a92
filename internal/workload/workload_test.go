package workload

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/264bc8cf/epaxos/internal/wire"
)

func source(spec *Spec, region int) *Source {
	stream := func(which uint64) *rand.Rand { return rand.New(rand.NewPCG(uint64(region), which)) }
	return NewSource(spec, region, Streams{Arrivals: stream(1), Keys: stream(2)})
}

func basic() Spec {
	return Spec{Load: Load{Rate: 50}, Conflict: 20, Keys: 1000, Writes: 100, Value: 16}
}

const draws = 20_000

// shares of the keys that ops name, and of their kinds, in percent.
func shares(s *Source) (keys map[string]float64, kinds map[wire.OpKind]float64) {
	keys, kinds = map[string]float64{}, map[wire.OpKind]float64{}
	for range draws {
		op := s.Draw()
		kinds[op.Kind] += 100.0 / draws
		if op.Kind != wire.OpTxn {
			keys[string(op.Key)] += 100.0 / draws
		}
	}
	return keys, kinds
}

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if math.Abs(got-want) > within {
		t.Errorf("%s: %.2f, want about %.2f", what, got, want)
	}
}

// TestHotKey: the conflict rate is the share of one key, and no other key is shared by regions.
func TestHotKey(t *testing.T) {
	spec := basic()
	first, _ := shares(source(&spec, 0))
	second, _ := shares(source(&spec, 1))
	near(t, "hot key", first[hotKey], 20, 1)
	for key := range first {
		if key != hotKey && (second[key] > 0 || !strings.HasPrefix(key, "1-")) {
			t.Fatalf("key %q is of another region", key)
		}
	}
}

func TestPopularity(t *testing.T) {
	spec := basic()
	spec.Conflict, spec.Zipf = 0, 1
	keys, _ := shares(source(&spec, 0))
	harmonic := 0.0
	for i := 1; i <= spec.Keys; i++ {
		harmonic += 1 / float64(i)
	}
	near(t, "first key", keys["key 0"], 100/harmonic, 1)
	near(t, "second key", keys["key 1"], 50/harmonic, 1)

	spec.Zipf, spec.Shared, spec.Keys = 0, true, 10
	keys, _ = shares(source(&spec, 0))
	for i := range spec.Keys {
		near(t, "a key of ten", keys[fmt.Sprintf("key %d", i)], 10, 1)
	}
	spec.Conflict = 40
	keys, _ = shares(source(&spec, 0))
	near(t, "hot beside shared keys", keys[hotKey], 40, 1.5)
	near(t, "a shared key beside the hot one", keys["key 3"], 6, 1)
}

func TestMix(t *testing.T) {
	spec := basic()
	spec.Writes, spec.Adds, spec.Txns = 40, 30, 10
	s := source(&spec, 2)
	_, kinds := shares(s)
	near(t, "puts", kinds[wire.OpPut], 40, 1.5)
	near(t, "adds", kinds[wire.OpAdd], 30, 1.5)
	near(t, "transactions", kinds[wire.OpTxn], 10, 1)
	near(t, "gets", kinds[wire.OpGet], 20, 1.5)
	values := map[string]bool{}
	for range 1000 {
		op := s.Draw()
		switch op.Kind {
		case wire.OpAdd:
			if !bytes.HasSuffix(op.Key, []byte(counterMark)) || op.Delta != 1 {
				t.Fatalf("an add of %d to %q", op.Delta, op.Key)
			}
		case wire.OpTxn:
			if len(op.Then) != txnKeys {
				t.Fatalf("a transaction of %d operations", len(op.Then))
			}
		case wire.OpPut:
			if values[string(op.Value)] || len(op.Value) != 16 {
				t.Fatalf("value %x comes twice, or has another length", op.Value)
			}
			values[string(op.Value)] = true
		}
		if _, err := wire.DecodeOp(wire.AppendOp(nil, &op)); err != nil {
			t.Fatalf("%+v cannot be sent: %v", op, err)
		}
	}
}

// TestSameStreamsSameRequests: and a draw of keys does not move arrivals.
func TestSameStreamsSameRequests(t *testing.T) {
	spec := basic()
	a, b := source(&spec, 3), source(&spec, 3)
	for i := range 1000 {
		x, y := a.Draw(), b.Draw()
		if !bytes.Equal(wire.AppendOp(nil, &x), wire.AppendOp(nil, &y)) {
			t.Fatalf("request %d differs", i)
		}
	}
	a.Draw()
	sum := 0.0
	for range draws {
		wait := a.Wait()
		if wait != b.Wait() || wait < 0 {
			t.Fatal("arrivals depend on what was asked for")
		}
		sum += wait.Seconds()
	}
	near(t, "requests a second", draws/sum, 50, 1.5)
	if s := a.Stagger(); s < 0 || s.Seconds() > 1 {
		t.Errorf("a client begins after %v", s)
	}
}

func TestParseLoad(t *testing.T) {
	for _, text := range []string{"open:50", "open:0.5", "closed:10"} {
		if l, err := ParseLoad(text); err != nil || l.String() != text {
			t.Errorf("%s became %v, %v", text, l, err)
		}
	}
	for _, text := range []string{"", "open", "open:0", "open:NaN", "open:-1", "closed:1.5", "closed:1e9", "half:3"} {
		if l, err := ParseLoad(text); err == nil {
			t.Errorf("%q was read as %v", text, l)
		}
	}
}

func TestValidate(t *testing.T) {
	spec := basic()
	if err := spec.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Spec){
		"conflict":    func(s *Spec) { s.Conflict = 101 },
		"no number":   func(s *Spec) { s.Adds = math.NaN() },
		"sum":         func(s *Spec) { s.Adds = 1 },
		"negative":    func(s *Spec) { s.Writes = -1 },
		"exponent":    func(s *Spec) { s.Zipf = 6 },
		"no keys":     func(s *Spec) { s.Shared, s.Keys = true, 0 },
		"many keys":   func(s *Spec) { s.Zipf, s.Keys = 1, keysMax+1 },
		"value":       func(s *Spec) { s.Value = valueMax + 1 },
		"two loads":   func(s *Spec) { s.Load.Clients = 1 },
		"no load":     func(s *Spec) { s.Load = Load{} },
		"minus a way": func(s *Spec) { s.Load.Rate = -1 },
	} {
		spec := basic()
		spoil(&spec)
		if spec.Validate() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
