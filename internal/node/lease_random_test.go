package node_test

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Tenants hold leases, while everything that turmoil does happens, and while the clocks of replicas run apart, and in
// every other run jump ahead. They keep their leases alive or forget to, put keys under them, move keys from one to
// another, close them, and look at their keys through any replica. What they are told must be what one machine could
// have told that has each lease until one moment, and its keys until the same.

// tenant is who has a lease.
type tenant struct {
	name    int
	lease   epaxos.InstanceID
	ttl     time.Duration
	lazy    int           // of a hundred times that it should keep its lease alive it forgets so many
	until   time.Duration // it knows the lease to live until then
	dead    bool          // somebody was told that the lease is over
	closing bool          // somebody asked to close it
	keys    map[string]bool
}

// mission is what a proposal was for.
type mission struct {
	id   epaxos.ProposalID
	of   *tenant
	from *tenant // whose key is moved
	kind missionKind
	sent time.Duration
	dead bool // the lease was known to be over before this was sent
	key  string
	keys []string // were under the lease before this was sent, and were not moved
}

type missionKind uint8

const (
	toGrant missionKind = iota
	toKeep
	toPut
	toMove
	toRead
	toReadAll
	toClose
	toInspect
	toQuarrel // about keys that all put under leases, or under none
)

// street is the tenants and the cluster.
type street struct {
	*turmoil
	tenants  []*tenant
	sent     []mission
	jumpy    bool
	ended    int // leases
	early    int // that ended while their tenants believed in them, since a clock had jumped
	attached int
	moved    int
}

const (
	tenantsMax  = 4
	quarrelKeys = 3
)

func newStreet(t *testing.T, seed uint64) *street {
	s := &street{turmoil: newTurmoil(t, seed), jumpy: seed%2 == 1}
	for range hostsMax {
		s.fast, s.drift = append(s.fast, 0), append(s.drift, s.rand.IntN(10))
	}
	s.unrest, s.changes, s.uncut = s.unrest/2, 3, true
	return s
}

// live is the leases that are not known to be over.
func (s *street) live() []*tenant {
	return slices.DeleteFunc(slices.Clone(s.tenants), func(one *tenant) bool { return one.dead || one.lease.IsZero() })
}

func (s *street) act() {
	if s.jumpy && s.rand.IntN(150) == 0 {
		s.fast[s.rand.IntN(len(s.fast))] += time.Duration(s.rand.IntN(20_000)) * time.Millisecond
	}
	live := s.live()
	if len(live) < tenantsMax && s.chance(6) {
		one := &tenant{
			name: len(s.tenants), lazy: s.rand.IntN(140), ttl: time.Duration(2000+s.rand.IntN(8000)) * time.Millisecond, keys: map[string]bool{},
		}
		s.tenants = append(s.tenants, one)
		s.operate(mission{of: one, kind: toGrant}, wire.SessionOp{
			Kind: wire.SessionOpen, TTL: uint64(one.ttl.Milliseconds()), //nolint:gosec // positive
		})
	}
	if len(live) == 0 {
		return
	}
	one := live[s.rand.IntN(len(live))]
	switch k := s.rand.IntN(1000); {
	case k < 200:
		if s.chance(one.lazy) {
			return
		}
		s.operate(mission{of: one, kind: toKeep}, wire.SessionOp{Kind: wire.SessionKeep})
	case k < 350:
		s.attached++
		key := fmt.Sprintf("t%d/%d", one.name, s.attached)
		s.send(mission{of: one, kind: toPut, key: key}, putUnder(key, one.lease))
	case k < 420:
		s.move(one, live[s.rand.IntN(len(live))])
	case k < 620:
		s.look(one)
	case k < 625:
		one.closing = true
		s.operate(mission{of: one, kind: toClose}, wire.SessionOp{Kind: wire.SessionClose})
	case k < 660:
		s.operate(mission{of: one, kind: toInspect}, wire.SessionOp{Kind: wire.SessionInspect})
	default:
		s.quarrel(one)
	}
}

func putUnder(key string, lease epaxos.InstanceID) wire.Op {
	return wire.Op{Kind: wire.OpPut, Key: []byte(key), Value: []byte("v"), Lease: lease}
}

// move puts a key of one lease under another.
func (s *street) move(from, to *tenant) {
	keys := slices.Sorted(maps.Keys(from.keys))
	if from == to || len(keys) == 0 {
		return
	}
	key := keys[s.rand.IntN(len(keys))]
	delete(from.keys, key) // from now on nobody knows
	s.send(mission{of: to, from: from, kind: toMove, key: key}, putUnder(key, to.lease))
}

// look reads one key of a lease, without an instance, or all in one transaction.
func (s *street) look(one *tenant) {
	keys := slices.Sorted(maps.Keys(one.keys))
	if len(keys) == 0 {
		return
	}
	if s.chance(60) {
		s.read(mission{of: one, kind: toRead, key: keys[s.rand.IntN(len(keys))]})
		return
	}
	keys = keys[:min(len(keys), 8)]
	txn := wire.Op{Kind: wire.OpTxn}
	for _, key := range keys {
		txn.Then = append(txn.Then, wire.Op{Kind: wire.OpGet, Key: []byte(key)})
	}
	s.send(mission{of: one, kind: toReadAll, keys: keys}, txn)
}

// quarrel changes a key that does not belong to anybody.
func (s *street) quarrel(one *tenant) {
	key := []byte(fmt.Sprintf("q%d", s.rand.IntN(quarrelKeys)))
	ops := []wire.Op{
		putUnder(string(key), one.lease), putUnder(string(key), one.lease), putUnder(string(key), epaxos.InstanceID{}),
		{Kind: wire.OpSwap, Key: key, Lease: one.lease}, {Kind: wire.OpDelete, Key: key},
		{Kind: wire.OpAppend, Key: key, Value: []byte("x")}, {Kind: wire.OpDeleteRange, Key: []byte("q"), End: []byte("q1")},
		{Kind: wire.OpCompareAndSet, Key: key, Lease: one.lease, Compares: []wire.Compare{{
			Target: wire.CompareVersion, Relation: wire.Equal,
		}}},
		{Kind: wire.OpTxn, Then: []wire.Op{putUnder("q0", one.lease), putUnder("q1", s.tenants[s.rand.IntN(len(s.tenants))].lease)}},
	}
	s.send(mission{of: one, kind: toQuarrel}, ops[s.rand.IntN(len(ops))])
}

// begin is what all missions have in common. It reports whether the replica has to be asked at all.
func (s *street) begin(m *mission) (at int) {
	s.last++
	s.asked[s.last] = call{control: true} // its answer is ours to judge
	m.id, m.sent, m.dead = s.last, s.now, m.of.dead
	if m.kind == toInspect {
		m.keys = slices.Sorted(maps.Keys(m.of.keys))
	}
	return s.rand.IntN(len(s.nodes))
}

func (s *street) finish(m mission, err error) {
	if err != nil {
		delete(s.asked, m.id)
		return
	}
	s.sent = append(s.sent, m)
}

func (s *street) send(m mission, op wire.Op) {
	i := s.begin(&m)
	request := epaxos.Request{Payload: wire.AppendOp(nil, &op)}
	footprint, err := execution.KV{}.Footprint(request.Payload)
	if err != nil {
		s.t.Fatal(err)
	}
	s.finish(m, s.nodes[i].Propose(s.clock(i), m.id, request, footprint))
}

func (s *street) read(m mission) {
	i := s.begin(&m)
	op := wire.Op{Kind: wire.OpGet, Key: []byte(m.key)}
	payload := wire.AppendOp(nil, &op)
	footprint, err := execution.KV{}.Footprint(payload)
	if err != nil {
		s.t.Fatal(err)
	}
	s.finish(m, s.nodes[i].Read(s.clock(i), node.Read{
		Proposal: m.id, Payload: payload, Footprint: footprint, Consistency: node.Linearizable,
	}))
}

func (s *street) operate(m mission, op wire.SessionOp) {
	i := s.begin(&m)
	request := epaxos.Request{Session: m.of.lease, Payload: wire.AppendSessionOp(nil, &op)}
	var footprint epaxos.Footprint
	if op.Kind == wire.SessionOpen {
		request.Number = epaxos.OpenSession
	} else {
		var err error
		if footprint, err = s.nodes[i].SessionFootprint(&request); err != nil {
			s.t.Fatal(err)
		}
	}
	s.finish(m, s.nodes[i].Propose(s.clock(i), m.id, request, footprint))
}

// judge takes in the answers that have come.
func (s *street) judge() {
	waiting := s.sent[:0]
	for _, m := range s.sent {
		a, answered := s.answers[m.id]
		switch {
		case !answered:
			waiting = append(waiting, m)
		case a.Void || a.Unknown || m.kind == toQuarrel:
		case m.kind == toGrant, m.kind == toKeep, m.kind == toClose, m.kind == toInspect:
			s.judgeOperation(&m, &a)
		default:
			s.judgeRequest(&m, &a)
		}
	}
	s.sent = waiting
}

func (s *street) judgeOperation(m *mission, a *node.Answer) {
	result, err := wire.DecodeSessionResult(a.Result)
	if err != nil {
		s.t.Fatal(err)
	}
	one := m.of
	switch {
	case m.kind == toGrant:
		one.lease, one.until = result.ID, m.sent+one.certain()
	case result.Gone:
		s.over(m, "an operation")
	default:
		s.lives(m, "an operation")
		if m.kind == toKeep {
			one.until = max(one.until, m.sent+one.certain())
		}
		if m.kind == toInspect && !m.dead {
			s.inspected(m, result.Keys)
		}
	}
}

// certain is how long the tenant relies on its lease.
func (one *tenant) certain() time.Duration { return one.ttl - one.ttl/10 }

// inspected checks that a lease that lives has the keys that were put under it, but for those that were moved.
func (s *street) inspected(m *mission, keys []string) {
	for _, key := range m.keys {
		if m.of.keys[key] && !slices.Contains(keys, key) {
			s.t.Fatalf("violation of linearizability: lease %v has keys %q without %q, which was put under it", m.of.lease, keys, key)
		}
	}
}

func (s *street) judgeRequest(m *mission, a *node.Answer) {
	result, err := wire.DecodeResult(a.Result)
	if err != nil {
		s.t.Fatal(err)
	}
	switch m.kind {
	case toPut, toMove:
		switch result.Status {
		case wire.OpLeaseGone:
			s.over(m, "a put")
		case wire.OpOK:
			s.lives(m, "a put")
			m.of.keys[m.key] = true
			if m.kind == toMove {
				s.moved++
			}
		}
	case toRead:
		s.judgeKey(m, m.key, &result)
	case toReadAll:
		for i := range result.Results {
			s.judgeKey(m, m.keys[i], &result.Results[i])
			if result.Results[i].Found != result.Results[0].Found && m.of.keys[m.keys[i]] && m.of.keys[m.keys[0]] {
				s.t.Fatalf("violation of linearizability: of lease %v one key is there, and another not", m.of.lease)
			}
		}
	}
}

func (s *street) judgeKey(m *mission, key string, r *wire.Result) {
	switch {
	case !m.of.keys[key]: // it was moved meanwhile
	case r.Found:
		s.lives(m, "key "+key)
	default:
		s.over(m, "key "+key)
	}
}

// lives takes in that something has shown a lease alive.
func (s *street) lives(m *mission, what string) {
	if m.dead {
		s.t.Fatalf("violation of linearizability: %s shows lease %v alive, which was over before it was sent", what, m.of.lease)
	}
}

// over takes in that something has shown a lease to be over.
func (s *street) over(m *mission, what string) {
	one := m.of
	if !one.dead {
		s.ended++
	}
	one.dead = true
	if one.closing || s.answered[m.id] >= one.until {
		return
	}
	if !s.jumpy {
		s.t.Fatalf("violation of linearizability: %s shows at %v that lease %v of %v is over, and its client knows it to live until %v",
			what, s.answered[m.id], one.lease, one.ttl, one.until)
	}
	s.early++
}

// inspect checks every replica: what is under a lease is on its books, and the lease is there.
func (s *street) inspect() {
	for i, n := range s.nodes {
		state := n.State()
		names := map[epaxos.InstanceID][]string{}
		err := state.Scan(epaxos.SpaceState, "", "", func(key string, value []byte) bool {
			if lease, attached := leaseOf(value); attached {
				names[lease] = append(names[lease], key)
			}
			return true
		})
		if err != nil {
			s.t.Fatal(err)
		}
		for lease, keys := range names {
			books, err := state.Books(lease)
			if err != nil {
				s.t.Fatal(err)
			}
			session, found, err := state.Session(lease)
			if err != nil {
				s.t.Fatal(err)
			}
			bytes := 0
			for _, key := range books {
				bytes += len(key)
			}
			if session.Keys != uint64(len(books)) || session.KeyBytes != uint64(bytes) {
				s.t.Fatalf("violation of integrity: replica %d: lease %v counts %d keys of %d bytes and has %q",
					i+1, lease, session.Keys, session.KeyBytes, books)
			}
			for _, key := range keys {
				if !found || !slices.Contains(books, key) {
					s.t.Fatalf("violation of once: replica %d: key %q is under lease %v (there: %v), whose books are %q",
						i+1, key, lease, found, books)
				}
			}
		}
	}
}

// leaseOf is the lease in the saved form of a key.
func leaseOf(saved []byte) (epaxos.InstanceID, bool) {
	if len(saved) < 24 || saved[0]>>6 != 1 {
		return epaxos.InstanceID{}, false
	}
	return epaxos.ParseInstanceKey(string(saved[8:24]))
}

// close lets all leases run out, and looks for what they have left behind.
func (s *street) close() {
	for range 3 {
		s.heal()
		s.judge()
	}
	s.inspect()
	s.check()
	for _, m := range s.newest().Voters {
		state := s.nodes[m.Replica-1].State()
		err := state.Scan(epaxos.SpaceState, "", "", func(key string, value []byte) bool {
			if lease, attached := leaseOf(value); attached {
				s.t.Fatalf("violation of progress: replica %d: key %q is still under lease %v", m.Replica, key, lease)
			}
			return true
		})
		if err != nil {
			s.t.Fatal(err)
		}
		for _, one := range s.tenants {
			if _, found, err := state.Session(one.lease); err != nil || found {
				s.t.Fatalf("violation of progress: replica %d: lease %v is still there, %v", m.Replica, one.lease, err)
			}
		}
	}
}

// TestTenants: LEASES is how many seeds.
func TestTenants(t *testing.T) {
	seeds, err := strconv.Atoi(cmp.Or(os.Getenv("LEASES"), "6"))
	if err != nil {
		t.Fatal(err)
	}
	if testing.Short() {
		seeds = min(seeds, 2)
	}
	var ended, early, attached, moved int
	for seed := range uint64(seeds) { //nolint:gosec // few
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := newStreet(t, seed+1)
			for i := range 12000 {
				if i%8 == 0 {
					s.act()
				}
				s.step()
				for range 8 { // else what there is to say piles up, and nothing is answered
					s.deliver()
				}
				if len(s.flying) > 1000 { // so much is lost
					s.flying = slices.Clone(s.flying[500:])
				}
				if i%20 == 0 {
					s.judge()
				}
				if i%50 == 0 {
					s.inspect()
				}
			}
			s.close()
			ended, early, attached, moved = ended+s.ended, early+s.early, attached+s.attached, moved+s.moved
		})
	}
	if ended == 0 || attached == 0 || moved == 0 {
		t.Errorf("%d leases ended, %d keys attached, %d moved: the test shows nothing", ended, attached, moved)
	}
	t.Logf("%d leases ended, %d of them early by a clock that jumped; %d keys attached, %d moved", ended, early, attached, moved)
}
