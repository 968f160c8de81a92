package clients_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/clients/gateway"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// lessor is a machine that notes when it last executed a sign of life of a lease, and may be in no hurry.
type lessor struct {
	*machine

	mu     sync.Mutex
	heard  time.Time
	keeps  int
	random *rand.Rand
	silent bool
	lossy  int           // of a hundred requests that are lost
	late   time.Duration // by which others are executed at most
}

func (l *lessor) do(request *gateway.Request) gateway.Answer {
	if request.Kind == wire.RequestSession {
		if op, err := wire.DecodeSessionOp(request.Payload); err == nil &&
			(op.Kind == wire.SessionOpen || op.Kind == wire.SessionKeep) {
			l.mu.Lock()
			l.heard = time.Now()
			l.keeps++
			l.mu.Unlock()
		}
	}
	return l.machine.do(request)
}

func (l *lessor) Propose(request gateway.Request, done func(gateway.Answer)) { done(l.do(&request)) }

// delay is Propose, if at all.
func (l *lessor) delay(request gateway.Request, done func(gateway.Answer)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.silent || l.random.IntN(100) < l.lossy {
		return
	}
	there, back := l.random.Int64N(int64(l.late)/2), l.random.Int64N(int64(l.late)/2)
	time.AfterFunc(time.Duration(there), func() {
		answer := l.do(&request)
		time.AfterFunc(time.Duration(back), func() { done(answer) })
	})
}

func (l *lessor) hush() {
	l.mu.Lock()
	l.silent = true
	l.mu.Unlock()
}

// last is when it executed the last sign of life.
func (l *lessor) last() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard
}

func (l *lessor) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.keeps
}

// answering makes all replicas of a world do the same.
func (w *world) answering(answer func(gateway.Request, func(gateway.Answer))) {
	for _, r := range w.replicas {
		r.proposer.set(answer)
	}
}

func newLease(t *testing.T, c *clients.Client, ttl time.Duration) *clients.Lease {
	t.Helper()
	lease, err := c.Grant(t.Context(), ttl)
	if err != nil {
		t.Fatal(err)
	}
	return lease
}

// TestLeaseIsKeptAlive: as long as replicas answer, and without many requests.
func TestLeaseIsKeptAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t, 10*ms, 200*ms), &lessor{machine: newMachine()}
		w.answering(m.Propose)
		lease := newLease(t, w.dial(), 2*time.Second)
		if _, err := w.dial().Put(t.Context(), "k", nil, clients.WithLease(lease.ID())); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			time.Sleep(lease.TTL() / 5)
			if lease.Err() != nil || time.Until(lease.Until()) < lease.TTL()/2 {
				t.Fatalf("a lease that is kept alive ends in %v: %v", time.Until(lease.Until()), lease.Err())
			}
		}
		if keeps := m.count(); keeps < 40 || keeps > 70 {
			t.Errorf("%d keep-alives in 20 times the time to live", keeps)
		}
		lease.Close()
		lease.Close()
		if <-lease.Done(); !errors.Is(lease.Err(), clients.ErrLeaseClosed) {
			t.Errorf("a lease that was closed says %v", lease.Err())
		}
		kept := m.count()
		time.Sleep(lease.TTL())
		if m.count() != kept {
			t.Errorf("a lease that was closed is kept alive")
		}
	})
}

// TestLeaseIsGivenUpInTime: replicas execute keep-alives late, answer late or not at all, at any moment fall silent, and
// have clocks that are fast by up to 9 %. When the first of them may end the lease, its holder has been told.
func TestLeaseIsGivenUpInTime(t *testing.T) {
	for seed := range uint64(24) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // reproducible
				ttl := time.Duration(50+random.IntN(5000)) * ms
				w, m := newWorld(t, 5*ms, 15*ms), &lessor{machine: newMachine()}
				w.answering(m.Propose)
				lease := newLease(t, w.dial(), ttl)
				m.random, m.lossy, m.late = random, random.IntN(100), ttl
				hush := time.Duration(random.Int64N(int64(6 * ttl)))
				w.answering(m.delay)
				time.AfterFunc(hush, m.hush)
				<-lease.Done()
				now := time.Now()
				m.hush()
				if ends := m.last().Add(ttl * 100 / 109); now.After(ends) {
					t.Errorf("violation of linearizability: the holder is told %v after the lease may have ended", now.Sub(ends))
				}
				if !errors.Is(lease.Err(), clients.ErrLeaseUnsure) {
					t.Errorf("it is told %v", lease.Err())
				}
				time.Sleep(10 * ttl) // what is on its way arrives while there is a world
			})
		})
	}
}

// TestLeaseIsLost: whoever ends it, its holder is told with the next keep-alive, and may have it back no more.
func TestLeaseIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t, 10*ms), newMachine()
		w.sharing(m)
		c := w.dial()
		lease := newLease(t, c, time.Second)
		m.expire(lease.ID())
		if <-lease.Done(); !errors.Is(lease.Err(), clients.ErrLeaseGone) {
			t.Errorf("a lease that expired says %v", lease.Err())
		}
		if _, err := c.Put(t.Context(), "k", nil, clients.WithLease(lease.ID())); !errors.Is(err, clients.ErrLeaseGone) ||
			clients.OutcomeOf(err) != clients.NotApplied || clients.IsRetryable(err) {
			t.Errorf("a put under it: %v", err)
		}
		for what, err := range map[string]error{
			"keep":   second(c.KeepAliveOnce(t.Context(), lease.ID())),
			"info":   second(c.LeaseInfo(t.Context(), lease.ID())),
			"resume": second(c.ResumeLease(t.Context(), lease.ID())),
		} {
			if !errors.Is(err, clients.ErrLeaseGone) || clients.OutcomeOf(err) != clients.NotApplied {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := lease.Revoke(t.Context()); err != nil {
			t.Errorf("revoked though it is gone: %v", err)
		}
	})
}

func second[T any](_ T, err error) error { return err }

// TestLeaseOfAnotherProcess: a lease outlives the client that was granted it, and another takes it over.
func TestLeaseOfAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t, 10*ms), newMachine()
		w.sharing(m)
		first, next := w.dial(), w.dial()
		lease := newLease(t, first, 10*time.Second)
		if _, err := first.Put(t.Context(), "k", nil, clients.WithLease(lease.ID())); err != nil {
			t.Fatal(err)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		if <-lease.Done(); !errors.Is(lease.Err(), clients.ErrClosed) {
			t.Errorf("a lease of a client that was closed says %v", lease.Err())
		}
		if _, err := first.Grant(t.Context(), time.Second); !errors.Is(err, clients.ErrClosed) {
			t.Errorf("a client that was closed is granted a lease: %v", err)
		}
		id, err := clients.ParseLeaseID(lease.ID().String())
		if err != nil {
			t.Fatal(err)
		}
		again, err := next.ResumeLease(t.Context(), id)
		if err != nil || again.TTL() != lease.TTL() || again.ID() != lease.ID() {
			t.Fatalf("%+v, %v", again, err)
		}
		time.Sleep(3 * again.TTL())
		info, err := next.LeaseInfo(t.Context(), id)
		if err != nil || len(info.Keys) != 1 || info.Keys[0] != "k" || info.TTL != 10*time.Second || again.Err() != nil {
			t.Errorf("%+v, %v, %v", info, err, again.Err())
		}
		if err := again.Revoke(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r, err := next.Get(t.Context(), "k"); err != nil || r.Found {
			t.Errorf("a key of a lease that was revoked: %+v, %v", r, err)
		}
	})
}

// TestGrantRefused: what no replica could count is refused here.
func TestGrantRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10*ms)
		w.sharing(newMachine())
		c := w.dial()
		for _, ttl := range []time.Duration{0, -time.Second, time.Microsecond, clients.LeaseTTLMax + 1} {
			if _, err := c.Grant(t.Context(), ttl); !errors.Is(err, clients.ErrInvalid) || clients.OutcomeOf(err) != clients.NotApplied {
				t.Errorf("a lease of %v: %v", ttl, err)
			}
		}
		w.replicas[1].proposer.set(never)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Grant(ctx, time.Minute); !errors.Is(err, clients.ErrOutcomeUnknown) {
			t.Errorf("nobody answers: %v", err)
		}
	})
}
