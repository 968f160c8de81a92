package clients_test

import (
	"testing"
	"testing/synctest"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/clients/gateway"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// reads are those that a fake replica was asked for.
func (p *proposer) reads() (reads []gateway.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.handled {
		if r.Kind == wire.RequestRead {
			reads = append(reads, r)
		}
	}
	return reads
}

// A session read names what the client wrote, and what another client has handed to it.
func TestTokensOfSessionReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t, 10*ms), newMachine()
		w.sharing(m)
		writer, reader := w.dial(), w.dial()
		for range 3 {
			if _, err := writer.Put(t.Context(), "k", []byte("v")); err != nil {
				t.Fatal(err)
			}
		}
		text, err := writer.Token().MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var token clients.Token
		if err := token.UnmarshalText(text); err != nil {
			t.Fatal(err)
		}
		read := func(c *clients.Client, options ...clients.ReadOption) wire.Token {
			if _, err := c.Get(t.Context(), "k", options...); err != nil {
				t.Fatal(err)
			}
			reads := w.replicas[1].proposer.reads()
			r := reads[len(reads)-1]
			named, err := wire.DecodeToken(r.Token)
			if err != nil || r.Consistency != wire.SessionConsistency {
				t.Fatalf("consistency %d, %v", r.Consistency, err)
			}
			return named
		}
		if named := read(writer, clients.Session); named.Epoch != 1 || named.Deps[0] < 3 {
			t.Errorf("a session read after 3 writes names %+v", named)
		}
		if named := read(reader, clients.Session); named.Epoch != 0 {
			t.Errorf("a session read of a client that has seen nothing names %+v", named)
		}
		if named := read(reader, token); named.Epoch != 1 || named.Deps[0] < 3 {
			t.Errorf("a read with the token %v names %+v", token, named)
		}
		reader.Observe(token)
		if named := read(reader, clients.Session); named.Epoch != 1 || named.Deps[0] < 3 {
			t.Errorf("a session read after Observe(%v) names %+v", token, named)
		}
	})
}

// A stale read goes to the nearest replica, though it only learns; others go to the nearest voter, and leave it when it
// cannot serve.
func TestWhereReadsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 30*ms, 40*ms, 10*ms)
		c := w.dial()
		members := w.members()
		members[2].Role = wire.RoleLearner
		for _, r := range w.replicas {
			r.gate.SetMembers(2, members)
		}
		synctest.Wait()
		for range 20 { // until all are measured
			if _, err := c.Status(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
		}
		get := func(options ...clients.ReadOption) epaxos.ReplicaID {
			reply, err := c.Query(t.Context(), []byte("q"), options...)
			if err != nil {
				t.Fatal(err)
			}
			return reply.Replica
		}
		if at := get(clients.Stale); at != 3 {
			t.Errorf("a stale read went to replica %d, want the learner 3", at)
		}
		if at := get(); at != 1 {
			t.Errorf("a linearizable read went to replica %d, want 1", at)
		}
		if at := get(clients.Session, clients.At(2)); at != 2 {
			t.Errorf("a read at replica 2 went to replica %d", at)
		}
		w.replicas[1].proposer.set(refusing(wire.CodeUnavailable, wire.OutcomeNotApplied, true))
		w.replicas[3].proposer.set(refusing(wire.CodeUnavailable, wire.OutcomeNotApplied, true))
		if at := get(clients.Session); at != 2 {
			t.Errorf("a read that replica 1 refused was answered by %d, want 2", at)
		}
		if at := get(clients.Stale); at != 2 {
			t.Errorf("a stale read that the learner refused was answered by %d, want 2", at)
		}
	})
}
