package gateway

import (
	"bytes"
	"errors"
	"testing"

	"github.com/264bc8cf/epaxos/clients/internal/protocol"
	"github.com/264bc8cf/epaxos/internal/hostile"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// holder is a proposer that answers in the end, in the order of the requests.
type holder struct{ dones []func(Answer) }

func (h *holder) Propose(_ Request, done func(Answer)) { h.dones = append(h.dones, done) }

// FuzzRead gives a connection what a client has sent after its hello: each request is answered once, or the
// connection ends with a reason that the client is told.
func FuzzRead(f *testing.F) {
	frame := func(requests ...wire.ClientRequest) []byte {
		var stream []byte
		for i := range requests {
			stream = protocol.AppendFrame(stream, func(b []byte) []byte { return wire.AppendClientRequest(b, &requests[i]) })
		}
		return stream
	}
	command := wire.ClientRequest{ID: 1, Kind: wire.RequestCommand, Payload: []byte("payload")}
	f.Add(frame(command, wire.ClientRequest{ID: 2, Kind: wire.RequestStatus}, wire.ClientRequest{ID: 3, Kind: wire.RequestPing}))
	f.Add(frame(command, command))
	f.Add(frame(wire.ClientRequest{ID: 1, Kind: 200}, wire.ClientRequest{ID: 9, Kind: wire.RequestCommand, Timeout: 1}))
	var many []wire.ClientRequest
	for id := range uint64(8) {
		many = append(many, wire.ClientRequest{ID: id, Kind: wire.RequestCommand})
	}
	f.Add(frame(many...))
	f.Add(protocol.AppendFrame(nil, func(b []byte) []byte { return wire.AppendClientHello(b, &wire.ClientHello{FormatMin: 1, FormatMax: 1}) }))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, stream []byte) {
		proposer := &holder{}
		config := Config{Proposer: proposer, Replica: 3, OpenPerConnMax: 4, OpenMax: 6, OutboxMax: 4096}
		g := &Gateway{config: config.withDefaults(), busy: make(chan struct{}, 1), conns: map[*conn]struct{}{}}
		c := newConn(g, nil)
		c.state = connOpen
		err := c.read(wire.NewFrameReader(bytes.NewReader(stream), wire.ClientFrameMax))
		why, told := errors.AsType[closing](err)
		if errors.Is(err, wire.ErrMalformed) && (!told || why.code != protocol.CloseMalformed) {
			t.Fatalf("violation of integrity: the client is not told of %v", err)
		}
		for _, done := range proposer.dones {
			done(Answer{Code: wire.CodeOK, Outcome: wire.OutcomeApplied})
			done(Answer{Code: wire.CodeOK, Outcome: wire.OutcomeApplied}) // only the first counts
		}
		if c.held != 0 || len(c.open) != 0 || g.Open() != 0 {
			t.Fatalf("violation of once: %d requests are held, %d and %d open after all answers", c.held, len(c.open), g.Open())
		}
		checkOutbox(t, stream, c.outbox)
	})
}

// checkOutbox expects an answer at most for each request of a stream, and nothing else.
func checkOutbox(t *testing.T, stream, outbox []byte) {
	t.Helper()
	asked := map[uint64]int{}
	for _, body := range bodies(stream) {
		if r, err := wire.DecodeClientRequest(body); err == nil {
			asked[r.ID]++
		}
	}
	for _, body := range bodies(outbox) {
		r, err := wire.DecodeClientResponse(body)
		if err != nil {
			t.Fatalf("violation of integrity: an answer that does not decode is sent: %v", err)
		}
		if asked[r.ID]--; asked[r.ID] < 0 {
			t.Fatalf("violation of once: request %d is answered more often than asked", r.ID)
		}
	}
}

func bodies(stream []byte) (all [][]byte) {
	frames := wire.NewFrameReader(bytes.NewReader(stream), wire.ClientFrameMax)
	for {
		body, err := frames.Next()
		if err != nil {
			return all
		}
		all = append(all, bytes.Clone(body))
	}
}

// FuzzHello: a hello of a client is refused with a reason, or its connection speaks a format known here.
func FuzzHello(f *testing.F) {
	for _, h := range []wire.ClientHello{
		{FormatMin: 1, FormatMax: 1}, {Cluster: [16]byte{1}, FormatMin: 1, FormatMax: 9, Name: "name"}, {FormatMin: 7, FormatMax: 9},
	} {
		f.Add(wire.AppendClientHello(nil, &h))
	}
	g := &Gateway{config: Config{Cluster: [16]byte{1}}.withDefaults()}
	f.Fuzz(func(t *testing.T, body []byte) {
		hostile.Cheap(t, hostile.Factor, len(body), func() { _, _ = wire.DecodeClientHello(body) })
		hello, err := wire.DecodeClientHello(body)
		if err != nil {
			return
		}
		err = newConn(g, nil).check(&hello)
		if _, told := errors.AsType[closing](err); err != nil && !told {
			t.Errorf("violation of integrity: the client is not told of %v", err)
		}
		if format := min(hello.FormatMax, wire.Format); err == nil && (format < hello.FormatMin || format < wire.FormatMin) {
			t.Errorf("violation of integrity: %+v is answered in format %d", hello, format)
		}
	})
}
