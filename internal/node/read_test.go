package node_test

import (
	"errors"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
)

func (c *company) read(i int, key string, consistency node.Consistency, token node.Token) epaxos.ProposalID {
	c.t.Helper()
	payload := wire.AppendOp(nil, &wire.Op{Kind: wire.OpGet, Key: []byte(key)})
	footprint, err := execution.KV{}.Footprint(payload)
	if err != nil {
		c.t.Fatal(err)
	}
	c.last++
	if err := c.nodes[i].Read(c.now, node.Read{
		Proposal: c.last, Payload: payload, Footprint: footprint, Consistency: consistency, Token: token,
	}); err != nil {
		c.t.Fatal(err)
	}
	return c.last
}

func (c *company) shows(id epaxos.ProposalID) string {
	c.t.Helper()
	result, err := wire.DecodeResult(c.want(id).Result)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(result.Value)
}

// A read shows what was answered elsewhere before it began, though nobody has told this replica of the decision.
func TestLinearizableRead(t *testing.T) {
	c := newCompany(t, 3)
	c.lost = func(e epaxos.Envelope) bool {
		_, commit := e.Message.(epaxos.Commit)
		return commit && e.To == 3
	}
	w := c.put(0, "k", "new")
	c.settle(0)
	c.want(w)
	stale, read := c.read(2, "k", node.Stale, node.Token{}), c.read(2, "k", node.Linearizable, node.Token{})
	c.settle(0)
	if got := c.shows(stale); got != "" {
		t.Fatalf("the stale read shows %q: the test shows nothing", got)
	}
	if _, early := c.answers[read]; early {
		t.Fatalf("violation of linearizability: the read shows %q before its replica has executed the write", c.shows(read))
	}
	c.lost = nil
	c.settle(5 * time.Second)
	if got := c.shows(read); got != "new" {
		t.Errorf("violation of linearizability: the read shows %q", got)
	}
}

// A read needs no disk: it is answered though the log does not grow.
func TestReadsLeaveNoTrace(t *testing.T) {
	c := newCompany(t, 3)
	c.put(0, "k", "v")
	c.settle(5 * time.Second)
	before := c.stores[1].LastGroup()
	id := c.read(1, "k", node.Linearizable, node.Token{})
	c.settle(0)
	if got := c.shows(id); got != "v" || c.stores[1].LastGroup() != before {
		t.Errorf("it shows %q, and the log goes from group %d to %d", got, before, c.stores[1].LastGroup())
	}
}

// A token takes what a client has seen at one replica to another.
func TestSessionRead(t *testing.T) {
	c := newCompany(t, 3)
	c.lost = func(e epaxos.Envelope) bool {
		_, commit := e.Message.(epaxos.Commit)
		return commit && e.To == 2
	}
	w := c.put(0, "k", "mine")
	c.settle(0)
	token := c.want(w).Token
	read := c.read(1, "k", node.Session, token)
	other := c.read(1, "other", node.Session, token)
	c.settle(0)
	if _, early := c.answers[read]; early {
		t.Fatal("violation of linearizability: the token is not awaited")
	}
	c.want(other) // what does not interfere is not awaited
	c.lost = nil
	c.settle(5 * time.Second)
	if got := c.shows(read); got != "mine" {
		t.Errorf("violation of linearizability: after its own write the session reads %q", got)
	}
	c.reconfigure(0, func(m *wire.Members) { m.E = 0 })
	c.settle(2 * time.Second)
	late := c.read(2, "k", node.Session, token) // of the epoch before
	c.settle(0)
	if got := c.shows(late); got != "mine" {
		t.Errorf("violation of linearizability: in the next epoch the session reads %q", got)
	}
}

// A read that began before its epoch ended shows what was answered in the next before it is served.
func TestReadAcrossEpochs(t *testing.T) {
	c := newCompany(t, 3)
	c.lost = func(e epaxos.Envelope) bool { return e.To == 3 || e.From == 3 }
	read := c.read(2, "k", node.Linearizable, node.Token{})
	c.settle(0)
	c.reconfigure(0, func(m *wire.Members) { m.E = 0 })
	c.settle(2 * time.Second)
	c.put(1, "k", "later")
	c.settle(time.Second)
	c.lost = nil
	c.settle(10 * time.Second)
	if got := c.shows(read); got != "later" {
		t.Errorf("violation of linearizability: it shows %q", got)
	}
}

func TestReadsThatAreNone(t *testing.T) {
	c := newCompany(t, 1)
	for _, footprint := range []epaxos.Footprint{
		{{Mode: epaxos.Write, Key: "k"}}, {{Mode: epaxos.Read, Space: epaxos.SpaceSession, Key: "k"}},
	} {
		if err := c.nodes[0].Read(c.now, node.Read{Footprint: footprint, Consistency: node.Stale}); err == nil {
			t.Errorf("a read of %v is taken", footprint)
		}
	}
	if err := c.nodes[0].Read(c.now, node.Read{Consistency: node.Session, Token: node.Token{Epoch: 9}}); !errors.Is(err, node.ErrBehind) {
		t.Errorf("a token of an epoch to come: %v", err)
	}
}

// A replica that does not vote has no token for what it shows, so it serves no read of a session: the next could show
// something older.
func TestSessionReadWithoutAVote(t *testing.T) {
	c := newCompany(t, 3)
	w := c.put(0, "k", "v")
	c.settle(5 * time.Second)
	token := c.want(w).Token
	c.reconfigure(0, func(m *wire.Members) {
		m.Learners, m.Voters = m.Voters[2:], m.Voters[:2]
		m.F, m.E = 0, 0
	})
	c.settle(5 * time.Second)
	if got := c.shows(c.readServed(2, "k", node.Stale, token)); got != "v" {
		t.Errorf("the stale read shows %q", got)
	}
	payload := wire.AppendOp(nil, &wire.Op{Kind: wire.OpGet, Key: []byte("k")})
	err := c.nodes[2].Read(c.now, node.Read{
		Proposal: 1 << 40, Payload: payload, Consistency: node.Session, Token: token,
		Footprint: epaxos.Footprint{{Mode: epaxos.Read, Key: "k"}},
	})
	if !errors.Is(err, node.ErrNotVoter) {
		t.Errorf("violation of linearizability: a read of a session is served without a token: %v", err)
	}
}

func (c *company) readServed(i int, key string, consistency node.Consistency, token node.Token) epaxos.ProposalID {
	c.t.Helper()
	id := c.read(i, key, consistency, token)
	c.settle(0)
	return id
}

// TestTokensWithoutRoom: the answers of the turn that ends an epoch have tokens, though the disk has no room for the end.
func TestTokensWithoutRoom(t *testing.T) {
	c := newCompany(t, 1)
	c.settle(time.Second)
	w := c.put(0, "k", "v")
	c.reconfigure(0, func(*wire.Members) {})
	n := c.nodes[0]
	var found *node.Answer
	for range 20 {
		if _, err := n.Save(c.now); err != nil {
			t.Fatal(err)
		}
		c.stores[0].Full(true)
		answers, err := n.Execute(c.now)
		c.stores[0].Full(false)
		if err != nil {
			t.Fatal(err)
		}
		for i := range answers {
			if answers[i].Proposal == w {
				found = &answers[i]
			}
		}
	}
	switch {
	case found == nil:
		t.Fatal("the write is not answered")
	case found.Token.Epoch != 1 || len(found.Token.Deps) != 1 || found.Token.Deps[0] == 0:
		t.Errorf("violation of linearizability: the answer has the token %+v", found.Token)
	}
	c.settle(5 * time.Second)
	if members, _ := n.Members(); members.Epoch != 2 {
		t.Errorf("the epoch is %d", members.Epoch)
	}
}
