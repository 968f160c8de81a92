package sim

import (
	"strings"
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/storage"
)

// The checkers on planted violations: one that cannot fail proves nothing.

func wantViolation(t *testing.T, v *Violation, invariant string, words ...string) {
	t.Helper()
	if v == nil {
		t.Fatalf("no violation, want one of %s", invariant)
	}
	if v.Invariant != invariant {
		t.Errorf("violation of %s, want %s: %s", v.Invariant, invariant, v.Text)
	}
	for _, word := range words {
		if !strings.Contains(v.Text, word) {
			t.Errorf("%q does not say %q", v.Text, word)
		}
	}
}

func wantNone(t *testing.T, v *Violation) {
	t.Helper()
	if v != nil {
		t.Fatal(v)
	}
}

var three = epaxos.NewMembership(1, 1, 2, 3)

func instanceID(replica epaxos.ReplicaID, slot epaxos.Slot) epaxos.InstanceID {
	return epaxos.InstanceID{Epoch: 1, Replica: replica, Slot: slot}
}

func access(mode epaxos.Mode, key string) epaxos.Access { return epaxos.Access{Mode: mode, Key: key} }

func commandOn(payload string, footprint ...epaxos.Access) *epaxos.Command {
	return &epaxos.Command{Requests: []epaxos.Request{{Payload: []byte(payload)}}, Footprint: footprint}
}

func write(key string) *epaxos.Command { return commandOn(key, access(epaxos.Write, key)) }

func TestVisibilityPlanted(t *testing.T) {
	a, b := instanceID(1, 1), instanceID(2, 1)
	span := epaxos.Access{Mode: epaxos.Read, Range: true, Key: "a", End: "z"}
	none := epaxos.Dependencies{0, 0, 0}
	for name, test := range map[string]struct {
		first, second *epaxos.Command
		deps          epaxos.Dependencies // of the second
		broken        bool
	}{
		"writes":            {write("k"), write("k"), none, true},
		"one depends":       {write("k"), write("k"), epaxos.Dependencies{1, 0, 0}, false},
		"other keys":        {write("k"), write("l"), none, false},
		"reads":             {commandOn("", access(epaxos.Read, "k")), commandOn("", access(epaxos.Read, "k")), none, false},
		"a range":           {write("k"), commandOn("", span), none, true},
		"behind a range":    {commandOn("", span), write("k"), none, true},
		"beside a range":    {write("~"), commandOn("", span), none, false},
		"everything":        {write("k"), commandOn("", access(epaxos.Everything, "")), none, true},
		"a no-op":           {nil, write("k"), none, false},
		"second key of two": {write("k"), commandOn("", access(epaxos.Read, "a"), access(epaxos.Read, "k")), none, true},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVisibility(three)
			wantNone(t, v.decided(&epaxos.Decision{ID: a, Command: test.first, Deps: none}))
			broken := v.decided(&epaxos.Decision{ID: b, Command: test.second, Deps: test.deps})
			if !test.broken {
				wantNone(t, broken)
				return
			}
			wantViolation(t, broken, "visibility", "1.1", "2.1")
		})
	}
}

func TestOrderPlanted(t *testing.T) {
	read := commandOn("", access(epaxos.Read, "k"))
	add := commandOn("", access(epaxos.Add, "k"))
	span := commandOn("", epaxos.Access{Mode: epaxos.Write, Range: true, Key: "a", End: "z"})
	all := commandOn("", access(epaxos.Everything, ""))
	pair := commandOn("", access(epaxos.Write, "a"), access(epaxos.Write, "b"))
	for name, test := range map[string]struct {
		first, second *epaxos.Command
		broken        bool
	}{
		"writes":                {write("k"), write("k"), true},
		"a read and a write":    {read, write("k"), true},
		"reads may commute":     {read, read, false},
		"adds may commute":      {add, add, false},
		"a read and an add":     {read, add, true},
		"other keys":            {write("k"), write("l"), false},
		"a range":               {span, write("k"), true},
		"behind a range":        {write("k"), span, true},
		"outside a range":       {span, write("~"), false},
		"everything":            {all, write("k"), true},
		"behind everything":     {write("k"), all, true},
		"transactions, one key": {pair, write("b"), true},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrders()
			a, b := instanceID(1, 1), instanceID(2, 1)
			wantNone(t, o.executed(0, a, test.first))
			wantNone(t, o.executed(0, b, test.second))
			broken := o.executed(1, b, test.second)
			if broken == nil {
				broken = o.executed(1, a, test.first)
			}
			if !test.broken {
				wantNone(t, broken)
				return
			}
			wantViolation(t, broken, "order", "1.1", "2.1", "r1", "r2")
		})
	}
}

func TestOrderAcrossLives(t *testing.T) {
	o := newOrders()
	a, b, c := instanceID(1, 1), instanceID(2, 1), instanceID(3, 1)
	for _, id := range []epaxos.InstanceID{a, b, c} {
		wantNone(t, o.executed(0, id, write("k")))
	}
	o.restart(0, []epaxos.InstanceID{a})
	wantNone(t, o.executed(0, b, write("k")))
	wantViolation(t, o.executed(0, a, write("k")), "once", "r1", "1.1")
	o.restart(0, []epaxos.InstanceID{a})
	wantViolation(t, o.executed(0, c, write("k")), "order", "r1", "2.1", "3.1")
}

func TestEffectsPlanted(t *testing.T) {
	key := pointKey{epaxos.SpaceState, "k"}
	holds := func(value string) func(pointKey) string { return func(pointKey) string { return value } }
	write1 := []storage.Write{{Key: []byte("\x00k"), Value: []byte("one")}}
	first := []mark{{instanceID(1, 1), write("k")}}
	t.Run("other effect", func(t *testing.T) {
		e := newEffects(three)
		wantNone(t, e.saved(0, first, write1, holds("one")))
		wantViolation(t, e.saved(1, first, write1, holds("two")), "durability", `"k"="two"`, "r1", "r2")
	})
	t.Run("effect without mark", func(t *testing.T) {
		e := newEffects(three)
		wantViolation(t, e.saved(0, nil, write1, holds("one")), "durability", "no mark", `"k"`)
	})
	t.Run("mark without effect", func(t *testing.T) {
		e := newEffects(three)
		wantNone(t, e.saved(0, first, write1, holds("one")))
		wantViolation(t, e.saved(1, first, nil, holds(absent)), "durability", `"k"`)
	})
	t.Run("effect before its mark", func(t *testing.T) {
		e := newEffects(three)
		wantNone(t, e.saved(0, first, write1, holds("one")))
		wantViolation(t, e.saved(1, nil, write1, holds("one")), "durability", `"k"`)
	})
	t.Run("marked twice", func(t *testing.T) {
		e := newEffects(three)
		wantNone(t, e.saved(0, first, write1, holds("one")))
		wantViolation(t, e.saved(0, first, nil, holds("one")), "once", "1.1")
	})
	t.Run("lost at a restart", func(t *testing.T) {
		e := newEffects(three)
		wantNone(t, e.saved(0, first, write1, holds("one")))
		wantNone(t, e.restart(0, first, map[pointKey]string{key: "one"}))
		wantViolation(t, e.restart(0, first, map[pointKey]string{}), "durability", `"k"`)
		wantViolation(t, e.restart(0, nil, map[pointKey]string{key: "one"}), "durability", "no mark")
	})
	t.Run("by range", func(t *testing.T) {
		e := newEffects(three)
		wide := []mark{{instanceID(1, 1), commandOn("", epaxos.Access{Mode: epaxos.Write, Range: true, Key: "a"})}}
		wantNone(t, e.saved(0, wide, write1, holds("one")))
		wantViolation(t, e.saved(1, wide, write1, holds("two")), "durability", `"k"`)
	})
}

// said plays messages into a ledger and returns the first violation.
func said(l *ledger, steps ...func() *Violation) *Violation {
	for _, step := range steps {
		if v := step(); v != nil {
			return v
		}
	}
	return nil
}

func TestLedgerPlanted(t *testing.T) {
	id := instanceID(1, 1)
	none, other := epaxos.Dependencies{0, 0, 0}, epaxos.Dependencies{0, 2, 0}
	command := write("k")
	full := epaxos.Value{Kind: epaxos.Full, Command: command}
	ballot := epaxos.Ballot{Number: 1, Replica: 2}
	var l *ledger
	says := func(host int, m epaxos.Message) func() *Violation {
		return func() *Violation { return l.sent(host, m) }
	}
	preAccept := says(0, epaxos.PreAccept{ID: id, Command: command, Initial: none})
	equal := says(1, epaxos.PreAcceptReply{ID: id, Deps: none})
	unequal := says(1, epaxos.PreAcceptReply{ID: id, Deps: other})
	accept := func(host int, b epaxos.Ballot, v epaxos.Value, deps epaxos.Dependencies) func() *Violation {
		return says(host, epaxos.Accept{ID: id, Ballot: b, Value: v, Deps: deps})
	}
	accepted := func(host int, b epaxos.Ballot) func() *Violation {
		return says(host, epaxos.AcceptReply{ID: id, Ballot: b})
	}
	recovering, promise := says(1, epaxos.Recover{ID: id, Ballot: ballot}), says(2, epaxos.RecoverReply{ID: id, Ballot: ballot})
	validate := says(1, epaxos.Validate{ID: id, Ballot: ballot, Command: command, Initial: none})
	assent := says(2, epaxos.ValidateReply{ID: id, Ballot: ballot})
	decide := func(c *epaxos.Command, deps epaxos.Dependencies) func() *Violation {
		return func() *Violation { return l.decided(&epaxos.Decision{ID: id, Command: c, Deps: deps}) }
	}
	noOp := epaxos.Value{Kind: epaxos.NoOp}
	type steps []func() *Violation
	for name, test := range map[string]struct {
		steps  steps
		broken string
	}{
		"fast":                      {steps{preAccept, equal, decide(command, none)}, ""},
		"fast on one vote":          {steps{preAccept, decide(command, none)}, "commit-votes"},
		"fast on another vote":      {steps{preAccept, unequal, decide(command, none)}, "commit-votes"},
		"fast with other deps":      {steps{preAccept, equal, decide(command, other)}, "commit-votes"},
		"slow":                      {steps{preAccept, unequal, accept(0, epaxos.Ballot{}, full, other), accepted(1, epaxos.Ballot{}), decide(command, other)}, ""},
		"slow on one vote":          {steps{preAccept, accept(0, epaxos.Ballot{}, full, other), decide(command, other)}, "commit-votes"},
		"a voter counted twice":     {steps{preAccept, accept(0, epaxos.Ballot{}, full, other), accepted(0, epaxos.Ballot{}), decide(command, other)}, "commit-votes"},
		"two proposals":             {steps{preAccept, says(0, epaxos.PreAccept{ID: id, Command: command, Initial: other})}, "commit-votes"},
		"two values at one ballot":  {steps{preAccept, accept(0, epaxos.Ballot{}, full, other), accept(0, epaxos.Ballot{}, full, none)}, "commit-votes"},
		"another command":           {steps{preAccept, accept(0, epaxos.Ballot{}, epaxos.Value{Kind: epaxos.Full, Command: write("l")}, other)}, "commit-votes"},
		"recovery":                  {steps{preAccept, recovering, promise, validate, assent, accept(1, ballot, full, none), accepted(2, ballot), decide(command, none)}, ""},
		"recovery on one promise":   {steps{preAccept, recovering, accept(1, ballot, noOp, none)}, "commit-votes"},
		"recovery not validated":    {steps{preAccept, recovering, promise, accept(1, ballot, full, none)}, "commit-votes"},
		"no-op needs no validation": {steps{preAccept, recovering, promise, accept(1, ballot, noOp, none)}, ""},
		"another value above a decision": {steps{preAccept, equal, decide(command, none), recovering, promise,
			accept(1, ballot, noOp, none)}, "agreement"},
		"another value above a quorum": {steps{preAccept, accept(0, epaxos.Ballot{}, full, other), accepted(2, epaxos.Ballot{}),
			recovering, promise, accept(1, ballot, noOp, none)}, "agreement"},
		"a quorum below another value": {steps{preAccept, recovering, promise, accept(1, ballot, noOp, none),
			accept(0, epaxos.Ballot{}, full, other), accepted(2, epaxos.Ballot{})}, "agreement"},
		"waiting with too many": {steps{preAccept, says(1, epaxos.Waiting{ID: id, Count: 2})}, "commit-votes"},
		"waiting":               {steps{preAccept, equal, says(1, epaxos.Waiting{ID: id, Count: 2})}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l = newLedger(three)
			broken := said(l, test.steps...)
			if test.broken == "" {
				wantNone(t, broken)
				return
			}
			wantViolation(t, broken, test.broken, "1.1")
		})
	}
}

func TestLedgerCountsSavedVotes(t *testing.T) {
	l := newLedger(three)
	id, none := instanceID(1, 1), epaxos.Dependencies{0, 0, 0}
	wantNone(t, l.sent(0, epaxos.PreAccept{ID: id, Command: write("k"), Initial: none}))
	l.recorded(2, &epaxos.Record{ID: id, Phase: epaxos.PreAccepted, Initial: none, Deps: none})
	wantNone(t, l.sent(1, epaxos.Waiting{ID: id, Count: 2}))
	// A value that somebody has accepted, told or not, needs no validation.
	ballot := epaxos.Ballot{Number: 1, Replica: 2}
	l.recorded(2, &epaxos.Record{ID: id, Phase: epaxos.Accepted, Initial: none, Deps: none})
	wantNone(t, said(l,
		func() *Violation { return l.sent(1, epaxos.Recover{ID: id, Ballot: ballot}) },
		func() *Violation { return l.sent(2, epaxos.RecoverReply{ID: id, Ballot: ballot}) },
		func() *Violation {
			return l.sent(1, epaxos.Accept{ID: id, Ballot: ballot, Deps: none,
				Value: epaxos.Value{Kind: epaxos.Full, Command: write("k")}})
		}))
}

func TestBoundsPlanted(t *testing.T) {
	limits := epaxos.Limits{InFlight: 2, InFlightPerKey: 1, Queue: 3, Gather: 1, Pack: 1}
	started := func() *bounds {
		b := newBounds()
		b.started(0, limits, three)
		return b
	}
	record := func(slot epaxos.Slot, key string) *epaxos.Record {
		return &epaxos.Record{ID: instanceID(1, slot), Command: write(key), Phase: epaxos.PreAccepted}
	}
	t.Run("in flight", func(t *testing.T) {
		b := started()
		wantNone(t, b.led(0, record(1, "a")))
		wantNone(t, b.led(0, record(2, "b")))
		b.executed(0, instanceID(1, 1))
		wantNone(t, b.led(0, record(3, "c")))
		wantViolation(t, b.led(0, record(4, "d")), "boundedness", "leads 3")
	})
	t.Run("per key", func(t *testing.T) {
		b := started()
		wantNone(t, b.led(0, record(1, "a")))
		wantViolation(t, b.led(0, record(2, "a")), "boundedness", `"a"`)
	})
	t.Run("component", func(t *testing.T) {
		b := started()
		wantNone(t, b.component(2))
		wantViolation(t, b.component(3), "boundedness", "3 instances")
	})
	t.Run("counters", func(t *testing.T) {
		tops := epaxos.Dependencies{0, 0, 0}
		for name, stats := range map[string]epaxos.Stats{
			"in flight":             {InFlight: 3},
			"queued":                {Queued: 6},
			"bytes without flights": {InFlightBytes: 1},
			"more decided than led": {Led: 1, Fast: 1, Slow: 1},
		} {
			if v := started().turned(0, stats, tops); v == nil || v.Invariant != "boundedness" {
				t.Errorf("%s: %v", name, v)
			}
		}
		b := started()
		wantNone(t, b.turned(0, epaxos.Stats{Led: 1}, epaxos.Dependencies{1, 0, 0}))
		wantViolation(t, b.turned(0, epaxos.Stats{Led: 1}, tops), "promise")
	})
	t.Run("at rest", func(t *testing.T) {
		b := started()
		wantNone(t, b.atRest(0, epaxos.Stats{}))
		wantViolation(t, b.atRest(0, epaxos.Stats{InFlight: 1}), "boundedness")
		wantNone(t, b.led(0, record(1, "a")))
		wantViolation(t, b.atRest(0, epaxos.Stats{}), "boundedness", "1 led")
	})
}
