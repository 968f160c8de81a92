package gateway_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/testutils/simnet"
	"go.uber.org/goleak"

	"github.com/264bc8cf/epaxos/clients/gateway"
	"github.com/264bc8cf/epaxos/clients/internal/protocol"
	"github.com/264bc8cf/epaxos/internal/wire"
)

const ms = time.Millisecond

var cluster = [16]byte{1, 2, 3}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// certificate signs itself; the tests of this package do not look at it.
var certificate = func() tls.Certificate {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(100, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}()

// answering is a proposer made of a function.
type answering func(gateway.Request, func(gateway.Answer))

func (a answering) Propose(request gateway.Request, done func(gateway.Answer)) { a(request, done) }

func echo(request gateway.Request, done func(gateway.Answer)) {
	done(gateway.Answer{Code: wire.CodeOK, Outcome: wire.OutcomeApplied, Result: request.Payload})
}

// holding keeps every request until the test answers it.
type holding struct {
	mu    sync.Mutex
	dones []func(gateway.Answer)
}

func (h *holding) Propose(_ gateway.Request, done func(gateway.Answer)) {
	h.mu.Lock()
	h.dones = append(h.dones, done)
	h.mu.Unlock()
}

func (h *holding) answerAll(answer gateway.Answer) int {
	h.mu.Lock()
	dones := h.dones
	h.dones = nil
	h.mu.Unlock()
	for _, done := range dones {
		done(answer)
	}
	return len(dones)
}

var ok = gateway.Answer{Code: wire.CodeOK, Outcome: wire.OutcomeApplied}

// rig is a gateway on a simulated network without delay, inside a synctest bubble.
type rig struct {
	t       *testing.T
	gate    *gateway.Gateway
	address *net.UDPAddr
	sockets []net.PacketConn
	served  chan error // what Serve returned
}

func newRig(t *testing.T, config gateway.Config) *rig {
	t.Helper()
	network := &simnet.Simnet{Router: &simnet.PerfectRouter{}}
	r := &rig{t: t, address: &net.UDPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 7000}, served: make(chan error, 16)}
	server := network.NewEndpoint(r.address, simnet.NodeBiDiLinkSettings{})
	for i := range 3 {
		r.sockets = append(r.sockets, network.NewEndpoint(
			&net.UDPAddr{IP: net.IPv4(10, 0, 1, byte(i)), Port: 9000}, simnet.NodeBiDiLinkSettings{}))
	}
	if err := network.Start(); err != nil {
		t.Fatal(err)
	}
	config.Cluster, config.Replica = cluster, 7
	r.gate = gateway.New(config)
	transport := &quic.Transport{Conn: server}
	listener, err := transport.Listen(&tls.Config{
		Certificates: []tls.Certificate{certificate}, NextProtos: []string{protocol.ALPN},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept(context.Background())
			if err != nil {
				return
			}
			wg.Go(func() { r.served <- r.gate.Serve(conn) })
		}
	})
	t.Cleanup(func() {
		r.gate.Close()
		listener.Close()
		transport.Close()
		server.Close()
		wg.Wait()
		network.Close()
	})
	return r
}

// peer is a client made of bytes, so that it can misbehave.
type peer struct {
	t      *testing.T
	conn   *quic.Conn
	stream *quic.Stream
	frames *wire.FrameReader
}

// connect opens a connection and its stream, and sends nothing.
func (r *rig) connect() *peer {
	r.t.Helper()
	socket := r.sockets[0]
	r.sockets = r.sockets[1:]
	transport := &quic.Transport{Conn: socket}
	r.t.Cleanup(func() { transport.Close(); socket.Close() })
	conn, err := transport.Dial(context.Background(), r.address, &tls.Config{
		InsecureSkipVerify: true, NextProtos: []string{protocol.ALPN},
	}, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	stream, err := conn.OpenStream()
	if err != nil {
		r.t.Fatal(err)
	}
	return &peer{t: r.t, conn: conn, stream: stream, frames: wire.NewFrameReader(stream, wire.ClientFrameMax)}
}

// greet connects and exchanges hellos.
func (r *rig) greet() *peer {
	r.t.Helper()
	p := r.connect()
	p.sendHello(wire.ClientHello{Cluster: cluster, FormatMin: wire.FormatMin, FormatMax: wire.Format, Name: "peer"})
	if hello := p.hello(); hello.Replica != 7 || hello.Cluster != cluster || hello.Draining {
		r.t.Fatalf("hello %+v", hello)
	}
	return p
}

func (p *peer) send(raw []byte) {
	p.t.Helper()
	if _, err := p.stream.Write(raw); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) sendHello(hello wire.ClientHello) {
	p.send(protocol.AppendFrame(nil, func(b []byte) []byte { return wire.AppendClientHello(b, &hello) }))
}

func (p *peer) request(requests ...wire.ClientRequest) {
	p.t.Helper()
	var raw []byte
	for i := range requests {
		raw = protocol.AppendFrame(raw, func(b []byte) []byte { return wire.AppendClientRequest(b, &requests[i]) })
	}
	p.send(raw)
}

func (p *peer) next() []byte {
	p.t.Helper()
	body, err := p.frames.Next()
	if err != nil {
		p.t.Fatal(err)
	}
	return body
}

func (p *peer) hello() wire.ServerHello {
	p.t.Helper()
	hello, err := wire.DecodeServerHello(p.next())
	if err != nil {
		p.t.Fatal(err)
	}
	return hello
}

func (p *peer) response() wire.ClientResponse {
	p.t.Helper()
	response, err := wire.DecodeClientResponse(p.next())
	if err != nil {
		p.t.Fatal(err)
	}
	return response
}

// wantResponse reads an answer and checks what it means.
func (p *peer) wantResponse(id uint64, code wire.Code, outcome wire.Outcome, retry bool) {
	p.t.Helper()
	r := p.response()
	if r.ID != id || r.Code != code || r.Outcome != outcome || r.Retry != retry || r.Replica != 7 {
		p.t.Errorf("response %+v, want id %d, code %d, outcome %d, retry %v", r, id, code, outcome, retry)
	}
}

// wantClosed checks that the gateway has closed the connection, and how it explained itself.
func (p *peer) wantClosed(code quic.ApplicationErrorCode, reason string) {
	p.t.Helper()
	for {
		_, err := p.frames.Next()
		if err == nil {
			continue
		}
		closed, ok := errors.AsType[*quic.ApplicationError](err)
		if !ok || !closed.Remote || closed.ErrorCode != code || !strings.Contains(closed.ErrorMessage, reason) {
			p.t.Errorf("closed with %v, want code %#x and %q", err, code, reason)
		}
		return
	}
}

func command(id uint64) wire.ClientRequest {
	return wire.ClientRequest{ID: id, Kind: wire.RequestCommand, Payload: []byte("p")}
}

func TestHellos(t *testing.T) {
	tests := []struct {
		name   string
		hello  wire.ClientHello
		code   quic.ApplicationErrorCode
		reason string
	}{
		{"another cluster", wire.ClientHello{Cluster: [16]byte{9}, FormatMin: 1, FormatMax: 1},
			protocol.CloseWrongCluster, "correct its configuration"},
		{"too new", wire.ClientHello{Cluster: cluster, FormatMin: wire.Format + 1, FormatMax: wire.Format + 5},
			protocol.CloseNoFormat, "upgrade the older"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, gateway.Config{Proposer: answering(echo)})
				p := r.connect()
				p.sendHello(test.hello)
				p.wantClosed(test.code, test.reason)
				if err := <-r.served; err == nil {
					t.Error("Serve reports success")
				}
			})
		})
	}
	t.Run("any cluster, newer formats too", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newRig(t, gateway.Config{Proposer: answering(echo)}).connect()
			p.sendHello(wire.ClientHello{FormatMin: wire.Format, FormatMax: wire.Format + 5})
			if hello := p.hello(); hello.Format != wire.Format {
				t.Errorf("hello %+v", hello)
			}
		})
	})
	t.Run("none in time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, gateway.Config{Proposer: answering(echo), HelloTimeout: time.Second})
			p := r.connect()
			start := time.Now()
			p.send([]byte{0})
			p.wantClosed(protocol.CloseDone, "")
			if waited := time.Since(start); waited > 1100*ms {
				t.Errorf("closed after %v", waited)
			}
		})
	})
}

func TestHostileFrames(t *testing.T) {
	frame := func(body []byte) []byte {
		return protocol.AppendFrame(nil, func(b []byte) []byte { return append(b, body...) })
	}
	request := command(1)
	nested := frame([]byte(strings.Repeat("\x91", 60_000)))
	response := wire.AppendClientResponse(nil, &wire.ClientResponse{
		ID: 1, Code: wire.CodeOK, Outcome: wire.OutcomeApplied, Replica: 7})
	cut := wire.AppendClientRequest(nil, &request)
	tests := []struct {
		name string
		raw  []byte
	}{
		{"4 GiB", binary.BigEndian.AppendUint32(nil, 1<<32-1)},
		{"one byte too long", binary.BigEndian.AppendUint32(nil, wire.ClientFrameMax+1)},
		{"empty", frame(nil)},
		{"garbage", frame([]byte("GET / HTTP/1.1\r\n\r\n"))},
		{"nested arrays", nested},
		{"an array of 4 G", frame([]byte{0xdd, 0xff, 0xff, 0xff, 0xff})},
		{"a request cut short", frame(cut[:len(cut)-1])},
		{"bytes after a request", frame(append(cut[:len(cut):len(cut)], 0))},
		{"a response from a client", frame(response)},
		{"an id that is open", append(frame(cut), frame(cut)...)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, gateway.Config{Proposer: &holding{}})
				other := r.greet()
				p := r.greet()
				p.send(test.raw)
				p.wantClosed(protocol.CloseMalformed, "read requests")
				other.request(wire.ClientRequest{ID: 5, Kind: wire.RequestPing})
				other.wantResponse(5, wire.CodeOK, wire.OutcomeApplied, false)
			})
		})
	}
}

func TestRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig(t, gateway.Config{
			Proposer: answering(echo), Status: func() []byte { return []byte("{}") },
		}).greet()
		p.request(command(1), wire.ClientRequest{ID: 2, Kind: wire.RequestStatus},
			wire.ClientRequest{ID: 3, Kind: wire.RequestPing})
		if r := p.response(); r.ID != 1 || string(r.Result) != "p" {
			t.Errorf("response %+v", r)
		}
		if r := p.response(); r.ID != 2 || string(r.Result) != "{}" {
			t.Errorf("response %+v", r)
		}
		p.wantResponse(3, wire.CodeOK, wire.OutcomeApplied, false)
	})
}

func TestOpenRequestsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &holding{}
		r := newRig(t, gateway.Config{Proposer: h, OpenPerConnMax: 2, OpenMax: 3})
		p, q := r.greet(), r.greet()
		p.request(command(1), command(2), command(3))
		p.wantResponse(3, wire.CodeOverloaded, wire.OutcomeNotApplied, true)
		q.request(command(1), command(2))
		q.wantResponse(2, wire.CodeOverloaded, wire.OutcomeNotApplied, true)
		if got := r.gate.Open(); got != 3 {
			t.Errorf("%d are open, want 3", got)
		}

		p.conn.CloseWithError(0, "")
		synctest.Wait()
		q.request(command(3))
		q.wantResponse(3, wire.CodeOverloaded, wire.OutcomeNotApplied, true) // the proposer has them still

		if n := h.answerAll(ok); n != 3 {
			t.Errorf("the proposer had %d requests, want 3", n)
		}
		q.wantResponse(1, wire.CodeOK, wire.OutcomeApplied, false)
		q.request(command(4), command(5)) // as many as at first
		synctest.Wait()
		h.answerAll(ok)
		q.wantResponse(4, wire.CodeOK, wire.OutcomeApplied, false)
		q.wantResponse(5, wire.CodeOK, wire.OutcomeApplied, false)
		if got := r.gate.Open(); got != 0 {
			t.Errorf("%d are open, want none", got)
		}
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, gateway.Config{Proposer: answering(echo), ConnsMax: 1})
		r.greet()
		r.connect().wantClosed(protocol.CloseCrowded, "use another")
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &holding{}
		r := newRig(t, gateway.Config{Proposer: h, RequestTimeout: 10 * time.Second})
		p := r.greet()
		start := time.Now()
		request := func(id uint64, timeout time.Duration) wire.ClientRequest {
			c := command(id)
			c.Timeout = uint64(timeout.Microseconds())
			return c
		}
		p.request(request(1, 300*ms), request(2, 100*ms), request(3, 0), request(4, 100*time.Hour))
		for _, want := range []struct {
			id    uint64
			after time.Duration
		}{{2, 100 * ms}, {1, 300 * ms}, {3, 10 * time.Second}, {4, 10 * time.Second}} {
			response := p.response()
			late := time.Since(start) - want.after
			if want.id < 3 && response.ID != want.id || late < 0 || late > 50*ms {
				t.Errorf("response %d came %v after the deadline of %d", response.ID, late, want.id)
			}
			if response.Code != wire.CodeTimeout || response.Outcome != wire.OutcomeUnknown || response.Retry {
				t.Errorf("response %+v", response)
			}
		}
		if got := r.gate.Open(); got != 4 {
			t.Errorf("%d are open, want the 4 that the proposer has", got)
		}
		h.answerAll(ok) // too late: these go nowhere
		p.request(command(5))
		synctest.Wait()
		h.answerAll(ok)
		p.wantResponse(5, wire.CodeOK, wire.OutcomeApplied, false)
	})
}

func TestASecondAnswerHasNoEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, gateway.Config{Proposer: answering(func(_ gateway.Request, done func(gateway.Answer)) {
			done(ok)
			done(gateway.Answer{Code: wire.CodeInternal})
		})})
		p := r.greet()
		p.request(command(1), command(2))
		p.wantResponse(1, wire.CodeOK, wire.OutcomeApplied, false)
		p.wantResponse(2, wire.CodeOK, wire.OutcomeApplied, false)
		if got := r.gate.Open(); got != 0 {
			t.Errorf("%d are open", got)
		}
	})
}

func TestLongAnswersFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := gateway.Answer{
			Code: wire.CodeInvalid, Outcome: wire.OutcomeNotApplied, Detail: strings.Repeat("ü", 40_000),
		}
		propose := answering(func(_ gateway.Request, done func(gateway.Answer)) { done(answer) })
		r := newRig(t, gateway.Config{Proposer: propose})
		p := r.greet()
		p.request(command(1))
		if got := p.response(); len(got.Detail) > wire.DetailMax || !strings.HasPrefix(got.Detail, "üü") {
			t.Errorf("a detail of %d bytes", len(got.Detail))
		}
		answer = gateway.Answer{Code: wire.CodeOK, Outcome: wire.OutcomeApplied, Result: make([]byte, wire.ClientFrameMax)}
		p.request(command(2))
		p.wantResponse(2, wire.CodeInvalid, wire.OutcomeApplied, false)
	})
}

func TestAClientThatDoesNotReadIsCutOff(t *testing.T) {
	const size = 16 << 10
	reply := gateway.Answer{Code: wire.CodeOK, Outcome: wire.OutcomeApplied, Result: make([]byte, size)}
	proposer := answering(func(_ gateway.Request, done func(gateway.Answer)) { done(reply) })
	t.Run("too much", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := &holding{}
			r := newRig(t, gateway.Config{Proposer: h, OutboxMax: 1 << 20})
			p := r.greet()
			for id := range uint64(200) {
				p.request(command(id + 1))
			}
			synctest.Wait()
			h.answerAll(reply) // 3.2 MB, of which the flow control takes 0.5
			err := <-r.served
			if err == nil || !strings.Contains(err.Error(), "wait for the client to read") {
				t.Errorf("Serve: %v", err)
			}
			<-p.conn.Context().Done()
		})
	})
	t.Run("more is refused long before", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, gateway.Config{Proposer: proposer, OutboxMax: 1 << 20})
			p := r.greet()
			for id := range uint64(200) {
				p.request(command(id + 1))
			}
			synctest.Wait()
			refused := 0
			for range 200 {
				if response := p.response(); response.Code == wire.CodeOverloaded && response.Retry {
					refused++
				}
			}
			if refused == 0 || refused == 200 {
				t.Errorf("%d of 200 requests were refused, want some", refused)
			}
		})
	})
	t.Run("too long", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, gateway.Config{Proposer: proposer, WriteTimeout: 2 * time.Second})
			p := r.greet()
			for id := range uint64(100) {
				p.request(command(id + 1))
			}
			err := <-r.served
			if err == nil || !strings.Contains(err.Error(), "has read nothing") {
				t.Errorf("Serve: %v", err)
			}
		})
	})
}

func TestDrainAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &holding{}
		r := newRig(t, gateway.Config{Proposer: h})
		p := r.greet()
		silent := r.connect() // has not sent its hello
		p.request(command(1))
		synctest.Wait()

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.gate.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("drain with a request open: %v", err)
		}
		if hello := p.hello(); !hello.Draining {
			t.Errorf("hello %+v", hello)
		}
		p.request(command(2))
		p.wantResponse(2, wire.CodeUnavailable, wire.OutcomeNotApplied, true)

		h.answerAll(ok)
		if err := r.gate.Drain(t.Context()); err != nil {
			t.Errorf("drain: %v", err)
		}
		closed := make(chan struct{})
		go func() { r.gate.Close(); close(closed) }()
		p.wantResponse(1, wire.CodeOK, wire.OutcomeApplied, false)
		if _, err := p.frames.Next(); err == nil {
			t.Error("the stream goes on after Close")
		}
		p.conn.CloseWithError(0, "")
		<-closed
		silent.wantClosed(protocol.CloseStopping, "stopping")
		r.connect().wantClosed(protocol.CloseStopping, "stopping")
	})
}

// Close must not wait for a client that neither reads nor hangs up.
func TestCloseWithAClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &holding{}
		r := newRig(t, gateway.Config{Proposer: h})
		p := r.greet()
		for id := range uint64(100) {
			p.request(command(id + 1))
		}
		synctest.Wait()
		h.answerAll(gateway.Answer{Code: wire.CodeOK, Outcome: wire.OutcomeApplied, Result: make([]byte, 64<<10)})
		start := time.Now()
		r.gate.Close()
		if waited := time.Since(start); waited > 2*time.Second {
			t.Errorf("Close took %v", waited)
		}
		if err := <-r.served; err == nil {
			t.Error("Serve reports a good end")
		}
	})
}

func TestAnIdleConnectionIsClosedInGoodOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, gateway.Config{Proposer: answering(echo)})
		p := r.greet()
		p.conn.CloseWithError(0, "")
		if err := <-r.served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func TestMembersAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, gateway.Config{Proposer: answering(echo), Epoch: 3})
		p := r.greet()
		eight := []wire.MemberInfo{{Replica: 8, Endpoint: "10.0.0.8:7000", Role: wire.RoleLearner}}
		r.gate.SetMembers(2, nil)   // old
		r.gate.SetMembers(4, eight) // told
		r.gate.SetMembers(4, eight) // known
		if hello := p.hello(); hello.Epoch != 4 || !slices.Equal(hello.Members, eight) {
			t.Errorf("hello %+v", hello)
		}
		p.request(wire.ClientRequest{ID: 1, Kind: wire.RequestPing})
		p.wantResponse(1, wire.CodeOK, wire.OutcomeApplied, false) // and not another hello
	})
}

func TestDepartWaitsForTheLastClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, gateway.Config{Proposer: &holding{}})
		p, q := r.greet(), r.greet()
		departed := make(chan error, 1)
		go func() { departed <- r.gate.Depart(t.Context()) }()
		p.hello()
		p.request(command(1)) // was on its way
		p.wantResponse(1, wire.CodeUnavailable, wire.OutcomeNotApplied, true)
		p.conn.CloseWithError(0, "")
		time.Sleep(time.Second)
		select {
		case err := <-departed:
			t.Fatalf("departed with a client connected: %v", err)
		default:
		}
		q.conn.CloseWithError(0, "")
		if err := <-departed; err != nil {
			t.Error(err)
		}
		r.connect()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.gate.Depart(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("depart with a client that stays: %v", err)
		}
	})
}
