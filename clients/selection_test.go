package clients_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/clients/gateway"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

const ms = time.Millisecond

// settled returns a world in which replica 1 is 10 ms away, 2 is 30 ms, 3 is 60 ms, and a client
// that is connected to all and has finished its first probes.
func settled(t *testing.T, opts ...clients.Option) (*world, *clients.Client) {
	t.Helper()
	w := newWorld(t, 10*ms, 30*ms, 60*ms)
	c := w.dial(opts...)
	time.Sleep(2 * time.Second)
	if got := nearest(c); got != 1 {
		t.Fatalf("replica %d serves, want 1: %+v", got, c.Replicas())
	}
	return w, c
}

// wantServer sends one command and checks who answers it.
func wantServer(t *testing.T, c *clients.Client, want epaxos.ReplicaID) {
	t.Helper()
	reply, err := c.Do(t.Context(), []byte("command"))
	if err != nil {
		t.Fatal(err)
	}
	if reply.Replica != want {
		t.Fatalf("replica %d answered, want %d: %+v", reply.Replica, want, c.Replicas())
	}
}

func TestSettlesOnTheNearest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 80*ms, 10*ms, 40*ms)
		c := w.dial()
		time.Sleep(time.Second)
		if got := len(c.Replicas()); got != 3 {
			t.Fatalf("connected to %d replicas, want all 3", got)
		}
		reply, err := c.Do(t.Context(), []byte("command"))
		if err != nil || reply.Replica != 2 || !reply.Fast || string(reply.Result) != "command" {
			t.Fatalf("reply %+v, %v", reply, err)
		}
		info := c.Replicas()[1]
		if info.Name != "site2" || !info.Current || info.RTT < 10*ms || info.RTT > 15*ms {
			t.Errorf("replica 2: %+v", info)
		}
	})
}

func TestMovesWhenTheNearestBecomesSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := settled(t)
		w.setRTT(1, 200*ms)
		time.Sleep(10 * time.Second)
		wantServer(t, c, 2)
		w.setRTT(1, 10*ms)
		time.Sleep(15 * time.Second)
		wantServer(t, c, 1)
	})
}

func TestLeavesADrainingReplicaAtOnceAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := settled(t)
		first := w.replicas[1]
		first.gate.SetDraining(true)
		time.Sleep(20 * ms)
		wantServer(t, c, 2)
		if n := first.proposer.count(); n != 0 {
			t.Errorf("the draining replica was given %d commands", n)
		}
		first.gate.SetDraining(false)
		time.Sleep(3 * time.Second)
		wantServer(t, c, 1)
	})
}

func TestADrainingReplicaRefusesWhatIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := settled(t)
		w.replicas[1].gate.SetDraining(true)
		wantServer(t, c, 2) // refused by 1, sent again by itself
	})
}

// A replica that drains and then stops, as at each restart for an upgrade, fails no operation: what was on
// its way when the client was told is refused there, and done elsewhere.
func TestAGracefulStopFailsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 100*ms, 50*ms)
		c := w.dial()
		time.Sleep(5 * time.Second)
		wantServer(t, c, 2)
		var workers sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for k := range 16 {
			workers.Go(func() {
				for ctx.Err() == nil {
					if _, err := c.Do(t.Context(), []byte("write")); err != nil {
						t.Errorf("worker %d: %v", k, err)
					}
					time.Sleep(time.Duration(k) * ms)
				}
			})
		}
		time.Sleep(time.Second)
		if err := w.replicas[2].gate.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		w.replicas[2].stop()
		time.Sleep(time.Second)
		cancel()
		workers.Wait()
	})
}

func TestFailsOverWhenTheReplicaStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := settled(t)
		w.replicas[1].stop()
		synctest.Wait()
		time.Sleep(100 * ms)
		wantServer(t, c, 2)
	})
}

func TestASilentReplicaIsLeftAndTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := settled(t)
		w.replicas[1].packets.plug(false)
		time.Sleep(2500 * ms)
		wantServer(t, c, 2)
		time.Sleep(20 * time.Second) // long enough for the connection to be given up
		if got := len(c.Replicas()); got != 2 {
			t.Fatalf("%d replicas are connected, want 2", got)
		}
		w.replicas[1].packets.plug(true)
		time.Sleep(20 * time.Second)
		wantServer(t, c, 1)
	})
}

// A read that is stuck at a silent replica is answered by another; a write is not repeated, and
// its outcome is told to be unknown.
func TestOnlyReadsAreRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := settled(t)
		w.replicas[1].packets.plug(false)
		read := c.Start(t.Context(), clients.Request{Payload: []byte("read"), ReadOnly: true})
		write := c.Submit(t.Context(), []byte("write"))
		reply, err := read.Wait()
		if err != nil || reply.Replica != 2 {
			t.Fatalf("read: %+v, %v", reply, err)
		}
		_, err = write.Wait()
		if !errors.Is(err, clients.ErrOutcomeUnknown) || clients.IsRetryable(err) {
			t.Fatalf("write: %v, want its outcome unknown", err)
		}
		for id, r := range w.replicas {
			for _, request := range r.proposer.handled {
				if string(request.Payload) == "write" {
					t.Errorf("the write reached replica %d", id)
				}
			}
		}
	})
}

// A replica that answers probes but carries nothing out, as one does that is cut off from a
// quorum, is left as well.
func TestAStalledReplicaIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := settled(t)
		w.replicas[1].proposer.set(never)
		stuck := c.Submit(t.Context(), []byte("stuck"))
		read := c.Start(t.Context(), clients.Request{ReadOnly: true})
		time.Sleep(4 * time.Second)
		wantServer(t, c, 2)
		if reply, err := read.Wait(); err != nil || reply.Replica != 2 {
			t.Errorf("read: %+v, %v", reply, err)
		}
		if _, err := stuck.Wait(); !errors.Is(err, clients.ErrOutcomeUnknown) {
			t.Errorf("stuck: %v, want its outcome unknown", err)
		}
		w.replicas[1].proposer.set(echo)
		time.Sleep(time.Minute)
		wantServer(t, c, 1)
	})
}

// With nowhere else to go a read waits where it is: sending it again would add to the trouble.
func TestReadsAreNotRepeatedAtTheOnlyReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10*ms)
		c := w.dial()
		p := w.replicas[1].proposer
		p.set(never)
		_, err := c.Query(t.Context(), nil)
		wantError(t, err, clients.CodeTimeout, clients.NotApplied)
		if n := p.count(); n != 1 {
			t.Errorf("the read was sent %d times", n)
		}
	})
}

func TestShortTimeoutsDoNotHideAStall(t *testing.T) {
	timeOut := func(_ gateway.Request, done func(gateway.Answer)) {
		time.AfterFunc(400*ms, func() { done(gateway.Answer{Code: wire.CodeTimeout, Outcome: wire.OutcomeUnknown}) })
	}
	for name, answer := range map[string]func(gateway.Request, func(gateway.Answer)){
		"by the client": never, "by the replica": timeOut,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, c := settled(t, clients.WithTimeout(500*ms))
				w.replicas[1].proposer.set(answer)
				for range 10 {
					if reply, err := c.Do(t.Context(), nil); err == nil {
						if reply.Replica != 2 {
							t.Fatalf("replica %d answered", reply.Replica)
						}
						return
					}
					time.Sleep(600 * ms) // none is open for a while
				}
				t.Fatal("the client stayed with a replica that let ten commands time out")
			})
		})
	}
}

func TestRefusalsAreRetriedElsewhere(t *testing.T) {
	tests := []struct {
		name    string
		code    wire.Code
		calls   int // how often the refusing replica is asked by one operation
		staysAt epaxos.ReplicaID
	}{
		{"unavailable", wire.CodeUnavailable, 1, 2},
		{"overloaded", wire.CodeOverloaded, 2, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, c := settled(t)
				first := w.replicas[1].proposer
				first.set(refusing(test.code, wire.OutcomeNotApplied, true))
				wantServer(t, c, 2)
				if got := first.count(); got != test.calls {
					t.Errorf("the refusing replica was asked %d times, want %d", got, test.calls)
				}
				if got := nearest(c); got != test.staysAt {
					t.Errorf("replica %d serves now, want %d", got, test.staysAt)
				}
			})
		})
	}
}

func TestUnknownIsNeverRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := settled(t)
		w.replicas[1].proposer.set(refusing(wire.CodeUnavailable, wire.OutcomeUnknown, true))
		_, err := c.Do(t.Context(), []byte("write"))
		e, ok := errors.AsType[*clients.Error](err)
		if !ok || e.Outcome != clients.Unknown || e.Retryable || e.Replica != 1 || !errors.Is(err, clients.ErrUnavailable) {
			t.Fatalf("error %+v", err)
		}
		if reply, err := c.Query(t.Context(), []byte("read")); err != nil || reply.Replica != 2 {
			t.Fatalf("read: %+v, %v", reply, err)
		}
	})
}

func TestPinnedRequestsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := settled(t)
		for want := epaxos.ReplicaID(1); want <= 3; want++ {
			reply, err := c.Start(t.Context(), clients.Request{Replica: want}).Wait()
			if err != nil || reply.Replica != want {
				t.Errorf("pinned to %d: %+v, %v", want, reply, err)
			}
			status, err := c.Status(t.Context(), want)
			if err != nil || string(status) != `{"replica":`+string('0'+rune(want))+`}` {
				t.Errorf("status of %d: %s, %v", want, status, err)
			}
		}
		_, err := c.Start(t.Context(), clients.Request{Replica: 9}).Wait()
		wantError(t, err, clients.CodeTimeout, clients.NotApplied)
	})
}

func TestRefusalsOfTheOnlyReplicaAreRetriedUntilTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10*ms)
		c := w.dial()
		p := w.replicas[1].proposer
		p.set(refusing(wire.CodeOverloaded, wire.OutcomeNotApplied, true))
		_, err := c.Do(t.Context(), nil)
		wantError(t, err, clients.CodeTimeout, clients.NotApplied)
		if !clients.IsRetryable(err) || !errors.Is(err, clients.ErrOverloaded) {
			t.Fatalf("error %v, want a retryable one that tells of the overload", err)
		}
		if n := p.count(); n < 5 || n > 40 {
			t.Errorf("asked %d times in 10 s, want back-off up to a second", n)
		}
		p.set(func(request gateway.Request, done func(gateway.Answer)) {
			if p.count()%3 != 0 {
				refusing(wire.CodeOverloaded, wire.OutcomeNotApplied, true)(request, done)
				return
			}
			echo(request, done)
		})
		wantServer(t, c, 1)
	})
}
