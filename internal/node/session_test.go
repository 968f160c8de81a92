package node_test

import (
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
)

func (c *company) openSession(i int, ttl time.Duration) epaxos.InstanceID {
	c.t.Helper()
	op := wire.SessionOp{Kind: wire.SessionOpen, TTL: uint64(ttl.Milliseconds())} //nolint:gosec // positive
	id := c.propose(i, epaxos.Request{Number: epaxos.OpenSession, Payload: wire.AppendSessionOp(nil, &op)}, nil)
	c.settle(time.Second)
	return c.sessionResult(id).ID
}

func (c *company) sessionResult(id epaxos.ProposalID) wire.SessionResult {
	c.t.Helper()
	result, err := wire.DecodeSessionResult(c.want(id).Result)
	if err != nil {
		c.t.Fatal(err)
	}
	return result
}

func (c *company) increment(i int, session epaxos.InstanceID, number uint64) epaxos.ProposalID {
	c.t.Helper()
	op := wire.Op{Kind: wire.OpIncrement, Key: []byte("n"), Delta: 1}
	request := epaxos.Request{Session: session, Number: number, Payload: wire.AppendOp(nil, &op)}
	own, err := execution.KV{}.Footprint(request.Payload)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.propose(i, request, execution.SessionFootprint(&request, own))
}

// Copies of one request at three replicas take effect once, through the end of an epoch and restarts.
func TestSessionOutlivesReplicas(t *testing.T) {
	c := newCompany(t, 3)
	session := c.openSession(0, time.Hour)
	var copies []epaxos.ProposalID
	for i := range 3 {
		copies = append(copies, c.increment(i, session, 1))
	}
	c.settle(time.Second)
	c.reconfigure(1, func(m *wire.Members) { m.E = 0 })
	c.settle(2 * time.Second)
	for i := range c.nodes {
		c.crash(i)
	}
	c.meet()
	c.settle(time.Second)
	copies = append(copies, c.increment(2, session, 1))
	other := c.increment(1, session, 2)
	c.settle(2 * time.Second)
	first := string(c.want(copies[0]).Result)
	for _, id := range copies {
		if got := string(c.want(id).Result); got != first {
			t.Errorf("violation of once: copies answer %q and %q", first, got)
		}
	}
	if got := string(c.want(other).Result); got == first {
		t.Errorf("the next request answers %q too", got)
	}
}

// A session whose client is silent ends; one whose client is heard goes on.
func TestSilentSessionExpires(t *testing.T) {
	c := newCompany(t, 3)
	silent, heard := c.openSession(0, 5*time.Second), c.openSession(1, 5*time.Second)
	for n := range uint64(6) {
		c.increment(2, heard, n+1)
		c.settle(3 * time.Second)
	}
	gone, alive := c.increment(1, silent, 1), c.increment(1, heard, 7)
	c.settle(time.Second)
	if a := c.want(gone); a.Verdict != execution.SessionGone {
		t.Errorf("the silent one: %+v", a)
	}
	if a := c.want(alive); a.Verdict != execution.Executed {
		t.Errorf("the one that was heard: %+v", a)
	}
}

// Sessions that are asked for as an epoch ends are opened in the next, each in an instance of its own: it names the
// session (rule O4).
func TestSessionsOpenedAcrossAnEpoch(t *testing.T) {
	c := newCompany(t, 3)
	c.reconfigure(0, func(m *wire.Members) { m.E = 0 })
	op := wire.SessionOp{Kind: wire.SessionOpen, TTL: 60_000}
	var asked []epaxos.ProposalID
	for range 3 {
		request := epaxos.Request{Number: epaxos.OpenSession, Payload: wire.AppendSessionOp(nil, &op)}
		asked = append(asked, c.propose(1, request, nil))
	}
	c.settle(5 * time.Second)
	seen := map[epaxos.InstanceID]bool{}
	for _, id := range asked {
		result, err := wire.DecodeSessionResult(c.want(id).Result)
		if err != nil {
			t.Fatal(err)
		}
		if result.ID.Epoch != 2 {
			t.Fatalf("the session %v is of the first epoch: the story is another", result.ID)
		}
		if seen[result.ID] {
			t.Errorf("violation of once: two clients have session %v", result.ID)
		}
		seen[result.ID] = true
	}
}
