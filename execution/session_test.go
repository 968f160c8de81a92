package execution_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// sessions performs commands on one state.
type sessions struct {
	t     *testing.T
	state *execution.State
	slot  epaxos.Slot
}

func newSessions(t *testing.T) *sessions {
	return &sessions{t: t, state: execution.NewState(nowhere{})}
}

// nowhere is a store that holds nothing.
type nowhere struct{}

func (nowhere) Get([]byte) ([]byte, bool, error) { return nil, false, nil }
func (nowhere) Scan(_, _ []byte, _ func(key, value []byte) error) error {
	return nil
}

func (s *sessions) perform(id epaxos.InstanceID, command *epaxos.Command) execution.Result {
	s.t.Helper()
	results, err := s.state.Perform(execution.KV{}, &execution.Vertex{ID: id, Command: command})
	if err != nil {
		s.t.Fatal(err)
	}
	return results[0]
}

func (s *sessions) next() epaxos.InstanceID {
	s.slot++
	return epaxos.InstanceID{Epoch: 1, Replica: 1, Slot: s.slot}
}

// opening is what a replica leads to open a session as an instance.
func opening(id epaxos.InstanceID, ttl uint64) *epaxos.Command {
	return &epaxos.Command{
		Requests: []epaxos.Request{{
			Number:  epaxos.OpenSession,
			Payload: wire.AppendSessionOp(nil, &wire.SessionOp{Kind: wire.SessionOpen, TTL: ttl}),
		}},
		Footprint: epaxos.Footprint{{Mode: epaxos.Write, Space: epaxos.SpaceSession, Key: id.Key()}},
	}
}

func numbered(t *testing.T, session epaxos.InstanceID, number uint64, op wire.Op) *epaxos.Command {
	t.Helper()
	request := epaxos.Request{Session: session, Number: number, Payload: wire.AppendOp(nil, &op)}
	own, err := execution.KV{}.Footprint(request.Payload)
	if err != nil {
		t.Fatal(err)
	}
	return &epaxos.Command{
		Requests: []epaxos.Request{request}, Footprint: execution.SessionFootprint(&request, own),
	}
}

func changing(session epaxos.InstanceID, op wire.SessionOp) *epaxos.Command {
	request := epaxos.Request{Session: session, Payload: wire.AppendSessionOp(nil, &op)}
	return &epaxos.Command{
		Requests: []epaxos.Request{request}, Footprint: execution.SessionFootprint(&request, nil),
	}
}

func increment(key string) wire.Op {
	return wire.Op{Kind: wire.OpIncrement, Key: []byte(key), Delta: 1}
}

func (s *sessions) open() epaxos.InstanceID {
	id := s.next()
	s.perform(id, opening(id, 1000))
	return id
}

func (s *sessions) change(session epaxos.InstanceID, op wire.SessionOp) wire.SessionResult {
	s.t.Helper()
	result, err := wire.DecodeSessionResult(s.perform(s.next(), changing(session, op)).Value)
	if err != nil {
		s.t.Fatal(err)
	}
	return result
}

func (s *sessions) increment(session epaxos.InstanceID, number uint64) execution.Result {
	s.t.Helper()
	return s.perform(s.next(), numbered(s.t, session, number, increment("k")))
}

func (s *sessions) count() string {
	s.t.Helper()
	v, _, err := s.state.Get(epaxos.SpaceState, "k")
	if err != nil {
		s.t.Fatal(err)
	}
	return string(v)
}

// TestRequestTakesEffectOnce: rule O2, case by case.
func TestRequestTakesEffectOnce(t *testing.T) {
	s := newSessions(t)
	id := s.open()
	first := s.increment(id, 1)
	once := s.count()
	if again := s.increment(id, 1); !bytes.Equal(again.Value, first.Value) || again.Verdict != execution.Executed || s.count() != once {
		t.Errorf("violation of once: a copy answers %+v, the first %+v", again, first)
	}
	if other := s.increment(id, 2); bytes.Equal(other.Value, first.Value) {
		t.Errorf("another number answers like the first: %+v", other)
	}
	twice := s.count()
	if r := s.change(id, wire.SessionOp{Kind: wire.SessionCheckpoint, Number: 5}); r.Session.Floor != 5 || fmt.Sprint(r.Missing) != "[3 4]" {
		t.Errorf("the checkpoint tells %+v", r)
	}
	for number, want := range map[uint64]execution.Verdict{
		2: execution.BelowFloor, 4: execution.BelowFloor, 5 + execution.SessionWindow: execution.BeyondWindow,
	} {
		if r := s.increment(id, number); r.Verdict != want || s.count() != twice {
			t.Errorf("number %d: %+v, want verdict %d", number, r, want)
		}
	}
	if r := s.change(id, wire.SessionOp{Kind: wire.SessionCheckpoint, Number: 2}); r.Session.Floor != 5 {
		t.Errorf("the floor went back to %d", r.Session.Floor)
	}
}

// TestSettle: what is settled stays so, whatever comes later (rule O5).
func TestSettle(t *testing.T) {
	s := newSessions(t)
	id := s.open()
	done := s.increment(id, 1)
	if r := s.change(id, wire.SessionOp{Kind: wire.SessionSettle, Number: 1}); r.Outcome != wire.OutcomeApplied || !bytes.Equal(r.Result, done.Value) {
		t.Errorf("of a request that was executed: %+v", r)
	}
	before := s.count()
	for range 2 {
		if r := s.change(id, wire.SessionOp{Kind: wire.SessionSettle, Number: 2}); r.Outcome != wire.OutcomeNotApplied {
			t.Errorf("of one that was not: %+v", r)
		}
	}
	if r := s.increment(id, 2); r.Verdict != execution.NeverApplied || s.count() != before {
		t.Errorf("violation of once: settled as not applied, and then %+v", r)
	}
	s.change(id, wire.SessionOp{Kind: wire.SessionCheckpoint, Number: 3})
	if r := s.change(id, wire.SessionOp{Kind: wire.SessionSettle, Number: 1}); r.Outcome != wire.OutcomeUnknown {
		t.Errorf("below the floor: %+v", r)
	}
}

// TestSessionEnds: rule O4. A copy that comes later has no effect, and nobody says that it had none before.
func TestSessionEnds(t *testing.T) {
	s := newSessions(t)
	id := s.open()
	s.increment(id, 1)
	before := s.count()
	s.change(id, wire.SessionOp{Kind: wire.SessionKeep})
	if r := s.change(id, wire.SessionOp{Kind: wire.SessionExpire, Version: 0}); r.Gone {
		t.Error("it expired after its client told that it lives")
	}
	if r := s.change(id, wire.SessionOp{Kind: wire.SessionExpire, Version: 1}); !r.Gone {
		t.Errorf("it does not expire: %+v", r)
	}
	if r := s.increment(id, 1); r.Verdict != execution.SessionGone || s.count() != before {
		t.Errorf("violation of once: a copy after the end: %+v", r)
	}
	if r := s.change(id, wire.SessionOp{Kind: wire.SessionCheckpoint, Number: 9}); !r.Gone {
		t.Errorf("a checkpoint after the end: %+v", r)
	}
	for _, w := range s.state.Take() {
		if w.Key[0] == byte(epaxos.SpaceSession) && !w.Delete {
			t.Errorf("left of the session: %q", w.Key)
		}
	}
}

// TestCopiesInAnyOrder executes the same commands in two orders that agree on what interferes, as two replicas
// may, and compares all that anybody can see: the state, and the answer of every copy that was executed.
func TestCopiesInAnyOrder(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // reproducible
		commands := drawCopies(t, r)
		other := append([]execution.Vertex(nil), commands...)
		for range 4 * len(other) {
			i := r.IntN(len(other) - 1)
			if !other[i].Command.Footprint.Interferes(other[i+1].Command.Footprint) {
				other[i], other[i+1] = other[i+1], other[i]
			}
		}
		a, b := newSessions(t), newSessions(t)
		answers := map[epaxos.InstanceID]execution.Result{}
		effects := map[uint64]int{}
		for i := range commands {
			v := &commands[i]
			before := a.count()
			answers[v.ID] = a.perform(v.ID, v.Command)
			if request := v.Command.Requests[0]; a.count() != before {
				if effects[request.Number]++; effects[request.Number] > 1 {
					t.Fatalf("seed %d: violation of once: number %d", seed, request.Number)
				}
			}
		}
		for i := range other {
			v := &other[i]
			got, want := b.perform(v.ID, v.Command), answers[v.ID]
			if got.Verdict != want.Verdict || !bytes.Equal(got.Value, want.Value) {
				t.Fatalf("seed %d: violation of order: %v answers %+v in one order and %+v in the other", seed, v.ID, want, got)
			}
		}
		if x, y := fmt.Sprint(a.state.Take()), fmt.Sprint(b.state.Take()); x != y {
			t.Fatalf("seed %d: violation of order: two states:\n%s\n%s", seed, x, y)
		}
	}
}

// drawCopies draws a session, some requests of it, each with a few copies, and operations on the session.
func drawCopies(t *testing.T, r *rand.Rand) []execution.Vertex {
	t.Helper()
	session := epaxos.InstanceID{Epoch: 1, Replica: 9, Slot: 1}
	commands := []execution.Vertex{{ID: session, Command: opening(session, 10)}}
	for i := range 4 + r.IntN(12) {
		id := epaxos.InstanceID{Epoch: 1, Replica: epaxos.ReplicaID(1 + r.IntN(3)), Slot: epaxos.Slot(i + 2)} //nolint:gosec // small
		number := uint64(1 + r.IntN(4))
		command := numbered(t, session, number, increment([]string{"k", "l"}[number%2]))
		switch r.IntN(10) {
		case 0:
			command = changing(session, wire.SessionOp{Kind: wire.SessionCheckpoint, Number: number})
		case 1:
			command = changing(session, wire.SessionOp{Kind: wire.SessionSettle, Number: number})
		case 2:
			command = changing(session, wire.SessionOp{Kind: wire.SessionKeep})
		case 3:
			command = changing(session, wire.SessionOp{Kind: wire.SessionExpire, Version: uint64(r.IntN(2))}) //nolint:gosec // small
		}
		commands = append(commands, execution.Vertex{ID: id, Command: command})
	}
	return commands
}
