package clients

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/clients/internal/protocol"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// newFuzzedSession is a session with three sent operations, of which the second only reads, and a probe.
// Its client dials nobody: it knows as many endpoints as it ever will.
func newFuzzedSession(stream []byte) (*session, []*Future) {
	const futures = 3
	c := &Client{
		options: options{policy: Policy{}.withDefaults(), probeEvery: probeEveryDefault},
		slots:   make(chan struct{}, futures), poke: make(chan struct{}, 1),
		selector: newSelector(Policy{}), firstUp: newGate(), hopeless: newGate(), links: make([]*link, endpointsMax),
	}
	for i := range c.links {
		c.links[i] = &link{client: c, woken: make(chan struct{}, 1)}
	}
	c.log = slog.New(slog.DiscardHandler)
	s := &session{
		client: c, frames: newFrames(bytes.NewReader(stream)), hello: wire.ServerHello{Replica: 1, Format: 1},
		wake: make(chan struct{}, 1), done: make(chan struct{}), open: map[uint64]*Future{},
		probe: probe{state: probeSent, id: 9, since: time.Now()},
	}
	c.sessions = []*session{s}
	c.selector.up(1)
	var all []*Future
	for id := range uint64(futures) {
		future := &Future{
			client: c, ctx: context.Background(), request: Request{ReadOnly: id == 1}, ready: make(chan struct{}),
			deadline: time.Now().Add(time.Hour),
		}
		future.state.Store(stateSent)
		c.slots <- struct{}{}
		s.open[id+1] = future
		all = append(all, future)
	}
	return s, all
}

// FuzzRead gives a client what a replica has sent after its hello: each operation ends at most once, with an
// outcome, and what ends the stream says why.
func FuzzRead(f *testing.F) {
	answer := func(r wire.ClientResponse) func([]byte) []byte {
		return func(b []byte) []byte { return wire.AppendClientResponse(b, &r) }
	}
	hello := func(h wire.ServerHello) func([]byte) []byte {
		return func(b []byte) []byte { return wire.AppendServerHello(b, &h) }
	}
	for _, messages := range [][]func([]byte) []byte{
		{
			answer(wire.ClientResponse{ID: 1, Code: wire.CodeOK, Outcome: wire.OutcomeApplied, Replica: 1}),
			answer(wire.ClientResponse{ID: 1, Code: wire.CodeOK, Outcome: wire.OutcomeApplied, Replica: 1}),
			answer(wire.ClientResponse{ID: 9, Code: wire.CodeOK, Outcome: wire.OutcomeApplied, Replica: 1}),
		},
		{
			answer(wire.ClientResponse{ID: 1, Code: wire.CodeOverloaded, Outcome: wire.OutcomeNotApplied, Retry: true, Replica: 1}),
			answer(wire.ClientResponse{ID: 2, Code: wire.CodeInternal, Outcome: wire.OutcomeUnknown, Replica: 2}),
			answer(wire.ClientResponse{ID: 3, Code: wire.CodeTimeout, Outcome: wire.OutcomeUnknown, Retry: true, Replica: 1}),
		},
		{
			hello(wire.ServerHello{Replica: 1, Format: 1, Draining: true, Members: []wire.MemberInfo{{Replica: 2, Endpoint: "b:1"}}}),
			hello(wire.ServerHello{Replica: 2, Format: 1}),
		},
		{
			hello(wire.ServerHello{Replica: 1, Format: 1, Epoch: 3, Members: []wire.MemberInfo{
				{Replica: 1, Endpoint: "a:1", Role: wire.RoleLearner}, {Replica: 2, Endpoint: "b:1"},
			}}),
			hello(wire.ServerHello{Replica: 1, Format: 1, Epoch: 2, Members: []wire.MemberInfo{{Replica: 1, Endpoint: "a:1"}}}),
			hello(wire.ServerHello{Replica: 1, Format: 1, Epoch: 4, Members: []wire.MemberInfo{{Replica: 2, Endpoint: "b:1"}}}),
			answer(wire.ClientResponse{ID: 1, Code: wire.CodeOK, Outcome: wire.OutcomeApplied, Replica: 1}),
		},
		{func(b []byte) []byte {
			return wire.AppendClientRequest(b, &wire.ClientRequest{ID: 1, Kind: wire.RequestPing})
		}},
	} {
		var stream []byte
		for _, m := range messages {
			stream = protocol.AppendFrame(stream, m)
		}
		f.Add(stream)
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, stream []byte) {
		s, futures := newFuzzedSession(stream)
		err := s.read()
		if !errors.Is(err, wire.ErrMalformed) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("violation of integrity: the stream ends with %v", err)
		}
		finished := 0
		for i, future := range futures {
			if !future.finished() {
				continue
			}
			finished++
			if _, err := future.Wait(); err != nil && (future.err.Outcome == 0 || future.err.Code == 0) {
				t.Errorf("violation of integrity: operation %d ended without an outcome: %+v", i+1, future.err)
			}
			if e := future.err; e != nil && e.Retryable && e.Outcome == Unknown {
				t.Errorf("violation of once: operation %d may have been applied, and its caller is told to retry", i+1)
			}
		}
		if open := len(s.client.slots); open != len(futures)-finished {
			t.Errorf("violation of once: %d of %d operations ended, but %d are open", finished, len(futures), open)
		}
	})
}
