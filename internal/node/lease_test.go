package node_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// carry has a replica execute an operation, without letting time pass.
func (c *company) carry(i int, op wire.Op) wire.Result {
	c.t.Helper()
	request := epaxos.Request{Payload: wire.AppendOp(nil, &op)}
	footprint, err := execution.KV{}.Footprint(request.Payload)
	if err != nil {
		c.t.Fatal(err)
	}
	id := c.propose(i, request, footprint)
	c.settle(0)
	result, err := wire.DecodeResult(c.want(id).Result)
	if err != nil {
		c.t.Fatal(err)
	}
	return result
}

// proposeOn proposes an operation on a session as a server does.
func (c *company) proposeOn(i int, session epaxos.InstanceID, op wire.SessionOp) epaxos.ProposalID {
	c.t.Helper()
	request := epaxos.Request{Session: session, Payload: wire.AppendSessionOp(nil, &op)}
	footprint, err := c.nodes[i].SessionFootprint(&request)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.propose(i, request, footprint)
}

func (c *company) find(i int, key string) bool {
	c.t.Helper()
	return c.carry(i, wire.Op{Kind: wire.OpGet, Key: []byte(key)}).Found
}

// Keys come and go under a lease that lives: it never fills up with those that are gone.
func TestBooksOfALeaseAreKept(t *testing.T) {
	c := newCompany(t, 3)
	lease := c.openSession(0, time.Hour)
	for i := range 2 * wire.LeaseKeysMax {
		key := fmt.Sprintf("k%d", i)
		if r := c.carry(i%2, putUnder(key, lease)); r.Status != wire.OpOK {
			t.Fatalf("violation of boundedness: key %d under a lease that has few: %+v", i+1, r)
		}
		switch i % 3 {
		case 0:
			c.carry(1, wire.Op{Kind: wire.OpDelete, Key: []byte(key)})
		case 1:
			c.carry(2, putUnder(key, epaxos.InstanceID{}))
		case 2:
			if i > 90 { // thirty stay
				c.carry(0, wire.Op{Kind: wire.OpTake, Key: []byte(key)})
			}
		}
	}
	id := c.proposeOn(2, lease, wire.SessionOp{Kind: wire.SessionInspect})
	c.settle(0)
	if r := c.sessionResult(id); len(r.Keys) != 30 {
		t.Errorf("%d keys are attached, want 30: %q", len(r.Keys), r.Keys)
	}
}

// A replica proposes the end of a lease while another puts a key under it. Neither is lost: the key goes when the end is
// proposed again.
func TestEndOfALeaseMeetsAnAttach(t *testing.T) {
	c := newCompany(t, 3)
	lease := c.openSession(0, time.Hour)
	c.carry(0, putUnder("a", lease))
	payload := wire.AppendOp(nil, new(putUnder("b", lease)))
	footprint, err := execution.KV{}.Footprint(payload)
	if err != nil {
		t.Fatal(err)
	}
	ends := c.proposeOn(1, lease, wire.SessionOp{Kind: wire.SessionClose}) // it knows of one key
	put := c.propose(0, epaxos.Request{Payload: payload}, footprint)
	c.settle(time.Second)
	result, err := wire.DecodeResult(c.want(put).Result)
	if err != nil {
		t.Fatal(err)
	}
	ended, attached := c.sessionResult(ends).Gone, result.Status == wire.OpOK
	if ended == attached || c.find(2, "a") == ended || c.find(2, "b") == ended {
		t.Fatalf("violation of once: ended %v, attached %v, a %v, b %v", ended, attached, c.find(2, "a"), c.find(2, "b"))
	}
	again := c.proposeOn(1, lease, wire.SessionOp{Kind: wire.SessionClose})
	c.settle(time.Second)
	if !c.sessionResult(again).Gone || c.find(0, "a") || c.find(0, "b") {
		t.Error("violation of once: a key outlives its lease")
	}
}

// The replica that has proposed the end of a silent lease is gone before anybody hears of it, and so are the others
// that would have, one after the other: the lease ends all the same, and its time begins anew with each start.
func TestLeaseEndsWhoeverIsThere(t *testing.T) {
	c := newCompany(t, 3)
	lease := c.openSession(0, 4*time.Second)
	c.carry(0, putUnder("k", lease))
	for range 3 {
		c.settle(3 * time.Second)
		for i := range c.nodes {
			c.crash(i)
		}
		c.meet()
	}
	c.settle(0)
	if !c.find(1, "k") {
		t.Error("a lease ended, though no replica has seen it silent for its time")
	}
	c.lost = func(e epaxos.Envelope) bool { return e.From == 1 || e.To == 1 }
	c.settle(9 * time.Second) // the first replica has proposed the end, and cannot tell
	if c.find(1, "k") {
		t.Error("violation of progress: a lease waits for a replica that is cut off")
	}
	c.lost = nil
	c.settle(5 * time.Second)
	if c.find(0, "k") {
		t.Error("violation of agreement: a key that is gone elsewhere")
	}
}
