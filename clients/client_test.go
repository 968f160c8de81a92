package clients_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/clients/gateway"
	"github.com/264bc8cf/epaxos/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(withExamples{m}) }

// wantError checks the parts of an error that programs may depend on.
func wantError(t *testing.T, err error, code clients.Code, outcome clients.Outcome) {
	t.Helper()
	e, ok := errors.AsType[*clients.Error](err)
	if !ok || e.Code != code || e.Outcome != outcome {
		t.Errorf("error %v, want %v with %v", err, code, outcome)
	}
}

// alone returns a client of a single replica that is 10 ms away.
func alone(t *testing.T, opts ...clients.Option) (*replica, *clients.Client) {
	t.Helper()
	w := newWorld(t, 10*ms)
	return w.replicas[1], w.dial(opts...)
}

func TestTheDeadlineTravels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := alone(t)
		ctx, cancel := context.WithTimeout(t.Context(), 700*ms)
		defer cancel()
		want := time.Now().Add(700 * ms)
		if _, err := c.Do(ctx, nil); err != nil {
			t.Fatal(err)
		}
		got := r.proposer.handled[0].Deadline
		if d := got.Sub(want); d < 0 || d > 20*ms {
			t.Errorf("the proposer sees a deadline %v after the caller's, want the way there at most", d)
		}
	})
}

func TestTheReplicaMaySayNotApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := alone(t)
		r.proposer.set(refusing(wire.CodeTimeout, wire.OutcomeNotApplied, false))
		_, err := c.Do(t.Context(), nil)
		wantError(t, err, clients.CodeTimeout, clients.NotApplied)
	})
}

func TestTheEndOfTheContextEndsTheOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := alone(t)
		r.proposer.set(never)

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := c.Do(ctx, nil)
		wantError(t, err, clients.CodeCanceled, clients.NotApplied)
		if n := r.proposer.count(); n != 0 {
			t.Errorf("a cancelled operation was sent")
		}

		ctx, cancel = context.WithCancel(t.Context())
		under := c.Submit(ctx, []byte("write"))
		time.Sleep(100 * ms)
		cancel()
		start := time.Now()
		_, err = under.Wait()
		wantError(t, err, clients.CodeCanceled, clients.Unknown)
		if !errors.Is(err, context.Canceled) || time.Since(start) != 0 {
			t.Errorf("error %v after %v", err, time.Since(start))
		}

		ctx, cancel = context.WithTimeout(t.Context(), 50*ms)
		defer cancel()
		_, err = c.Query(ctx, nil)
		wantError(t, err, clients.CodeTimeout, clients.NotApplied)
		if !errors.Is(err, context.DeadlineExceeded) || !clients.IsRetryable(err) {
			t.Errorf("error %v", err)
		}
	})
}

// Nobody waits for an operation with a callback, so the client itself must notice its end.
func TestCallbacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := alone(t)
		type end struct {
			reply clients.Reply
			err   error
		}
		ends := make(chan end, 1)
		start := func(ctx context.Context) {
			c.Start(ctx, clients.Request{Payload: []byte("p"), Done: func(reply clients.Reply, err error) {
				ends <- end{reply, err}
			}})
		}
		start(t.Context())
		if e := <-ends; e.err != nil || string(e.reply.Result) != "p" {
			t.Errorf("%+v", e)
		}

		r.proposer.set(never)
		ctx, cancel := context.WithCancel(t.Context())
		start(ctx)
		time.Sleep(time.Second)
		cancel()
		wantError(t, (<-ends).err, clients.CodeCanceled, clients.Unknown)

		start(t.Context())
		wantError(t, (<-ends).err, clients.CodeTimeout, clients.Unknown)

		start(ctx)
		wantError(t, (<-ends).err, clients.CodeCanceled, clients.NotApplied)
	})
}

func TestOperationsInFlightAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := alone(t, clients.WithInFlight(2), clients.WithTimeout(time.Second))
		r.proposer.set(never)
		first, second := c.Submit(t.Context(), nil), c.Submit(t.Context(), nil)

		ctx, cancel := context.WithTimeout(t.Context(), 100*ms)
		defer cancel()
		_, err := c.Do(ctx, nil)
		wantError(t, err, clients.CodeTimeout, clients.NotApplied)
		time.Sleep(100 * ms)
		if n := r.proposer.count(); n != 2 {
			t.Errorf("%d operations reached the replica, want 2", n)
		}
		for _, f := range []*clients.Future{first, second} {
			_, err := f.Wait()
			wantError(t, err, clients.CodeTimeout, clients.Unknown)
		}
		r.proposer.set(echo)
		if _, err := c.Do(t.Context(), nil); err != nil {
			t.Errorf("with slots free again: %v", err)
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := alone(t)
		r.proposer.set(never)
		write := c.Submit(t.Context(), []byte("write"))
		read := c.Start(t.Context(), clients.Request{ReadOnly: true})
		time.Sleep(100 * ms)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		_, err := write.Wait()
		wantError(t, err, clients.CodeUnavailable, clients.Unknown)
		if !errors.Is(err, clients.ErrClosed) {
			t.Errorf("%v does not tell of Close", err)
		}
		_, err = read.Wait()
		wantError(t, err, clients.CodeClosed, clients.NotApplied)
		_, err = c.Do(t.Context(), nil)
		wantError(t, err, clients.CodeClosed, clients.NotApplied)
		if err := c.Close(); err != nil {
			t.Errorf("second: %v", err)
		}
	})
}

// A stuck replica reads no more. What lies in the client's queue when it falls silent was never
// sent, and is carried out by another replica; what may have been read is reported.
func TestWhatWasNeverSentIsSentElsewhere(t *testing.T) {
	for name, policy := range map[string]clients.Policy{
		"when the replica is suspected": {},
		"when the connection ends":      {SuspectAfter: time.Hour, StallAfter: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, c := settled(t, clients.WithPolicy(policy), clients.WithTimeout(30*time.Second))
				release := make(chan struct{})
				defer close(release)
				w.replicas[1].proposer.set(func(gateway.Request, func(gateway.Answer)) { <-release })
				var futures []*clients.Future
				for i := range 40 {
					payload := make([]byte, 40<<10)
					payload[0] = byte(i)
					futures = append(futures, c.Submit(t.Context(), payload))
				}
				time.Sleep(time.Second)
				w.replicas[1].packets.plug(false)
				wantSentOnce(t, w, futures)
			})
		})
	}
}

// wantSentOnce checks that some operations were carried out by replica 2, that the others are
// reported as unknown, and that none of the latter was sent there as well.
func wantSentOnce(t *testing.T, w *world, futures []*clients.Future) {
	t.Helper()
	applied := 0
	unknown := make(map[byte]bool)
	for i, f := range futures {
		reply, err := f.Wait()
		switch {
		case err == nil && reply.Replica == 2:
			applied++
		case errors.Is(err, clients.ErrOutcomeUnknown):
			unknown[byte(i)] = true
		default:
			t.Fatalf("operation %d: %+v, %v", i, reply, err)
		}
	}
	if applied == 0 || len(unknown) == 0 {
		t.Fatalf("%d applied elsewhere, %d unknown: want some of both", applied, len(unknown))
	}
	for _, request := range w.replicas[2].proposer.handled {
		if unknown[request.Payload[0]] {
			t.Errorf("operation %d was sent twice", request.Payload[0])
		}
	}
}

func TestDialRefused(t *testing.T) {
	tests := []struct {
		name string
		opts []clients.Option
		want string
	}{
		{"another cluster", []clients.Option{clients.WithCluster([16]byte{9})}, "this is 010203"},
		{"no TLS", []clients.Option{clients.WithTLS(nil)}, "pass WithTLS"},
		{"in flight", []clients.Option{clients.WithInFlight(-1)}, "-1 operations in flight"},
		{"probes", []clients.Option{clients.WithProbeInterval(ms)}, "at least 10ms"},
		{"name", []clients.Option{clients.WithName(strings.Repeat("x", 65))}, "name of 65 bytes"},
		{"policy", []clients.Option{clients.WithPolicy(clients.Policy{Ratio: 2})}, "ratio 2"},
		{"timeout", []clients.Option{clients.WithTimeout(-1)}, "need at least 1ms"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				_, err := newWorld(t, 10*ms).tryDial(test.opts...)
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("error %v, want one with %q", err, test.want)
				}
				if waited := time.Since(start); waited > time.Second {
					t.Errorf("it took %v to tell", waited)
				}
			})
		})
	}
}

func TestDialNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10*ms)
		w.replicas[1].packets.plug(false)
		_, err := w.tryDial()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the deadline", err)
		}
		if _, err := clients.Dial(t.Context(), nil, clients.WithTLS(clientTLS)); err == nil {
			t.Error("no endpoints, but no error")
		}
		broken := func() (net.PacketConn, error) { return nil, net.ErrClosed }
		_, err = clients.Dial(t.Context(), []string{"replica:1"}, clients.WithTLS(clientTLS), clients.WithPacketConn(broken))
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("error %v, want that of the socket", err)
		}
	})
}

func TestPayloadsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := alone(t)
		_, err := c.Do(t.Context(), make([]byte, clients.PayloadMax+1))
		wantError(t, err, clients.CodeInvalid, clients.NotApplied)
		reply, err := c.Do(t.Context(), make([]byte, clients.PayloadMax/2))
		if err != nil || len(reply.Result) != clients.PayloadMax/2 {
			t.Errorf("%d bytes of result, %v", len(reply.Result), err)
		}
	})
}

// Many callers share one stream: each must get the answer to its own request.
func TestAnswersReachTheirRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := alone(t)
		var turn atomic.Int64
		r.proposer.set(func(request gateway.Request, done func(gateway.Answer)) {
			delay := time.Duration(turn.Add(7)%13) * ms
			time.AfterFunc(delay, func() { echo(request, done) })
		})
		futures := make([]*clients.Future, 500)
		for i := range futures {
			futures[i] = c.Submit(t.Context(), []byte{byte(i), byte(i >> 8)})
		}
		for i, f := range futures {
			reply, err := f.Wait()
			if err != nil || string(reply.Result) != string([]byte{byte(i), byte(i >> 8)}) {
				t.Fatalf("request %d: %v, %v", i, reply.Result, err)
			}
		}
	})
}
