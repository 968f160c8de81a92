package execution_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// do carries out an operation of the key-value machine in a command of its own.
func (s *sessions) do(op wire.Op) wire.Result {
	s.t.Helper()
	payload := wire.AppendOp(nil, &op)
	footprint, err := execution.KV{}.Footprint(payload)
	if err != nil {
		s.t.Fatal(err)
	}
	value := s.perform(s.next(), &epaxos.Command{Requests: []epaxos.Request{{Payload: payload}}, Footprint: footprint}).Value
	result, err := wire.DecodeResult(value)
	if err != nil {
		s.t.Fatal(err)
	}
	return result
}

func putUnder(key string, lease epaxos.InstanceID) wire.Op {
	return wire.Op{Kind: wire.OpPut, Key: []byte(key), Value: []byte("v"), Lease: lease}
}

func (s *sessions) put(key string, lease epaxos.InstanceID) {
	s.t.Helper()
	if r := s.do(putUnder(key, lease)); r.Status != wire.OpOK {
		s.t.Fatalf("put %q under %v: %+v", key, lease, r)
	}
}

func (s *sessions) look(key string) wire.Result {
	s.t.Helper()
	return s.do(wire.Op{Kind: wire.OpGet, Key: []byte(key)})
}

// operate carries out an operation on a lease as a replica proposes it that has seen these keys on its books.
func (s *sessions) operate(lease epaxos.InstanceID, op wire.SessionOp, seen []string) wire.SessionResult {
	s.t.Helper()
	request := epaxos.Request{Session: lease, Payload: wire.AppendSessionOp(nil, &op)}
	result, err := wire.DecodeSessionResult(s.perform(s.next(), &epaxos.Command{
		Requests:  []epaxos.Request{request},
		Footprint: execution.SessionFootprint(&request, execution.BooksFootprint(op.Kind, seen)),
	}).Value)
	if err != nil {
		s.t.Fatal(err)
	}
	return result
}

func (s *sessions) books(lease epaxos.InstanceID) []string {
	s.t.Helper()
	keys, err := s.state.Books(lease)
	if err != nil {
		s.t.Fatal(err)
	}
	return keys
}

// TestEndOfALease: rule T2, case by case, and what each operation does to the lease of a key.
func TestEndOfALease(t *testing.T) {
	for _, kind := range []wire.SessionKind{wire.SessionExpire, wire.SessionClose} {
		s := newSessions(t)
		lease, other := s.open(), s.open()
		number := wire.Op{Kind: wire.OpPut, Key: []byte("counter"), Value: []byte("1"), Lease: lease}
		s.do(number)
		stays := map[string]bool{}
		for _, c := range []struct {
			name  string
			op    wire.Op // on a key under the lease
			stays bool
		}{
			{"left alone", wire.Op{Kind: wire.OpGet}, false},
			{"put", wire.Op{Kind: wire.OpPut}, true},
			{"put under it", wire.Op{Kind: wire.OpPut, Lease: lease}, false},
			{"put under another", wire.Op{Kind: wire.OpPut, Lease: other}, true},
			{"swapped", wire.Op{Kind: wire.OpSwap}, true},
			{"set", wire.Op{
				Kind: wire.OpCompareAndSet, Compares: []wire.Compare{{Target: wire.CompareVersion, Relation: wire.Greater}},
			}, true},
			{"not set", wire.Op{
				Kind: wire.OpCompareAndSet, Compares: []wire.Compare{{Target: wire.CompareVersion, Relation: wire.Equal}},
			}, false},
			{"appended to", wire.Op{Kind: wire.OpAppend, Value: []byte("w")}, false},
			{"taken and put", wire.Op{Kind: wire.OpTxn, Then: []wire.Op{
				{Kind: wire.OpTake, Key: []byte("taken and put")}, {Kind: wire.OpPut, Key: []byte("taken and put")},
			}}, true},
		} {
			s.put(c.name, lease)
			if c.op.Kind != wire.OpTxn {
				c.op.Key = []byte(c.name)
			}
			s.do(c.op)
			stays[c.name] = c.stays
		}
		for _, kind := range []wire.OpKind{wire.OpIncrement, wire.OpAdd} {
			s.do(wire.Op{Kind: kind, Key: []byte("counter"), Delta: 1})
		}
		stays["counter"] = false
		s.put("deleted", lease)
		s.do(wire.Op{Kind: wire.OpDelete, Key: []byte("deleted")})
		s.put("forgotten", lease)
		s.do(wire.Op{Kind: wire.OpTake, Key: []byte("forgotten")})
		s.do(wire.Op{Kind: wire.OpForgetRange, Key: []byte("forgotten"), End: []byte("forgotten\x00")})
		before := map[string]uint64{}
		for _, key := range s.books(lease) {
			before[key] = s.look(key).Version
		}
		if r := s.operate(lease, wire.SessionOp{Kind: kind}, s.books(lease)); !r.Gone {
			t.Fatalf("the lease does not end: %+v", r)
		}
		for key, want := range stays {
			now := s.look(key)
			if now.Found != want {
				t.Errorf("violation of once: a key that was %s is found %v after the end of its lease", key, now.Found)
			}
			if now.Lease == lease {
				t.Errorf("a key that was %s has a lease that is gone", key)
			}
			s.put(key, epaxos.InstanceID{})
			life := uint64(2)
			if want {
				life = 1
			}
			if again := s.look(key); again.Version != before[key]+life {
				t.Errorf("a key that was %s goes on with version %d after %d", key, again.Version, before[key])
			}
		}
		if left := s.books(lease); len(left) > 0 {
			t.Errorf("the books of a lease that is gone hold %q", left)
		}
		if got := s.look("put under another"); got.Found && !got.Lease.IsZero() {
			t.Errorf("a put without a lease leaves %+v", got)
		}
	}
}

// TestExpiryIsGuarded: rules T3 and T4. An end that was proposed without knowing of a keep-alive, or of a key, does
// nothing.
func TestExpiryIsGuarded(t *testing.T) {
	s := newSessions(t)
	lease := s.open()
	s.put("a", lease)
	s.put("b", lease)
	if r := s.operate(lease, wire.SessionOp{Kind: wire.SessionKeep}, nil); r.Gone || r.Session.Version != 1 {
		t.Fatalf("%+v", r)
	}
	both := []string{"a", "b"}
	for name, r := range map[string]wire.SessionResult{
		"older than a keep-alive": s.operate(lease, wire.SessionOp{Kind: wire.SessionExpire}, both),
		"without a key":           s.operate(lease, wire.SessionOp{Kind: wire.SessionExpire, Version: 1}, both[:1]),
		"closed without a key":    s.operate(lease, wire.SessionOp{Kind: wire.SessionClose}, both[1:]),
	} {
		if r.Gone || !s.look("a").Found || !s.look("b").Found || !slices.Equal(s.books(lease), both) {
			t.Errorf("violation of once: an end that is %s has an effect: %+v", name, r)
		}
	}
	many := append(make([]string, 0, 40), both...)
	for i := range 38 { // a footprint that is searched, not scanned; of keys that are not on the books
		many = append(many, fmt.Sprintf("z%d", i))
	}
	if r := s.operate(lease, wire.SessionOp{Kind: wire.SessionExpire, Version: 1}, many); !r.Gone {
		t.Errorf("the end of the lease: %+v", r)
	}
	if s.look("a").Found || s.look("b").Found {
		t.Error("violation of once: a key outlives its lease")
	}
}

// TestNoLease: a put under a lease that is gone, or never was, has no effect.
func TestNoLease(t *testing.T) {
	s := newSessions(t)
	lease := s.open()
	s.put("k", lease)
	s.operate(lease, wire.SessionOp{Kind: wire.SessionClose}, s.books(lease))
	for _, op := range []wire.Op{
		putUnder("k", lease), putUnder("k", epaxos.InstanceID{Epoch: 9, Replica: 9, Slot: 9}),
		{Kind: wire.OpSwap, Key: []byte("k"), Lease: lease},
		{Kind: wire.OpCompareAndSet, Key: []byte("k"), Lease: lease, Compares: []wire.Compare{{
			Target: wire.CompareVersion, Relation: wire.Equal,
		}}},
	} {
		if r := s.do(op); r.Status != wire.OpLeaseGone || s.look("k").Found {
			t.Errorf("violation of once: kind %d: %+v", op.Kind, r)
		}
	}
	r := s.do(wire.Op{Kind: wire.OpTxn, Then: []wire.Op{putUnder("k", lease), putUnder("other", epaxos.InstanceID{})}})
	if r.Results[0].Status != wire.OpLeaseGone || s.look("k").Found || !s.look("other").Found {
		t.Errorf("in a transaction: %+v", r)
	}
	if r := s.do(wire.Op{
		Kind: wire.OpCompareAndSet, Key: []byte("other"), Lease: lease,
		Compares: []wire.Compare{{Target: wire.CompareVersion, Relation: wire.Equal}},
	}); r.Status != wire.OpCompareFailed {
		t.Errorf("a comparison that fails says %+v, whatever its lease", r)
	}
}

// TestLeaseLimits: a lease takes so many keys and no more; who inspects it makes room for others.
func TestLeaseLimits(t *testing.T) {
	s := newSessions(t)
	lease, long := s.open(), s.open()
	for i := range wire.LeaseKeysMax {
		s.put(fmt.Sprint(i), lease)
	}
	if r := s.do(putUnder("more", lease)); r.Status != wire.OpLimited || s.look("more").Found {
		t.Errorf("key %d: %+v", wire.LeaseKeysMax+1, r)
	}
	s.put("7", lease) // which it has already
	s.put("7", epaxos.InstanceID{})
	s.do(wire.Op{Kind: wire.OpDelete, Key: []byte("8")})
	seen := s.books(lease)
	if stale, err := s.state.Stale(execution.KV{}, lease); err != nil || stale != 2 {
		t.Errorf("%d keys are stale, %v", stale, err)
	}
	r := s.operate(lease, wire.SessionOp{Kind: wire.SessionInspect}, slices.DeleteFunc(seen, func(key string) bool { return key == "8" }))
	if len(r.Keys) != wire.LeaseKeysMax-1 || slices.Contains(r.Keys, "7") || !slices.Contains(r.Keys, "8") {
		t.Errorf("%d keys, 7 among them: %v", len(r.Keys), slices.Contains(r.Keys, "7"))
	}
	s.put("more", lease)
	if r := s.do(putUnder("even more", lease)); r.Status != wire.OpLimited {
		t.Errorf("key %d: %+v", wire.LeaseKeysMax+1, r)
	}
	key := strings.Repeat("k", wire.KeyMax-4)
	for i := range wire.LeaseBytesMax / wire.KeyMax {
		s.put(fmt.Sprintf("%s%04d", key, i), long)
	}
	if r := s.do(putUnder("k", long)); r.Status != wire.OpLimited {
		t.Errorf("a byte more: %+v", r)
	}
	if r := s.operate(long, wire.SessionOp{Kind: wire.SessionClose}, s.books(long)); !r.Gone {
		t.Errorf("a lease with long keys does not end: %+v", r)
	}
}

// TestCompareLease compares what keys end with.
func TestCompareLease(t *testing.T) {
	s := newSessions(t)
	lease, other := s.open(), s.open()
	s.put("leased", lease)
	s.put("free", epaxos.InstanceID{})
	for _, c := range []struct {
		key      string
		relation wire.CompareRelation
		lease    string
		want     bool
	}{
		{"leased", wire.Equal, lease.Key(), true},
		{"leased", wire.Equal, other.Key(), false},
		{"leased", wire.NotEqual, other.Key(), true},
		{"leased", wire.Equal, "", false},
		{"free", wire.Equal, "", true},
		{"free", wire.NotEqual, lease.Key(), true},
		{"absent", wire.Equal, "", true},
		{"absent", wire.Equal, lease.Key(), false},
	} {
		r := s.do(wire.Op{Kind: wire.OpTxn, Compares: []wire.Compare{{
			Key: []byte(c.key), Target: wire.CompareLease, Relation: c.relation, Value: []byte(c.lease),
		}}})
		if r.Succeeded != c.want {
			t.Errorf("%+v: %v", c, r.Succeeded)
		}
	}
}

// TestAttachOutsideTheFootprint: what is not ordered with the lease, or with the key, must not happen (rule T1).
func TestAttachOutsideTheFootprint(t *testing.T) {
	op := putUnder("k", epaxos.InstanceID{Epoch: 1, Replica: 1, Slot: 1})
	payload := wire.AppendOp(nil, &op)
	full, err := execution.KV{}.Footprint(payload)
	if err != nil {
		t.Fatal(err)
	}
	reading := slices.Clone(full)
	reading[1].Mode = epaxos.Read
	for name, c := range map[string]struct {
		machine   execution.StateMachine
		footprint epaxos.Footprint
		stops     bool
	}{
		"all": {execution.KV{}, full, false}, "no lease": {execution.KV{}, full[:1], true},
		"no key": {execution.KV{}, full[1:], true}, "lease to be read": {execution.KV{}, reading, true},
		"machine without leases": {leaseless{}, full, true},
	} {
		s := newSessions(t)
		s.open()
		command := &epaxos.Command{Requests: []epaxos.Request{{Payload: payload}}, Footprint: c.footprint}
		_, err := s.state.Perform(c.machine, &execution.Vertex{ID: s.next(), Command: command})
		if (err != nil) != c.stops {
			t.Errorf("violation of integrity: %s: %v", name, err)
		}
		if c.stops && c.machine == (execution.KV{}) && !errors.Is(err, execution.ErrFootprint) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// leaseless carries out what the bundled machine does, and knows no end of a lease.
type leaseless struct{}

func (leaseless) Footprint(payload []byte) (epaxos.Footprint, error) {
	return execution.KV{}.Footprint(payload)
}

func (leaseless) Apply(view execution.View, payload []byte) ([]byte, error) {
	return execution.KV{}.Apply(view, payload)
}

// TestLeaseFootprint: leases stand behind keys, each once, so that commands on one key stay such.
func TestLeaseFootprint(t *testing.T) {
	lease, other := epaxos.InstanceID{Epoch: 1, Replica: 1, Slot: 1}, epaxos.InstanceID{Epoch: 1, Replica: 2, Slot: 1}
	op := wire.Op{
		Kind:     wire.OpTxn,
		Compares: []wire.Compare{{Key: []byte("z"), Target: wire.CompareCount, Relation: wire.Equal}},
		Then:     []wire.Op{putUnder("b", other), putUnder("a", lease)}, Else: []wire.Op{putUnder("a", lease)},
	}
	got, err := execution.KV{}.Footprint(wire.AppendOp(nil, &op))
	write := func(space epaxos.Space, key string) epaxos.Access {
		return epaxos.Access{Mode: epaxos.Write, Space: space, Key: key}
	}
	want := epaxos.Footprint{
		write(epaxos.SpaceState, "a"), write(epaxos.SpaceState, "b"), {Mode: epaxos.Read, Range: true, Key: "z"},
		write(epaxos.SpaceSession, lease.Key()), write(epaxos.SpaceSession, other.Key()),
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("footprint %+v, %v, want %+v", got, err, want)
	}
}
