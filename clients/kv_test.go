package clients_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/clients/gateway"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// table is the key-value machine without replication.
type table struct {
	mu    sync.Mutex
	state *execution.State
}

func newTable() *table { return &table{state: execution.NewState(nothing{})} }

// nothing is a disk without anything on it.
type nothing struct{}

func (nothing) Get([]byte) ([]byte, bool, error) { return nil, false, nil }

func (nothing) Scan([]byte, []byte, func(key, value []byte) error) error { return nil }

func (s *table) Propose(request gateway.Request, done func(gateway.Answer)) {
	footprint, err := execution.KV{}.Footprint(request.Payload)
	if err != nil {
		done(gateway.Answer{Code: wire.CodeInvalid, Outcome: wire.OutcomeNotApplied, Detail: err.Error()})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	result, err := s.state.Run(execution.KV{}, footprint, request.Payload)
	if err != nil {
		panic(err)
	}
	done(gateway.Answer{Code: wire.CodeOK, Outcome: wire.OutcomeApplied, Fast: true, Result: result})
}

// keyValue returns a client of a replica that runs a table.
func keyValue(t *testing.T) *clients.Client {
	t.Helper()
	r, c := alone(t)
	s := newTable()
	r.proposer.set(s.Propose)
	return c
}

func TestKeyValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := keyValue(t)
		ctx := t.Context()
		steps := []struct {
			name string
			do   func() (clients.Result, error)
			want clients.Result
		}{
			{"get nothing", func() (clients.Result, error) { return c.Get(ctx, "k") },
				clients.Result{Succeeded: true}},
			{"create", func() (clients.Result, error) { return c.CompareVersionAndSet(ctx, "k", 0, []byte("a")) },
				clients.Result{Succeeded: true, Found: true, Version: 1}},
			{"create again", func() (clients.Result, error) { return c.CompareVersionAndSet(ctx, "k", 0, []byte("b")) },
				clients.Result{Found: true, Version: 1, Value: []byte("a")}},
			{"swap", func() (clients.Result, error) { return c.CompareAndSet(ctx, "k", []byte("a"), []byte("c")) },
				clients.Result{Succeeded: true, Found: true, Version: 2}},
			{"get", func() (clients.Result, error) { return c.Get(ctx, "k") },
				clients.Result{Succeeded: true, Found: true, Version: 2, Value: []byte("c")}},
			{"put", func() (clients.Result, error) { return c.Put(ctx, "k", []byte("d")) },
				clients.Result{Succeeded: true, Found: true, Version: 3}},
			{"append", func() (clients.Result, error) { return c.Append(ctx, "k", []byte("e")) },
				clients.Result{Succeeded: true, Found: true, Version: 4}},
			{"swap", func() (clients.Result, error) { return c.Swap(ctx, "k", []byte("f")) },
				clients.Result{Succeeded: true, Found: true, Version: 5, Value: []byte("de")}},
			{"create what exists", func() (clients.Result, error) { return c.PutIfAbsent(ctx, "k", []byte("g")) },
				clients.Result{Found: true, Version: 5, Value: []byte("f")}},
			{"delete", func() (clients.Result, error) { return c.Delete(ctx, "k") },
				clients.Result{Succeeded: true, Found: true, Version: 6}},
			{"delete again", func() (clients.Result, error) { return c.Delete(ctx, "k") },
				clients.Result{Succeeded: true}},
			{"take nothing", func() (clients.Result, error) { return c.Take(ctx, "k") },
				clients.Result{Succeeded: true}},
			{"create anew", func() (clients.Result, error) { return c.PutIfAbsent(ctx, "k", []byte("h")) },
				clients.Result{Succeeded: true, Found: true, Version: 7}},
			{"take", func() (clients.Result, error) { return c.Take(ctx, "k") },
				clients.Result{Succeeded: true, Found: true, Version: 8, Value: []byte("h")}},
			{"swap nothing", func() (clients.Result, error) { return c.Swap(ctx, "k", []byte("i")) },
				clients.Result{Succeeded: true, Version: 9}},
			{"add", func() (clients.Result, error) { return c.Add(ctx, "n", -2) },
				clients.Result{Succeeded: true, Found: true}},
			{"count", func() (clients.Result, error) { return c.Increment(ctx, "n", -3) },
				clients.Result{Succeeded: true, Found: true, Version: 2, Value: []byte("-5")}},
		}
		for _, step := range steps {
			got, err := step.do()
			if err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			if got.Replica != 1 || !got.Fast {
				t.Errorf("%s: by replica %d, fast %v", step.name, got.Replica, got.Fast)
			}
			want := step.want
			if got.Succeeded != want.Succeeded || got.Found != want.Found || got.Version != want.Version ||
				!bytes.Equal(got.Value, want.Value) {
				t.Errorf("%s: %+v, want %+v", step.name, got, want)
			}
		}
		if got, err := c.Get(ctx, "n"); err != nil {
			t.Error(err)
		} else if n, err := got.Int(); n != -5 || err != nil {
			t.Errorf("%d, %v, want -5", n, err)
		}
	})
}

func TestWrongType(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := keyValue(t)
		if _, err := c.Put(t.Context(), "k", []byte("word")); err != nil {
			t.Fatal(err)
		}
		for _, add := range []func(context.Context, string, int64) (clients.Result, error){c.Increment, c.Add} {
			_, err := add(t.Context(), "k", 1)
			wantError(t, err, clients.CodeInvalid, clients.NotApplied)
			if !errors.Is(err, clients.ErrWrongType) || !errors.Is(err, clients.ErrInvalid) {
				t.Errorf("error %v", err)
			}
		}
	})
}

func TestTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := keyValue(t)
		move := func() (clients.TxnResult, error) {
			return c.Txn(t.Context()).
				If(clients.CompareVersion("from", clients.Greater, 0), clients.CompareValue("from", clients.NotEqual, nil)).
				Then(clients.OpDelete("from"), clients.OpPut("to", []byte("v")), clients.OpIncrement("moves", 1)).
				Else(clients.OpGet("to")).
				Commit()
		}
		if got, err := move(); err != nil || got.Succeeded || len(got.Results) != 1 || got.Results[0].Found {
			t.Fatalf("without from: %+v, %v", got, err)
		}
		if _, err := c.Put(t.Context(), "from", []byte("v")); err != nil {
			t.Fatal(err)
		}
		got, err := move()
		if err != nil || !got.Succeeded || len(got.Results) != 3 || !got.Fast || got.Replica != 1 {
			t.Fatalf("with from: %+v, %v", got, err)
		}
		if n, err := got.Results[2].Int(); n != 1 || err != nil {
			t.Errorf("moves: %d, %v", n, err)
		}
		if got, err := move(); err != nil || got.Succeeded || string(got.Results[0].Value) != "v" {
			t.Fatalf("a second time: %+v, %v", got, err)
		}
	})
}

// Whether a transaction only reads decides whether it may be repeated.
func TestOnlyTransactionsThatReadAreRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := settled(t)
		for _, r := range w.replicas {
			r.proposer.set(newTable().Propose)
		}
		w.replicas[1].packets.plug(false)
		write := make(chan error)
		go func() {
			_, err := c.Txn(t.Context()).Then(clients.OpGet("k")).Else(clients.OpPut("k", nil)).Commit()
			write <- err
		}()
		got, err := c.Txn(t.Context()).Then(clients.OpGet("k")).Commit()
		if err != nil || got.Replica != 2 {
			t.Errorf("read: %+v, %v", got, err)
		}
		wantError(t, <-write, clients.CodeUnavailable, clients.Unknown)
		time.Sleep(time.Second)
	})
}

func TestResultsOfAnotherMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := alone(t) // it echoes
		_, err := c.Put(t.Context(), "k", []byte("v"))
		wantError(t, err, clients.CodeProtocol, clients.Applied)
	})
}

// Callers index the results of a transaction by its operations.
func TestResultsForOtherOperations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := alone(t)
		r.proposer.set(func(_ gateway.Request, done func(gateway.Answer)) {
			done(gateway.Answer{
				Code: wire.CodeOK, Outcome: wire.OutcomeApplied,
				Result: wire.AppendResult(nil, &wire.Result{Status: wire.OpOK, Succeeded: true}),
			})
		})
		_, err := c.Txn(t.Context()).Then(clients.OpPut("k", nil)).Commit()
		wantError(t, err, clients.CodeProtocol, clients.Applied)
		if got, err := c.Txn(t.Context()).Else(clients.OpPut("k", nil)).Commit(); err != nil || len(got.Results) != 0 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}
