package clients_test

import (
	"bytes"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/clients/gateway"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// table is a key-value machine without replication.
type table struct {
	mu   sync.Mutex
	rows map[string]row
}

type row struct {
	value   []byte
	version uint64
}

func newTable() *table { return &table{rows: make(map[string]row)} }

func (s *table) Propose(request gateway.Request, done func(gateway.Answer)) {
	op, err := wire.DecodeOp(request.Payload)
	if err != nil {
		done(gateway.Answer{Code: wire.CodeInvalid, Outcome: wire.OutcomeNotApplied, Detail: err.Error()})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	result := s.apply(&op)
	done(gateway.Answer{
		Code: wire.CodeOK, Outcome: wire.OutcomeApplied, Fast: true, Result: wire.AppendResult(nil, &result),
	})
}

func (s *table) apply(op *wire.Op) wire.Result {
	key := string(op.Key)
	old, found := s.rows[key]
	switch op.Kind {
	case wire.OpGet:
		return wire.Result{Status: wire.OpOK, Found: found, Value: old.value, Version: old.version}
	case wire.OpDelete:
		delete(s.rows, key)
		return wire.Result{Status: wire.OpOK, Found: found}
	case wire.OpCompareAndSet:
		if !s.holds(&op.Compares[0], op.Key) {
			return wire.Result{Status: wire.OpCompareFailed, Found: found, Value: old.value, Version: old.version}
		}
	case wire.OpIncrement:
		n, err := strconv.ParseInt(cmpOr(string(old.value), "0"), 10, 64)
		if err != nil {
			return wire.Result{Status: wire.OpWrongType, Found: found, Version: old.version}
		}
		sum := strconv.AppendInt(nil, n+op.Delta, 10)
		s.rows[key] = row{sum, old.version + 1}
		return wire.Result{Status: wire.OpOK, Found: true, Value: sum, Version: old.version + 1}
	case wire.OpTxn:
		return s.transact(op)
	}
	s.rows[key] = row{op.Value, old.version + 1}
	return wire.Result{Status: wire.OpOK, Found: true, Version: old.version + 1}
}

func (s *table) transact(op *wire.Op) wire.Result {
	result := wire.Result{Status: wire.OpOK, Succeeded: true}
	for i := range op.Compares {
		result.Succeeded = result.Succeeded && s.holds(&op.Compares[i], op.Compares[i].Key)
	}
	ops := op.Then
	if !result.Succeeded {
		ops = op.Else
	}
	for i := range ops {
		result.Results = append(result.Results, s.apply(&ops[i]))
	}
	return result
}

func (s *table) holds(c *wire.Compare, key []byte) bool {
	have, found := s.rows[string(key)]
	order := 0
	if c.Target == wire.CompareValue {
		if !found {
			return c.Relation == wire.NotEqual
		}
		order = bytes.Compare(have.value, c.Value)
	} else if have.version != c.Version {
		order = -1
		if have.version > c.Version {
			order = 1
		}
	}
	return c.Relation == wire.Equal && order == 0 || c.Relation == wire.NotEqual && order != 0 ||
		c.Relation == wire.Less && order < 0 || c.Relation == wire.Greater && order > 0
}

func cmpOr(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
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
			{"delete", func() (clients.Result, error) { return c.Delete(ctx, "k") },
				clients.Result{Succeeded: true, Found: true}},
			{"delete again", func() (clients.Result, error) { return c.Delete(ctx, "k") },
				clients.Result{Succeeded: true}},
			{"count", func() (clients.Result, error) { return c.Increment(ctx, "n", -5) },
				clients.Result{Succeeded: true, Found: true, Version: 1, Value: []byte("-5")}},
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
		_, err := c.Increment(t.Context(), "k", 1)
		wantError(t, err, clients.CodeInvalid, clients.NotApplied)
		if !errors.Is(err, clients.ErrWrongType) || !errors.Is(err, clients.ErrInvalid) {
			t.Errorf("error %v", err)
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
