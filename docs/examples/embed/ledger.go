package main

import (
	"encoding/json"
	"errors"
	"strconv"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
)

// ledger is a state machine: the balance of each account, in decimal. It holds nothing itself; all
// it knows comes from the view and the request, so that every replica computes the same.
type ledger struct{}

// request is what clients ask for; exactly one field is set.
type request struct {
	Deposit  *deposit  `json:",omitempty"`
	Transfer *transfer `json:",omitempty"`
	Sum      []string  `json:",omitempty"`
}

type deposit struct {
	Account string
	Amount  int64
}

type transfer struct {
	From, To string
	Amount   int64
}

// answer is what a request leads to. A refusal is an answer like any other: each replica comes to it.
type answer struct {
	Balance int64
	Refused bool
}

func (r request) encode() []byte {
	payload, err := json.Marshal(r)
	if err != nil {
		panic(err) // texts and numbers always have a form
	}
	return payload
}

func decodeAnswer(result []byte) (answer, error) {
	var a answer
	err := json.Unmarshal(result, &a)
	return a, err
}

// Footprint tells which accounts a request may touch, and how. This is what makes the ledger run
// without a leader: requests on different accounts, and those that only read, need no order between
// them.
func (ledger) Footprint(payload []byte) (epaxos.Footprint, error) {
	var r request
	if err := json.Unmarshal(payload, &r); err != nil {
		return nil, err
	}
	switch {
	case r.Deposit != nil:
		return epaxos.Footprint{{Mode: epaxos.Write, Key: r.Deposit.Account}}, nil
	case r.Transfer != nil && r.Transfer.From != r.Transfer.To && r.Transfer.Amount > 0:
		return epaxos.Footprint{
			{Mode: epaxos.Write, Key: r.Transfer.From}, {Mode: epaxos.Write, Key: r.Transfer.To},
		}, nil
	case len(r.Sum) > 0:
		var f epaxos.Footprint
		for _, account := range r.Sum {
			f = append(f, epaxos.Access{Mode: epaxos.Read, Key: account})
		}
		return f, nil
	}
	return nil, errors.New("need a deposit, a transfer between two accounts, or accounts to sum")
}

// Apply carries out one request that Footprint accepted.
func (ledger) Apply(view execution.View, payload []byte) ([]byte, error) {
	var r request
	if err := json.Unmarshal(payload, &r); err != nil {
		return nil, err
	}
	a, err := r.apply(accounts{view})
	if err != nil {
		return nil, err // the saved state is broken: this stops the replica
	}
	return json.Marshal(a)
}

func (r *request) apply(all accounts) (answer, error) {
	switch {
	case r.Deposit != nil:
		balance, err := all.balance(r.Deposit.Account)
		all.set(r.Deposit.Account, balance+r.Deposit.Amount)
		return answer{Balance: balance + r.Deposit.Amount}, err
	case r.Transfer != nil:
		return r.Transfer.apply(all)
	}
	var sum int64
	for _, account := range r.Sum {
		balance, err := all.balance(account)
		if err != nil {
			return answer{}, err
		}
		sum += balance
	}
	return answer{Balance: sum}, nil
}

func (t *transfer) apply(all accounts) (answer, error) {
	from, err := all.balance(t.From)
	if err != nil || from < t.Amount {
		return answer{Balance: from, Refused: true}, err
	}
	to, err := all.balance(t.To)
	if err != nil {
		return answer{}, err
	}
	all.set(t.From, from-t.Amount)
	all.set(t.To, to+t.Amount)
	return answer{Balance: from - t.Amount}, nil
}

// accounts reads and writes balances in a view.
type accounts struct{ execution.View }

func (a accounts) balance(account string) (int64, error) {
	text, found := a.Get(account)
	if !found {
		return 0, nil
	}
	return strconv.ParseInt(string(text), 10, 64)
}

func (a accounts) set(account string, balance int64) {
	a.Put(account, strconv.AppendInt(nil, balance, 10))
}
