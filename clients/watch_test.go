package clients_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/clients/gateway"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/watch"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// theatre is a cluster of one machine, whose replicas execute at once, each with a journal of its own.
type theatre struct {
	*world
	machine *machine
	mu      sync.Mutex
	stages  map[epaxos.ReplicaID]*stage
	log     [][]execution.Change // by slot - 1
}

// stage is what one replica tells.
type stage struct {
	theatre *theatre
	watches *watch.Watches
	open    map[epaxos.ProposalID]func(gateway.Answer)
	last    epaxos.ProposalID
	asked   int
	refuses bool
}

func newTheatre(t *testing.T, rtts ...time.Duration) *theatre {
	th := &theatre{world: newWorld(t, rtts...), machine: newMachine(), stages: map[epaxos.ReplicaID]*stage{}}
	th.machine.state.RecordChanges()
	for id, r := range th.replicas {
		s := &stage{theatre: th, open: map[epaxos.ProposalID]func(gateway.Answer){}}
		th.stages[id] = s
		s.restart(0)
		r.proposer.set(s.propose)
	}
	return th
}

// restart makes the journal of a stage begin behind a slot.
func (s *stage) restart(behind epaxos.Slot) {
	s.watches = watch.New(1<<20, 100)
	executed := wire.InstanceSet{Epoch: 1}
	if behind > 0 {
		executed.AddUpTo(1, 1, behind)
	}
	s.watches.Restart(executed)
	for slot := behind; int(slot) < len(s.theatre.log); slot++ {
		s.watches.Executed(1, slot+1, s.theatre.log[slot])
	}
}

func (s *stage) Event(c *execution.Change) (execution.Event, bool, error) {
	return execution.KV{}.Event(c)
}

func (s *stage) Scan(from, to string, visit func(key string, value []byte) bool) error {
	return s.theatre.machine.state.Scan(epaxos.SpaceState, from, to, visit)
}

func (s *stage) propose(request gateway.Request, done func(gateway.Answer)) {
	th := s.theatre
	th.mu.Lock()
	defer th.mu.Unlock()
	switch {
	case request.Kind != wire.RequestWatch:
		answer := th.machine.do(&request)
		for len(th.log) < int(th.machine.slot) { //nolint:gosec // few
			th.log = append(th.log, slices.Clone(th.machine.state.TakeChanges()))
			for _, one := range th.stages {
				one.watches.Executed(1, epaxos.Slot(len(th.log)), th.log[len(th.log)-1])
			}
		}
		done(answer)
	case s.refuses:
		done(gateway.Answer{Code: wire.CodeUnavailable, Outcome: wire.OutcomeNotApplied, Retry: true})
	default:
		s.poll(request, done)
	}
	for _, one := range th.stages {
		one.serve()
	}
}

func (s *stage) poll(request gateway.Request, done func(gateway.Answer)) {
	r, err := wire.DecodeWatchRequest(request.Payload)
	poll := watch.Poll{From: string(r.From), End: string(r.End), State: r.State, BytesMax: 1 << 10}
	if len(r.Token) > 0 && err == nil {
		var token wire.WatchToken
		token, err = wire.DecodeWatchToken(r.Token)
		poll.Token = &token
	}
	s.last++
	s.asked++
	poll.ID = s.last
	if err == nil {
		err = s.watches.Open(poll)
	}
	if err != nil {
		done(gateway.Answer{Code: wire.CodeInvalid, Outcome: wire.OutcomeNotApplied, Detail: err.Error()})
		return
	}
	s.open[poll.ID] = done
	time.AfterFunc(time.Duration(r.Wait)*time.Millisecond, func() { //nolint:gosec // short
		s.theatre.mu.Lock()
		defer s.theatre.mu.Unlock()
		s.end(poll.ID, s.watches.End(poll.ID))
	})
}

func (s *stage) serve() {
	answers, err := s.watches.Serve(s)
	if err != nil {
		panic(err)
	}
	for _, a := range answers {
		s.end(a.ID, a.Result)
	}
}

func (s *stage) end(id epaxos.ProposalID, result []byte) {
	done := s.open[id]
	delete(s.open, id)
	switch {
	case done == nil:
	case result == nil:
		done(gateway.Answer{Code: wire.CodeUnavailable, Outcome: wire.OutcomeNotApplied, Retry: true})
	default:
		done(gateway.Answer{Code: wire.CodeOK, Outcome: wire.OutcomeApplied, Result: result})
	}
}

// put is of somebody else.
func (th *theatre) put(key, value string) {
	op := wire.Op{Kind: wire.OpPut, Key: []byte(key), Value: []byte(value)}
	th.stages[1].propose(
		gateway.Request{Kind: wire.RequestCommand, Payload: wire.AppendOp(nil, &op)}, func(gateway.Answer) {})
}

// forget makes a replica restart, which loses its journal and the polls that it has.
func (th *theatre) forget(id epaxos.ReplicaID) {
	th.mu.Lock()
	defer th.mu.Unlock()
	s := th.stages[id]
	for id := range s.open {
		s.end(id, nil)
	}
	s.restart(epaxos.Slot(len(th.log)))
}

func (th *theatre) asked() (all int) {
	th.mu.Lock()
	defer th.mu.Unlock()
	for _, s := range th.stages {
		all += s.asked
	}
	return all
}

func shown(e clients.Event) string {
	switch e.Type {
	case clients.EventPut, clients.EventState:
		return fmt.Sprintf("%v %s=%s@%d", e.Type, e.Key, e.Value, e.Version)
	case clients.EventDelete:
		return fmt.Sprintf("%v %s@%d", e.Type, e.Key, e.Version)
	case clients.EventAdd:
		return fmt.Sprintf("%v %s%+d", e.Type, e.Key, e.Delta)
	default:
		return e.Type.String()
	}
}

func expect(t *testing.T, w *clients.Watch, want ...string) {
	t.Helper()
	for _, one := range want {
		e, err := w.Next(t.Context())
		if err != nil {
			t.Fatalf("want %q: %v", one, err)
		}
		if got := shown(e); got != one {
			t.Fatalf("got %q, want %q", got, one)
		}
	}
}

// silent expects that nothing comes for a while.
func silent(t *testing.T, w *clients.Watch, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	e, err := w.Next(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v, %v: want nothing", e, err)
	}
}

func put(t *testing.T, c *clients.Client, key, value string) {
	t.Helper()
	if _, err := c.Put(t.Context(), key, []byte(value)); err != nil {
		t.Fatal(err)
	}
}

func begin(t *testing.T, c *clients.Client, span clients.Span, options ...clients.WatchOption) *clients.Watch {
	t.Helper()
	w, err := c.Watch(t.Context(), span, options...)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWatchTellsEachChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newTheatre(t, 10*ms, 30*ms)
		c := th.dial()
		put(t, c, "a", "before")
		all := begin(t, c, clients.Span{}, clients.WithState())
		later := begin(t, c, clients.Point("a"))
		expect(t, all, "state a=before@1", "current")
		put(t, c, "a", "1")
		put(t, c, "b", "2")
		if _, err := c.Delete(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Add(t.Context(), "n", -7); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Delete(t.Context(), "absent"); err != nil { // changes nothing
			t.Fatal(err)
		}
		put(t, c, "z", "")
		expect(t, all, "put a=1@2", "put b=2@1", "delete a@3", "add n-7", "put z=@1")
		expect(t, later, "put a=1@2", "delete a@3")
		silent(t, all, time.Minute)
		put(t, c, "a", "again")
		expect(t, all, "put a=again@4")
	})
}

// While nothing happens a watch asks seldom, disturbs nobody, and does not make its replica look as if it hung.
func TestAWatchAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newTheatre(t, 10*ms, 11*ms)
		c := th.dial()
		w := begin(t, c, clients.Point("k"))
		before := th.asked()
		silent(t, w, 5*time.Minute)
		if polls := th.asked() - before; polls > 40 {
			t.Errorf("%d polls in 5 minutes", polls)
		}
		if got := nearest(c); got != 1 {
			t.Errorf("the client has moved to replica %d", got)
		}
		put(t, c, "k", "v")
		expect(t, w, "put k=v@1")
	})
}

func TestWatchFailsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newTheatre(t, 10*ms, 30*ms, 50*ms)
		c := th.dial()
		w := begin(t, c, clients.Prefix("k"))
		put(t, c, "k1", "1")
		expect(t, w, "put k1=1@1")
		waiting := make(chan string, 1)
		go func() {
			e, err := w.Next(t.Context())
			waiting <- fmt.Sprint(shown(e), err)
		}()
		synctest.Wait()
		th.replicas[1].packets.plug(false)
		th.put("k2", "2")
		if got := <-waiting; got != "put k2=2@1<nil>" {
			t.Errorf("got %s", got)
		}
		th.stages[2].refuses = true
		th.put("k3", "3")
		expect(t, w, "put k3=3@1")
	})
}

// What one replica has forgotten another may know; only what nobody knows is an event.
func TestWatchResync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newTheatre(t, 10*ms, 30*ms)
		c := th.dial()
		put(t, c, "k1", "1")
		put(t, c, "k2", "1")
		w := begin(t, c, clients.Prefix("k"))
		time.Sleep(time.Second) // until both replicas are connected
		put(t, c, "k1", "2")
		th.forget(1)
		expect(t, w, "put k1=2@2")
		put(t, c, "k1", "3")
		if _, err := c.Delete(t.Context(), "k2"); err != nil {
			t.Fatal(err)
		}
		th.forget(1)
		th.forget(2)
		put(t, c, "k3", "1")
		expect(t, w, "resync", "state k1=3@3", "state k3=1@1", "current")
		put(t, c, "k2", "5")
		expect(t, w, "put k2=5@3")
	})
}

// A token names exactly what Next has returned, also in the midst of an answer, of an instance, and of the state.
func TestWatchTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newTheatre(t, 10*ms)
		c := th.dial()
		for i := range 3 {
			put(t, c, fmt.Sprintf("s%d", i), "0")
		}
		w := begin(t, c, clients.Span{}, clients.WithState())
		want := []string{"state s0=0@1", "state s1=0@1", "state s2=0@1", "current"}
		expect(t, w, want[:2]...)
		put(t, c, "s0", "1")
		put(t, c, "s2", "2")
		_, err := c.Txn(t.Context()).Then(
			clients.OpPut("t1", nil), clients.OpPut("t2", nil), clients.OpPut("t1", []byte("x")),
		).Commit()
		if err != nil {
			t.Fatal(err)
		}
		put(t, c, "u", "1")
		expect(t, w, want[2:]...)
		changes := []string{"put s0=1@2", "put s2=2@2", "put t1=@1", "put t2=@1", "put t1=x@2", "put u=1@1"}
		for i, one := range changes {
			text := w.Token().String()
			token, err := clients.ParseWatchToken(text)
			if err != nil || token.String() != text {
				t.Fatalf("%q is read as %q, %v", text, token, err)
			}
			heir := begin(t, c, clients.Span{}, clients.FromToken(token))
			expect(t, heir, changes[i:]...)
			expect(t, w, one)
		}
		silent(t, w, time.Second)
	})
}

func TestAWatchInTheMidstOfTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newTheatre(t, 10*ms)
		c := th.dial()
		for i := range 3 {
			put(t, c, fmt.Sprintf("s%d", i), "0")
		}
		w := begin(t, c, clients.Span{}, clients.WithState())
		expect(t, w, "state s0=0@1")
		put(t, c, "s0", "1")
		put(t, c, "s2", "2")
		heir := begin(t, c, clients.Span{}, clients.FromToken(w.Token()))
		expect(t, heir, "put s0=1@2", "state s1=0@1", "state s2=2@2", "current")
	})
}

func TestTheEndOfAContextLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newTheatre(t, 100*ms)
		c := th.dial()
		w := begin(t, c, clients.Point("k"))
		for i := range 20 {
			waiting := make(chan error, 1)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				_, err := w.Next(ctx)
				waiting <- err
			}()
			go cancel() // the answer may be on its way
			put(t, c, "k", fmt.Sprint(i))
			if err := <-waiting; err != nil {
				if e, ok := errors.AsType[*clients.Error](err); !ok || !e.Retryable || !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				expect(t, w, fmt.Sprintf("put k=%d@%d", i, i+1))
			}
		}
	})
}

func TestWatchErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newTheatre(t, 10*ms)
		c := th.dial()
		if _, err := c.Watch(t.Context(), clients.Span{From: "b", End: "a"}); !errors.Is(err, clients.ErrInvalid) {
			t.Errorf("no keys: %v", err)
		}
		w := begin(t, c, clients.Point("k"))
		other := begin(t, c, clients.Point("l"), clients.FromToken(w.Token()))
		if _, err := other.Next(t.Context()); !errors.Is(err, clients.ErrInvalid) {
			t.Errorf("a token of other keys: %v", err)
		}
		for _, text := range []string{"", "?", "AAAA"} {
			if _, err := clients.ParseWatchToken(text); err == nil {
				t.Errorf("%q is a token", text)
			}
		}
		waiting := make(chan error, 1)
		go func() {
			for _, err := range w.Events(t.Context()) {
				waiting <- err
			}
		}()
		synctest.Wait()
		c.Close()
		if err := <-waiting; !errors.Is(err, clients.ErrClosed) {
			t.Errorf("the client was closed: %v", err)
		}
	})
}
