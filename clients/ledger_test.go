package clients_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/clients/gateway"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// sharing makes all replicas of a world lead copies for one machine.
func (w *world) sharing(m *machine) {
	for _, r := range w.replicas {
		r.proposer.set(m.Propose)
	}
}

var session = clients.WithSessionTTL(time.Minute)

func counter(t *testing.T, c *clients.Client, key string) int64 {
	t.Helper()
	r, err := c.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Found {
		return 0
	}
	n, err := r.Int()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// nameOf is the name of an operation whose outcome is unknown.
func nameOf(t *testing.T, err error) clients.RequestID {
	t.Helper()
	e, is := errors.AsType[*clients.Error](err)
	if !is || e.Outcome != clients.Unknown || e.Request.IsZero() {
		t.Fatalf("violation of once: %v, want an unknown outcome that can be asked for", err)
	}
	return e.Request
}

// An answer is lost with its replica. The client sends the request to another, which answers as the first did.
func TestOnceThroughAFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t, 10*ms, 20*ms, 30*ms), newMachine()
		w.sharing(m)
		c := w.dial(session)
		if _, err := c.Increment(t.Context(), "n", 1); err != nil {
			t.Fatal(err)
		}
		at := nearest(c)
		w.replicas[at].proposer.set(func(r gateway.Request, done func(gateway.Answer)) {
			m.do(&r) // and the answer never comes
		})
		r, err := c.Increment(t.Context(), "n", 1)
		if n, _ := r.Int(); err != nil || n != 2 || r.Replica == at {
			t.Errorf("violation of once: %+v, %v", r, err)
		}
		if got := counter(t, c, "n"); got != 2 {
			t.Errorf("violation of once: the counter is %d after 2 increments", got)
		}
	})
}

// The connection breaks while requests are under way.
func TestOnceThroughLostConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t, 10*ms, 20*ms, 30*ms), newMachine()
		w.sharing(m)
		c := w.dial(session)
		if _, err := c.Increment(t.Context(), "n", 1); err != nil {
			t.Fatal(err)
		}
		var futures []*clients.Future
		for range 100 {
			op := wire.AppendOp(nil, &wire.Op{Kind: wire.OpIncrement, Key: []byte("n"), Delta: 1})
			futures = append(futures, c.Submit(t.Context(), op))
		}
		time.Sleep(5 * ms) // they are executed, their answers on the way
		w.replicas[nearest(c)].stop()
		for _, f := range futures {
			if _, err := f.Wait(); err != nil {
				t.Fatal(err)
			}
		}
		if got := counter(t, c, "n"); got != 101 {
			t.Errorf("violation of once: the counter is %d after 101 increments", got)
		}
	})
}

// Nobody answers, so the outcome is unknown, until somebody asks.
func TestOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t, 10*ms), newMachine()
		w.sharing(m)
		c := w.dial(session)
		if _, err := c.Increment(t.Context(), "n", 1); err != nil {
			t.Fatal(err)
		}
		lose := func(execute bool) clients.RequestID {
			w.replicas[1].proposer.set(func(r gateway.Request, _ func(gateway.Answer)) {
				if execute {
					m.do(&r)
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := c.Increment(ctx, "n", 5)
			w.replicas[1].proposer.set(m.Propose)
			return nameOf(t, err)
		}
		done, lost := lose(true), lose(false)
		other, err := clients.ParseRequestID(lost.String())
		if err != nil || other != lost {
			t.Fatalf("%v became %v, %v", lost, other, err)
		}
		r, err := c.Outcome(t.Context(), done)
		if err != nil || r.Outcome != clients.Applied {
			t.Fatalf("violation of once: %+v, %v of a request that was executed", r, err)
		}
		if value, err := r.Value(); err != nil || string(value.Value) != "6" {
			t.Errorf("its answer was %+v, %v", value, err)
		}
		if r, err := c.Outcome(t.Context(), lost); err != nil || r.Outcome != clients.NotApplied {
			t.Errorf("violation of once: %+v, %v of a request that was not executed", r, err)
		}
		// The lost copy comes after all.
		op := wire.AppendOp(nil, &wire.Op{Kind: wire.OpIncrement, Key: []byte("n"), Delta: 5})
		late := m.do(&gateway.Request{Kind: wire.RequestCommand, Session: lost.Session, Number: lost.Number, Payload: op})
		if late.Code != wire.CodeSettled {
			t.Errorf("violation of once: a copy of a settled request is answered %+v", late)
		}
		if got := counter(t, c, "n"); got != 6 {
			t.Errorf("violation of once: the counter is %d, want 6", got)
		}
	})
}

// A session of a thousand numbers goes on for ever, and what was lost on the way is found out by its checkpoints.
func TestTheWindowMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t, 10*ms), newMachine()
		w.sharing(m)
		c := w.dial(session)
		if _, err := c.Increment(t.Context(), "n", 1); err != nil {
			t.Fatal(err)
		}
		w.replicas[1].proposer.set(func(r gateway.Request, done func(gateway.Answer)) {
			if r.Kind == wire.RequestCommand && r.Number%2 == 0 {
				m.do(&r)
			}
		})
		var lost []clients.RequestID
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := c.Increment(ctx, "n", 1)
			cancel()
			lost = append(lost, nameOf(t, err))
		}
		w.replicas[1].proposer.set(m.Propose)
		id := c.Session()
		var futures []*clients.Future
		for range 5000 {
			op := wire.AppendOp(nil, &wire.Op{Kind: wire.OpIncrement, Key: []byte("n"), Delta: 1})
			futures = append(futures, c.Submit(t.Context(), op))
		}
		for _, f := range futures {
			if _, err := f.Wait(); err != nil {
				t.Fatal(err)
			}
		}
		if got := counter(t, c, "n"); got != 5002 || c.Session() != id {
			t.Errorf("violation of once: the counter is %d, want 5002, in session %v, want %v", got, c.Session(), id)
		}
		for i, want := range []clients.Outcome{clients.Applied, clients.NotApplied} {
			if r, err := c.Outcome(t.Context(), lost[i]); err != nil || r.Outcome != want {
				t.Errorf("violation of once: %v is told as %v, %v, want %v", lost[i], r.Outcome, err, want)
			}
		}
	})
}

// A request that takes long is not covered by the checkpoints of those that overtake it.
func TestCheckpointsWaitForTheSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t, 10*ms), newMachine()
		w.replicas[1].proposer.set(func(r gateway.Request, done func(gateway.Answer)) {
			if r.Kind == wire.RequestCommand && r.Number == 2 {
				time.AfterFunc(2*time.Second, func() { m.Propose(r, done) })
				return
			}
			m.Propose(r, done)
		})
		c := w.dial(session)
		if _, err := c.Increment(t.Context(), "n", 1); err != nil {
			t.Fatal(err)
		}
		op := wire.AppendOp(nil, &wire.Op{Kind: wire.OpIncrement, Key: []byte("n"), Delta: 1})
		futures := []*clients.Future{c.Submit(t.Context(), op)}
		for range 3000 { // which the window does not hold
			futures = append(futures, c.Submit(t.Context(), op))
		}
		for i, f := range futures {
			if _, err := f.Wait(); err != nil {
				t.Fatalf("violation of once: request %d: %v", i, err)
			}
		}
		if got := counter(t, c, "n"); got != 3002 {
			t.Errorf("violation of once: the counter is %d, want 3002", got)
		}
	})
}

// A session expires. What was never executed goes on in the next, what may have been is reported.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t, 10*ms, 20*ms), newMachine()
		w.sharing(m)
		c := w.dial(session)
		if _, err := c.Increment(t.Context(), "n", 1); err != nil {
			t.Fatal(err)
		}
		first := c.Session()
		m.expire(first)
		if _, err := c.Increment(t.Context(), "n", 1); err != nil || c.Session() == first {
			t.Errorf("%v in session %v: a request with one copy, which had no effect, may go on in another", err, c.Session())
		}
		at := nearest(c)
		w.replicas[at].proposer.set(func(r gateway.Request, done func(gateway.Answer)) {
			m.do(&r)
			m.expire(r.Session) // before the copy comes
		})
		_, err := c.Increment(t.Context(), "n", 1)
		if !errors.Is(err, clients.ErrSessionExpired) || clients.OutcomeOf(err) != clients.Unknown {
			t.Errorf("violation of once: %v, want that the session has expired, and the outcome unknown", err)
		}
		if got := counter(t, c, "n"); got != 3 {
			t.Errorf("violation of once: the counter is %d, want 3", got)
		}
		if _, err := c.Outcome(t.Context(), nameOf(t, err)); !errors.Is(err, clients.ErrSessionExpired) {
			t.Errorf("outcome: %v, want that the session has expired", err)
		}
	})
}

// A client that does nothing tells that it lives, and one that is closed ends its session.
func TestKeepAliveAndFarewell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t, 10*ms), newMachine()
		var kinds [wire.SessionClose + 1]atomic.Int32
		w.replicas[1].proposer.set(func(r gateway.Request, done func(gateway.Answer)) {
			if op, err := wire.DecodeSessionOp(r.Payload); err == nil && r.Kind == wire.RequestSession {
				kinds[op.Kind].Add(1)
			}
			m.Propose(r, done)
		})
		c := w.dial(session)
		if _, err := c.Get(t.Context(), "n"); err != nil {
			t.Fatal(err)
		}
		if kinds[wire.SessionOpen].Load() != 0 {
			t.Error("a client that only reads has opened a session")
		}
		if _, err := c.Increment(t.Context(), "n", 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2*time.Minute + time.Second)
		if kinds[wire.SessionKeep].Load() != 6 {
			t.Errorf("the client told %d times in 2 minutes that it lives, want 6 times", kinds[wire.SessionKeep].Load())
		}
		if err := c.Close(); err != nil || kinds[wire.SessionClose].Load() != 1 {
			t.Errorf("%v, %d sessions were closed, want 1", err, kinds[wire.SessionClose].Load())
		}
	})
}

// Replicas fail, refuse, execute without answering and answer late, sessions expire: in the end the counter is what was
// acknowledged, and what of the unknown was found to be applied.
func TestOnceInTurmoil(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { turmoil(t, seed) })
		})
	}
}

// moody is a replica of a machine that does not always do as it should.
type moody struct {
	mu   sync.Mutex
	rand *rand.Rand
	calm bool
	m    *machine
}

func (p *moody) propose(r gateway.Request, done func(gateway.Answer)) {
	p.mu.Lock()
	dice, late := p.rand.IntN(100), time.Duration(p.rand.IntN(8000))*ms
	if p.calm {
		dice = 99
	}
	p.mu.Unlock()
	switch {
	case dice < 5:
		done(gateway.Answer{Code: wire.CodeUnavailable, Outcome: wire.OutcomeNotApplied, Retry: true})
	case dice < 10: // it stops, and the command may have been decided
		if dice%2 == 0 {
			p.m.do(&r)
		}
		done(gateway.Answer{Code: wire.CodeInternal, Outcome: wire.OutcomeUnknown})
	case dice < 15: // the copy is executed when others have been, perhaps when nobody expects it any more
		time.AfterFunc(late, func() { p.m.Propose(r, done) })
	case dice < 20: // the answer is lost
		p.m.do(&r)
	default:
		p.m.Propose(r, done)
	}
}

func turmoil(t *testing.T, seed uint64) {
	w, m := newWorld(t, 10*ms, 20*ms, 30*ms), newMachine()
	var moods []*moody
	for id := range w.replicas {
		p := &moody{rand: rand.New(rand.NewPCG(seed, uint64(id))), m: m}
		moods = append(moods, p)
		w.replicas[id].proposer.set(p.propose)
	}
	c := w.dial(session, clients.WithPolicy(clients.Policy{StallAfter: 500 * ms}))
	random := rand.New(rand.NewPCG(seed, 99))
	var sum, acknowledged, resolved, unresolved int64
	for round := range 40 {
		var futures []*clients.Future
		for range 1 + random.IntN(60) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(200+random.IntN(4000))*ms)
			defer cancel()
			op := wire.AppendOp(nil, &wire.Op{Kind: wire.OpIncrement, Key: []byte("n"), Delta: 1})
			futures = append(futures, c.Start(ctx, clients.Request{Payload: op}))
		}
		if seed%2 == 1 && round%8 == 7 {
			m.expire(c.Session())
		}
		for _, f := range futures {
			_, err := f.Wait()
			switch clients.OutcomeOf(err) {
			case clients.Applied:
				acknowledged++
			case clients.Unknown:
				id := nameOf(t, err)
				r, err := settle(t, c, id)
				switch {
				case errors.Is(err, clients.ErrSessionExpired):
					unresolved++
				case err != nil:
					t.Fatalf("violation of once: the outcome of %v: %v", id, err)
				case r.Outcome == clients.Applied:
					resolved++
				}
			}
		}
	}
	for _, p := range moods {
		p.mu.Lock()
		p.calm = true
		p.mu.Unlock()
	}
	time.Sleep(10 * time.Second) // what comes late has come
	sum = counter(t, c, "n")
	if low := acknowledged + resolved; sum < low || sum > low+unresolved || seed%2 == 0 && unresolved > 0 {
		t.Errorf("violation of once: the counter is %d; %d increments were acknowledged, %d resolved as applied, "+
			"%d in sessions that expired", sum, acknowledged, resolved, unresolved)
	}
	t.Logf("counter %d: %d acknowledged, %d resolved as applied, %d not resolvable", sum, acknowledged, resolved, unresolved)
}

// settle asks until somebody answers.
func settle(t *testing.T, c *clients.Client, id clients.RequestID) (clients.Resolution, error) {
	for {
		r, err := c.Outcome(t.Context(), id)
		if err == nil || errors.Is(err, clients.ErrSessionExpired) || errors.Is(err, clients.ErrOutcomeForgotten) {
			return r, err
		}
	}
}

func TestParseRequestID(t *testing.T) {
	for _, id := range []clients.RequestID{
		{Session: epaxos.InstanceID{Epoch: 1, Replica: 2, Slot: 300}, Number: 17},
		{Session: epaxos.InstanceID{Epoch: 7, Replica: 2, Slot: 300}, Number: 1},
	} {
		if got, err := clients.ParseRequestID(id.String()); err != nil || got != id {
			t.Errorf("%v became %v, %v", id, got, err)
		}
	}
	for _, text := range []string{"", "/", "2.3", "2.3/", "2.3/0", "2.3/x", "2/3", "x.y/3", "0.1/1", "1.0/1", "e0:1.1/1", "e:1.1/1"} {
		if id, err := clients.ParseRequestID(text); err == nil {
			t.Errorf("%q was read as %v", text, id)
		}
	}
	token := fmt.Sprint(clients.Token{})
	if got, err := clients.ParseToken(token); err != nil || fmt.Sprint(got) != token {
		t.Errorf("token %q became %v, %v", token, got, err)
	}
}
