package sim

import (
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// sitting is a world in which a session is open, at floor 4: request 5 was applied with the result "five", and 6 was
// settled as not applied.
func sitting() (*world, epaxos.InstanceID) {
	w := watched(1)
	s, id := w.check.sessions, instanceID(1, 1)
	slot := epaxos.Slot(1)
	run := func(r epaxos.Request) bool {
		v := execution.Vertex{ID: instanceID(1, slot), Command: &epaxos.Command{Requests: []epaxos.Request{r}}}
		slot++
		return s.applies(&v, 0)
	}
	operate := func(op wire.SessionOp) {
		r := epaxos.Request{Session: id, Payload: wire.AppendSessionOp(nil, &op)}
		if op.Kind == wire.SessionOpen {
			r = epaxos.Request{Number: epaxos.OpenSession, Payload: r.Payload}
		}
		run(r)
	}
	operate(wire.SessionOp{Kind: wire.SessionOpen, TTL: 1})
	operate(wire.SessionOp{Kind: wire.SessionKeep})
	operate(wire.SessionOp{Kind: wire.SessionCheckpoint, Number: 4})
	run(epaxos.Request{Session: id, Number: 5})
	w.check.results[place{instanceID(1, 4), 0}] = []byte("five")
	operate(wire.SessionOp{Kind: wire.SessionSettle, Number: 6})
	return w, id
}

func TestSessionsApply(t *testing.T) {
	for name, test := range map[string]struct {
		number  uint64
		applied bool
	}{
		"the next": {7, true}, "one left out": {4, true}, "a copy": {5, false}, "settled": {6, false}, "covered": {3, false},
		"the last": {3 + wire.SessionWindow, true}, "too far": {4 + wire.SessionWindow, false},
	} {
		w, id := sitting()
		v := execution.Vertex{ID: instanceID(2, 1), Command: &epaxos.Command{Requests: []epaxos.Request{{
			Session: id, Number: test.number,
		}}}}
		for again := range 2 { // on another replica
			if got := w.check.sessions.applies(&v, 0); got != test.applied {
				t.Errorf("%s: applied %v, replica %d", name, got, again)
			}
		}
	}
}

func TestSessionsEnd(t *testing.T) {
	for name, test := range map[string]struct {
		op   wire.SessionOp
		gone bool
	}{
		"closed":               {wire.SessionOp{Kind: wire.SessionClose}, true},
		"expired":              {wire.SessionOp{Kind: wire.SessionExpire, Version: 1}, true},
		"kept alive meanwhile": {wire.SessionOp{Kind: wire.SessionExpire}, false},
	} {
		w, id := sitting()
		of := w.check.sessions.known[id]
		of.change(&test.op)
		if _, lingers := w.check.sessions.lingering(); of.gone != test.gone || lingers == test.gone {
			t.Errorf("%s: gone %v, lingers %v", name, of.gone, lingers)
		}
	}
}

func TestVerdictsPlanted(t *testing.T) {
	for name, test := range map[string]struct {
		number uint64
		answer node.Answer
		fine   bool
	}{
		"applied":                   {5, node.Answer{Result: []byte("five")}, true},
		"with another result":       {5, node.Answer{Result: []byte("six")}, false},
		"applied, never executed":   {7, node.Answer{Result: []byte("seven")}, false},
		"never applied":             {6, node.Answer{Verdict: execution.NeverApplied}, true},
		"never, though it was":      {5, node.Answer{Verdict: execution.NeverApplied}, false},
		"never, and nobody settled": {7, node.Answer{Verdict: execution.NeverApplied}, false},
		"covered":                   {3, node.Answer{Verdict: execution.BelowFloor}, true},
		"not covered":               {4, node.Answer{Verdict: execution.BelowFloor}, false},
		"gone, and it is not":       {5, node.Answer{Verdict: execution.SessionGone}, false},
		"too far":                   {2000, node.Answer{Verdict: execution.BeyondWindow}, true},
		"too far, and it is not":    {9, node.Answer{Verdict: execution.BeyondWindow}, false},
	} {
		w, id := sitting()
		w.check.answered(0, id, test.number, &test.answer)
		if test.fine {
			wantNone(t, w.err)
		} else if w.err == nil || w.err.Invariant != "once" {
			t.Errorf("%s: %v", name, w.err)
		}
	}
}

func TestOperationsPlanted(t *testing.T) {
	kept := wire.Session{Floor: 4}
	checkpoint := wire.SessionOp{Kind: wire.SessionCheckpoint, Number: 4}
	settle := func(number uint64) wire.SessionOp { return wire.SessionOp{Kind: wire.SessionSettle, Number: number} }
	for name, test := range map[string]struct {
		op     wire.SessionOp
		result wire.SessionResult
		fine   bool
	}{
		"kept":                   {wire.SessionOp{Kind: wire.SessionKeep}, wire.SessionResult{Session: kept}, true},
		"gone, and it is not":    {wire.SessionOp{Kind: wire.SessionKeep}, wire.SessionResult{Gone: true}, false},
		"a floor of its own":     {wire.SessionOp{Kind: wire.SessionKeep}, wire.SessionResult{Session: wire.Session{Floor: 5}}, false},
		"checkpoint":             {checkpoint, wire.SessionResult{Session: kept, Missing: []uint64{1, 2, 3}}, true},
		"missing, and it is not": {checkpoint, wire.SessionResult{Session: kept, Missing: []uint64{5}}, false},
		"too low":                {checkpoint, wire.SessionResult{Session: wire.Session{Floor: 3}}, false},
		"settled":                {settle(6), wire.SessionResult{Session: kept, Outcome: wire.OutcomeNotApplied}, true},
		"settled otherwise":      {settle(5), wire.SessionResult{Session: kept, Outcome: wire.OutcomeNotApplied}, false},
		"applied":                {settle(5), wire.SessionResult{Session: kept, Outcome: wire.OutcomeApplied, Result: []byte("five")}, true},
		"with another result":    {settle(5), wire.SessionResult{Session: kept, Outcome: wire.OutcomeApplied}, false},
		"no longer known":        {settle(2), wire.SessionResult{Session: kept, Outcome: wire.OutcomeUnknown}, true},
		"forgotten":              {settle(6), wire.SessionResult{Session: kept, Outcome: wire.OutcomeUnknown}, false},
	} {
		w, id := sitting()
		w.check.operated(0, id, &test.op, &test.result)
		if test.fine {
			wantNone(t, w.err)
		} else if w.err == nil || w.err.Invariant != "once" {
			t.Errorf("%s: %v", name, w.err)
		}
	}
}

// TestOpensPlanted: nobody gets a session that another has.
func TestOpensPlanted(t *testing.T) {
	w, id := sitting()
	result := wire.SessionResult{ID: id, Session: wire.Session{Floor: 1}}
	w.check.opens(0, &result)
	wantNone(t, w.err)
	w.check.opens(0, &result)
	wantViolation(t, w.err, "once", "given before: true")
}
