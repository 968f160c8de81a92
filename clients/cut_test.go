package clients_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/clients/gateway"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

var someCut = clients.CutID{Epoch: 2, Replica: 3, Slot: 400}

func found(request gateway.Request, done func(gateway.Answer)) {
	id, err := wire.DecodeInstanceID(request.Token)
	if err != nil || id != someCut || request.Consistency != wire.CutConsistency || request.Kind != wire.RequestRead {
		done(gateway.Answer{Code: wire.CodeInvalid, Outcome: wire.OutcomeNotApplied})
		return
	}
	result := wire.AppendResult(nil, &wire.Result{Status: wire.OpOK, Found: true, Value: []byte("old")})
	done(gateway.Answer{Code: wire.CodeOK, Outcome: wire.OutcomeApplied, Result: result})
}

var gone = refusing(wire.CodeCutGone, wire.OutcomeNotApplied, false)

// TestCutIsLookedFor: reads at a cut go from replica to replica until one has it, and say so if none has.
func TestCutIsLookedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10*time.Millisecond, 20*time.Millisecond, 30*time.Millisecond)
		c := w.dial()
		time.Sleep(3 * time.Second)
		cut := c.OpenCut(someCut)
		get := func(want epaxos.ReplicaID) {
			t.Helper()
			began := time.Now()
			r, err := cut.Get(t.Context(), "k")
			if err != nil || r.Replica != want || string(r.Value) != "old" {
				t.Errorf("%+v, %v, want it from replica %d", r, err, want)
			}
			if took := time.Since(began); took > 200*time.Millisecond {
				t.Errorf("it takes %v", took)
			}
		}
		w.replicas[1].proposer.set(found)
		get(1)
		w.replicas[1].proposer.set(gone)
		w.replicas[2].proposer.set(gone)
		w.replicas[3].proposer.set(found)
		get(3)
		w.replicas[1].proposer.set(refusing(wire.CodeTimeout, wire.OutcomeNotApplied, true)) // it does not know yet
		get(3)
		w.replicas[1].proposer.set(gone)
		w.replicas[3].proposer.set(gone)
		asked := w.replicas[3].proposer.count()
		_, err := cut.Get(t.Context(), "k")
		wantError(t, err, clients.CodeCutGone, clients.NotApplied)
		if !errors.Is(err, clients.ErrCutGone) || clients.IsRetryable(err) || w.replicas[3].proposer.count() != asked+1 {
			t.Errorf("%v, and replica 3 was asked %d times", err, w.replicas[3].proposer.count()-asked)
		}
		w.replicas[2].proposer.set(found)
		_, err = c.Get(t.Context(), "k", cut, clients.At(1))
		wantError(t, err, clients.CodeCutGone, clients.NotApplied)
		get(2)
	})
}

// TestCutIsNotWaitedFor: a replica that nobody reaches does not hold up the answer that the others have no cut.
func TestCutIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10*time.Millisecond, 20*time.Millisecond, 30*time.Millisecond)
		c := w.dial()
		time.Sleep(3 * time.Second)
		w.replicas[1].proposer.set(gone)
		w.replicas[3].proposer.set(gone)
		w.replicas[2].packets.plug(false)
		time.Sleep(20 * time.Second)
		began := time.Now()
		_, err := c.OpenCut(someCut).Get(t.Context(), "k")
		wantError(t, err, clients.CodeCutGone, clients.NotApplied)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it takes %v", took)
		}
	})
}

// TestRelease: all replicas are told, and one that fails does not keep the others from it.
func TestRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10*time.Millisecond, 20*time.Millisecond, 30*time.Millisecond)
		c := w.dial()
		time.Sleep(3 * time.Second)
		w.replicas[2].proposer.set(refusing(wire.CodeInvalid, wire.OutcomeNotApplied, false))
		if err := c.OpenCut(someCut).Release(t.Context()); !errors.Is(err, clients.ErrInvalid) {
			t.Errorf("%v", err)
		}
		for id, r := range w.replicas {
			got := r.proposer.handled
			if len(got) != 1 || got[0].Kind != wire.RequestRelease {
				t.Errorf("replica %d was asked %+v", id, got)
				continue
			}
			if cut, err := wire.DecodeInstanceID(got[0].Payload); err != nil || cut != someCut {
				t.Errorf("replica %d was told to release %v, %v", id, cut, err)
			}
		}
	})
}

func TestParseCutID(t *testing.T) {
	for _, id := range []clients.CutID{someCut, {Epoch: 1, Replica: 1, Slot: 1}} {
		if got, err := clients.ParseCutID(id.String()); err != nil || got != id {
			t.Errorf("%v, %v, want %v", got, err, id)
		}
	}
	if _, err := clients.ParseCutID("2"); err == nil {
		t.Error("2 is taken for a cut")
	}
}
