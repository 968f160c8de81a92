package execution_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// shelf is a store in memory.
type shelf map[string][]byte

func (s shelf) Get(key []byte) ([]byte, bool, error) {
	value, found := s[string(key)]
	return bytes.Clone(value), found, nil
}

func (s shelf) Scan(from, to []byte, visit func(key, value []byte) error) error {
	var keys []string
	for key := range s {
		if key >= string(from) && (to == nil || key < string(to)) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		if err := visit([]byte(key), s[key]); err != nil {
			return err
		}
	}
	return nil
}

// take saves what a state has written since.
func (s shelf) take(state *execution.State) {
	for _, w := range state.Take() {
		if w.Delete {
			delete(s, string(w.Key))
		} else {
			s[string(w.Key)] = bytes.Clone(w.Value)
		}
	}
}

// memo is what a session must say.
type memo struct {
	id      epaxos.InstanceID
	floor   uint64
	records map[uint64]wire.SessionRecord
}

// memos lives with some sessions, whose requests are swaps of one key with values of any size.
type memos struct {
	*sessions
	r    *rand.Rand
	disk shelf
	all  []*memo
	ids  []epaxos.InstanceID // of those that ended too
	now  string              // the value of the key
}

// number is one that a request may have, most often one of which something is known.
func (m *memos) number(one *memo) uint64 {
	switch k := m.r.IntN(100); {
	case k < 3:
		return max(one.floor, 3) - uint64(m.r.IntN(3))
	case k < 6:
		return one.floor + execution.SessionWindow - 2 + uint64(m.r.IntN(4))
	case k < 20:
		return one.floor + uint64(m.r.IntN(execution.SessionWindow))
	default:
		return one.floor + uint64(m.r.IntN(50))
	}
}

// request asks for a swap, and expects what the model says.
func (m *memos) request(one *memo) {
	m.t.Helper()
	number := m.number(one)
	value := strings.Repeat("v", m.r.IntN(90)) + fmt.Sprint(m.slot)
	swap := wire.Op{Kind: wire.OpSwap, Key: []byte("k"), Value: []byte(value)}
	got := m.perform(m.next(), numbered(m.t, one.id, number, swap))
	record, known := one.records[number]
	want := execution.Result{Value: got.Value}
	switch {
	case number < one.floor:
		want = execution.Result{Verdict: execution.BelowFloor}
	case number >= one.floor+execution.SessionWindow:
		want = execution.Result{Verdict: execution.BeyondWindow}
	case known && !record.Executed:
		want = execution.Result{Verdict: execution.NeverApplied}
	case known:
		want = execution.Result{Value: record.Result}
	default:
		one.records[number] = wire.SessionRecord{Executed: true, Result: bytes.Clone(got.Value)}
		if result, err := wire.DecodeResult(got.Value); err != nil || string(result.Value) != m.now {
			m.t.Fatalf("violation of once: a swap returns %q, %v, want %q", result.Value, err, m.now)
		}
		m.now = value
	}
	if got.Verdict != want.Verdict || !bytes.Equal(got.Value, want.Value) {
		m.t.Fatalf("violation of once: request %d of %v, floor %d: %+v, want %+v", number, one.id, one.floor, got, want)
	}
}

func (m *memos) checkpoint(one *memo) {
	m.t.Helper()
	to := one.floor + uint64(m.r.IntN(60))
	if m.r.IntN(8) == 0 {
		to += execution.SessionWindow
	}
	got := m.change(one.id, wire.SessionOp{Kind: wire.SessionCheckpoint, Number: to})
	var missing []uint64
	for to = min(to, one.floor+execution.SessionWindow); one.floor < to; one.floor++ {
		if record := one.records[one.floor]; !record.Executed {
			missing = append(missing, one.floor)
		}
		delete(one.records, one.floor)
	}
	if got.Session.Floor != one.floor || !slices.Equal(got.Missing, missing) {
		m.t.Fatalf("violation of once: a checkpoint tells %+v, want floor %d, missing %d", got, one.floor, missing)
	}
}

func (m *memos) settle(one *memo) {
	m.t.Helper()
	number := m.number(one)
	got := m.change(one.id, wire.SessionOp{Kind: wire.SessionSettle, Number: number})
	record, known := one.records[number]
	want := wire.SessionResult{Outcome: wire.OutcomeNotApplied}
	switch {
	case number < one.floor || number >= one.floor+execution.SessionWindow:
		want.Outcome = wire.OutcomeUnknown
	case !known:
		one.records[number] = wire.SessionRecord{}
	case record.Executed:
		want = wire.SessionResult{Outcome: wire.OutcomeApplied, Result: record.Result}
	}
	if got.Outcome != want.Outcome || !bytes.Equal(got.Result, want.Result) {
		m.t.Fatalf("violation of once: request %d is settled as %v, want %v", number, got.Outcome, want.Outcome)
	}
}

// step does one thing.
func (m *memos) step() {
	at := m.r.IntN(len(m.all))
	one := m.all[at]
	switch k := m.r.IntN(100); {
	case k < 70:
		m.request(one)
	case k < 76:
		m.settle(one)
	case k < 84:
		m.checkpoint(one)
	case k < 88:
		m.disk.take(m.state)
		m.state.Saved()
	case k < 92:
		m.disk.take(m.state) // and goes on while it is saved
	case k < 94: // a restart
		m.disk.take(m.state)
		m.state = execution.NewState(m.disk)
		m.state.PackRecords(m.r.IntN(3) > 0)
	case k < 96:
		m.change(one.id, wire.SessionOp{Kind: wire.SessionKeep})
	case k < 97:
		m.change(one.id, wire.SessionOp{Kind: wire.SessionClose})
		m.all = slices.Delete(m.all, at, at+1)
		m.open()
	default:
		if err := m.state.WindowsAgree(m.ids); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *memos) open() {
	id := m.sessions.open()
	m.all = append(m.all, &memo{id: id, floor: 1, records: map[uint64]wire.SessionRecord{}})
	m.ids = append(m.ids, id)
}

// TestSessionsAgreeWithAModel: what is known of sessions by heart is what the state says, in whichever form records are
// kept, through saves, restarts, checkpoints and ends; and no copy of a request is executed twice.
func TestSessionsAgreeWithAModel(t *testing.T) {
	for seed := range uint64(30) {
		m := &memos{sessions: newSessions(t), r: rand.New(rand.NewPCG(seed, 5)), disk: shelf{}}
		m.state = execution.NewState(m.disk)
		m.state.PackRecords(seed%3 > 0)
		for range 3 {
			m.open()
		}
		for range 1500 {
			m.step()
		}
		for _, one := range m.all {
			m.change(one.id, wire.SessionOp{Kind: wire.SessionClose})
		}
		m.disk.take(m.state)
		for key := range m.disk {
			if key[0] == byte(epaxos.SpaceSession) {
				t.Fatalf("violation of boundedness: after all sessions have ended there is key %q", key)
			}
		}
	}
}

// TestPacksDoNotDependOnOrder: requests of one session on several keys execute in different orders on different replicas,
// and leave the same state.
func TestPacksDoNotDependOnOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var first shelf
	for range 20 {
		disk := shelf{}
		s := &sessions{t: t, state: execution.NewState(disk)}
		s.state.PackRecords(true)
		id := s.open()
		for _, number := range r.Perm(40) {
			put := wire.Op{Kind: wire.OpPut, Key: fmt.Append(nil, number), Value: []byte("v")}
			s.perform(s.next(), numbered(t, id, uint64(number)+1, put)) //nolint:gosec // few
			if r.IntN(10) == 0 {
				disk.take(s.state)
			}
		}
		s.change(id, wire.SessionOp{Kind: wire.SessionCheckpoint, Number: 20})
		disk.take(s.state)
		if first == nil {
			first = disk
		}
		if got, want := fmt.Sprint(disk), fmt.Sprint(first); got != want {
			t.Fatalf("violation of agreement: the state depends on the order:\n%s\n%s", got, want)
		}
	}
}
