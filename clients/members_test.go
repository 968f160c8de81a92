package clients_test

import (
	"context"
	"fmt"
	"slices"
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

// epoch is the membership of some replicas; those below zero are learners.
func (w *world) epoch(ids ...int) []wire.MemberInfo {
	var members []wire.MemberInfo
	for _, id := range ids {
		m := wire.MemberInfo{Replica: epaxos.ReplicaID(max(id, -id))}
		if id < 0 {
			m.Role = wire.RoleLearner
		}
		m.Endpoint = w.replicas[m.Replica].address.String()
		members = append(members, m)
	}
	return members
}

// tell has all replicas tell their clients of a membership.
func (w *world) tell(epoch epaxos.Epoch, ids ...int) {
	for _, r := range w.replicas {
		r.gate.SetMembers(epoch, w.epoch(ids...))
	}
}

// wantConnected checks to whom a client is connected.
func wantConnected(t *testing.T, c *clients.Client, want ...epaxos.ReplicaID) {
	t.Helper()
	var got []epaxos.ReplicaID
	for _, r := range c.Replicas() {
		got = append(got, r.Replica)
	}
	if !slices.Equal(got, want) {
		t.Errorf("connected to %d, want %d", got, want)
	}
}

// wantDeparted checks that no client is connected to a replica.
func (r *replica) wantDeparted(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := r.gate.Depart(ctx); err != nil {
		t.Errorf("replica %d: %v", r.id, err)
	}
}

// manual is a proposer whose answers the test gives.
type manual struct {
	mu    sync.Mutex
	dones []func(gateway.Answer)
}

func (m *manual) propose(_ gateway.Request, done func(gateway.Answer)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dones = append(m.dones, done)
}

func (m *manual) answerAll(answer gateway.Answer) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, done := range m.dones {
		done(answer)
	}
	n := len(m.dones)
	m.dones = nil
	return n
}

func TestNewMembersAreTakenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 40*ms, 30*ms, 20*ms, 5*ms)
		w.tell(1, 1, 2, 3)
		c := w.dial()
		time.Sleep(10 * time.Second)
		wantConnected(t, c, 1, 2, 3)
		wantServer(t, c, 3)
		w.tell(2, 1, 2, 3, 4)
		time.Sleep(10 * time.Second)
		wantConnected(t, c, 1, 2, 3, 4)
		wantServer(t, c, 4)
	})
}

func TestFormerMembersAreLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 40*ms, 30*ms, 10*ms)
		w.tell(1, 1, 2, 3)
		c := w.dial()
		time.Sleep(5 * time.Second)
		wantServer(t, c, 3)
		var open manual
		w.replicas[3].proposer.set(open.propose)
		write := c.Submit(t.Context(), []byte("write"))
		read := c.Start(t.Context(), clients.Request{Payload: []byte("read"), ReadOnly: true})
		time.Sleep(100 * ms)
		before := w.replicas[3].proposer.count()

		// One of the others tells it first; the client believes the later epoch.
		w.replicas[1].gate.SetMembers(2, w.epoch(1, 2))
		if reply, err := read.Wait(); err != nil || reply.Replica == 3 {
			t.Errorf("what only reads went on at the former member: %+v, %v", reply, err)
		}
		for range 10 {
			if reply, err := c.Do(t.Context(), []byte("later")); err != nil || reply.Replica != 2 {
				t.Errorf("%+v, %v", reply, err)
			}
		}
		wantConnected(t, c, 1, 2)
		if n := w.replicas[3].proposer.count(); n != before {
			t.Errorf("%d requests went to the former member", n-before)
		}
		time.Sleep(time.Second)
		if n := open.answerAll(gateway.Answer{Code: wire.CodeOK, Outcome: wire.OutcomeApplied}); n != 2 {
			t.Errorf("the former member had %d requests, want 2", n)
		}
		if reply, err := write.Wait(); err != nil || reply.Replica != 3 {
			t.Errorf("what was under way: %+v, %v", reply, err)
		}
		for range 60 { // it is left, and not dialed any more
			time.Sleep(time.Second)
			w.replicas[3].wantDeparted(t)
		}
		w.replicas[2].gate.SetMembers(1, w.epoch(1, 2, 3)) // old news
		time.Sleep(time.Second)
		wantConnected(t, c, 1, 2)
	})
}

// "Void here": the replica answers for what it had taken, and others carry it out.
func TestWhatIsVoidHereIsDoneElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 40*ms, 30*ms, 10*ms)
		w.tell(1, 1, 2, 3)
		c := w.dial()
		time.Sleep(5 * time.Second)
		wantServer(t, c, 3)
		var open manual
		w.replicas[3].proposer.set(open.propose)
		var futures []*clients.Future
		for range 10 {
			futures = append(futures, c.Submit(t.Context(), []byte("write")))
		}
		time.Sleep(100 * ms)
		w.tell(2, 1, 2)
		open.answerAll(gateway.Answer{
			Code: wire.CodeUnavailable, Outcome: wire.OutcomeNotApplied, Retry: true, Detail: "void here",
		})
		for _, f := range futures {
			if reply, err := f.Wait(); err != nil || reply.Replica != 2 {
				t.Errorf("%+v, %v", reply, err)
			}
		}
	})
}

// ledger counts how often each payload was carried out, wherever that was.
type ledger struct {
	mu    sync.Mutex
	times map[string]int
}

func (l *ledger) carryOut(request gateway.Request, done func(gateway.Answer)) {
	l.mu.Lock()
	l.times[string(request.Payload)]++
	l.mu.Unlock()
	echo(request, done)
}

// All members are replaced one by one, the one that the client was told to dial included, while it
// works: no operation fails, and none is carried out twice.
func TestAClusterIsReplacedUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10*ms, 20*ms, 30*ms, 40*ms, 50*ms, 60*ms)
		done := ledger{times: make(map[string]int)}
		for _, r := range w.replicas {
			r.proposer.set(done.carryOut)
		}
		w.tell(1, 1, 2, 3)
		c := w.dial()
		var operations atomic.Int64
		var workers sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for k := range 8 {
			workers.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					payload := fmt.Sprintf("%d.%d", k, i)
					if _, err := c.Do(t.Context(), []byte(payload)); err != nil {
						t.Errorf("%s: %v", payload, err)
					}
					operations.Add(1)
				}
			})
		}
		for step := range 3 {
			time.Sleep(3 * time.Second)
			leaving, next := w.replicas[epaxos.ReplicaID(step+1)], epaxos.Epoch(2*step+2)
			w.tell(next, step+1, step+2, step+3, step+4)
			time.Sleep(3 * time.Second)
			// It executes the end of its membership: what it has not done is void, and all else is refused.
			leaving.proposer.set(refusing(wire.CodeUnavailable, wire.OutcomeNotApplied, true))
			time.Sleep(50 * ms)
			w.tell(next+1, step+2, step+3, step+4)
			limit, stop := context.WithTimeout(t.Context(), 5*time.Second)
			if err := leaving.gate.Depart(limit); err != nil {
				t.Error(err)
			}
			stop()
			leaving.stop()
		}
		time.Sleep(time.Second)
		cancel()
		workers.Wait()
		wantConnected(t, c, 4, 5, 6)
		if n := operations.Load(); n < 1000 || int(n) != len(done.times) {
			t.Errorf("%d operations, of which %d were carried out", n, len(done.times))
		}
		for payload, times := range done.times {
			if times != 1 {
				t.Errorf("violation of once: %s was carried out %d times", payload, times)
			}
		}
	})
}

func TestLearnersAreNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 40*ms, 20*ms, 10*ms)
		w.tell(1, 1, 2, -3)
		c := w.dial()
		time.Sleep(5 * time.Second)
		wantConnected(t, c, 1, 2, 3)
		wantServer(t, c, 2)
		for _, r := range c.Replicas() {
			if r.Learner != (r.Replica == 3) {
				t.Errorf("%+v", r)
			}
		}
		if _, err := c.Status(t.Context(), 3); err != nil {
			t.Errorf("a learner that is asked by name: %v", err)
		}
		w.replicas[1].packets.plug(false)
		w.replicas[2].packets.plug(false)
		write := c.Submit(t.Context(), []byte("write"))
		time.Sleep(8 * time.Second)
		if n := w.replicas[3].proposer.count(); n != 0 {
			t.Errorf("%d commands went to a learner", n)
		}
		w.tell(2, 1, 2, 3) // promoted
		if reply, err := write.Wait(); clients.OutcomeOf(err) == clients.NotApplied {
			t.Errorf("%+v, %v", reply, err)
		}
		if reply, err := c.Do(t.Context(), []byte("write")); err != nil || reply.Replica != 3 {
			t.Errorf("after the promotion: %+v, %v", reply, err)
		}
		w.tell(3, 1, 2, -3)
		time.Sleep(time.Second)
		if s := nearest(c); s == 3 {
			t.Error("a demoted member serves on")
		}
	})
}

// A client that has lost everybody tries what it was told at first, though that was of a member that
// left: whoever is there by now may know the present members.
func TestTheGivenEndpointIsTheLastResort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10*ms, 20*ms)
		w.tell(1, 1, 2)
		c := w.dial()
		time.Sleep(2 * time.Second)
		w.tell(2, 2)
		time.Sleep(2 * time.Second)
		wantConnected(t, c, 2)
		for range 30 {
			time.Sleep(time.Second)
			w.replicas[1].wantDeparted(t)
		}
		w.replicas[2].packets.plug(false)
		w.replicas[1].gate.SetMembers(3, w.epoch(1))
		w.replicas[1].gate.SetDraining(false)
		if reply, err := c.Query(t.Context(), []byte("read")); err != nil || reply.Replica != 1 {
			t.Errorf("%+v, %v", reply, err)
		}
		wantConnected(t, c, 1)
	})
}
