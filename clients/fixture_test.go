package clients_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/testutils/simnet"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/clients/gateway"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

const alpn = "epaxos-client/1"

var cluster = [16]byte{1, 2, 3}

// serverTLS and clientTLS trust one self-signed certificate, made once.
var serverTLS, clientTLS = func() (*tls.Config, *tls.Config) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"replica.test"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(100, 0, 0),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		panic(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(certificate)
	return &tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}},
			NextProtos:   []string{alpn},
		}, &tls.Config{
			RootCAs: pool, ServerName: "replica.test", NextProtos: []string{alpn},
		}
}()

// proposer is a fake replica. Its answers can be changed while it runs.
type proposer struct {
	mu      sync.Mutex
	answer  func(gateway.Request, func(gateway.Answer))
	handled []gateway.Request
}

func (p *proposer) Propose(request gateway.Request, done func(gateway.Answer)) {
	p.mu.Lock()
	p.handled = append(p.handled, request)
	answer := p.answer
	p.mu.Unlock()
	answer(request, done)
}

func (p *proposer) set(answer func(gateway.Request, func(gateway.Answer))) {
	p.mu.Lock()
	p.answer = answer
	p.mu.Unlock()
}

// count is the number of requests seen so far.
func (p *proposer) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.handled)
}

func echo(request gateway.Request, done func(gateway.Answer)) {
	done(gateway.Answer{Code: wire.CodeOK, Outcome: wire.OutcomeApplied, Fast: true, Result: request.Payload})
}

func never(gateway.Request, func(gateway.Answer)) {}

func refusing(code wire.Code, outcome wire.Outcome, retry bool) func(gateway.Request, func(gateway.Answer)) {
	return func(_ gateway.Request, done func(gateway.Answer)) {
		done(gateway.Answer{Code: code, Outcome: outcome, Retry: retry, Detail: "as told by the test"})
	}
}

// world is a simulated network with replicas at chosen distances from one client. It is used
// inside a synctest bubble, so all of its time is virtual.
type world struct {
	t        *testing.T
	net      *simnet.Simnet
	mu       sync.Mutex
	rtt      map[string]time.Duration // by address of the replica
	sockets  []net.PacketConn         // of clients to come: the network must know all before it starts
	replicas map[epaxos.ReplicaID]*replica
}

type replica struct {
	world    *world
	id       epaxos.ReplicaID
	address  *net.UDPAddr
	gate     *gateway.Gateway
	proposer *proposer
	packets  *switchedConn
	stop     func()
}

func newWorld(t *testing.T, rtts ...time.Duration) *world {
	t.Helper()
	w := &world{
		t: t, net: &simnet.Simnet{Router: &simnet.PerfectRouter{}},
		rtt: make(map[string]time.Duration), replicas: make(map[epaxos.ReplicaID]*replica),
	}
	for i, rtt := range rtts {
		w.add(epaxos.ReplicaID(i+1), rtt)
	}
	for i := range 2 {
		w.sockets = append(w.sockets, w.net.NewEndpoint(
			&net.UDPAddr{IP: net.IPv4(10, 0, 1, byte(i)), Port: 9000},
			simnet.NodeBiDiLinkSettings{LatencyFunc: w.latency}))
	}
	if err := w.net.Start(); err != nil {
		t.Fatal(err)
	}
	for _, r := range w.replicas {
		r.start()
	}
	t.Cleanup(func() {
		for _, r := range w.replicas {
			r.stop()
		}
		w.net.Close()
	})
	return w
}

func (w *world) add(id epaxos.ReplicaID, rtt time.Duration) {
	r := &replica{
		world: w, id: id, proposer: &proposer{answer: echo},
		address: &net.UDPAddr{IP: net.IPv4(10, 0, 0, byte(id)), Port: 7000},
	}
	w.rtt[r.address.String()] = rtt
	r.packets = &switchedConn{PacketConn: w.net.NewEndpoint(r.address, simnet.NodeBiDiLinkSettings{})}
	w.replicas[id] = r
}

// latency delays what clients receive by the whole round trip to the sender.
func (w *world) latency(p simnet.Packet) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rtt[p.From.String()]
}

func (w *world) setRTT(id epaxos.ReplicaID, rtt time.Duration) {
	w.mu.Lock()
	w.rtt[w.replicas[id].address.String()] = rtt
	w.mu.Unlock()
}

func (w *world) members() []wire.MemberInfo {
	var members []wire.MemberInfo
	for id := epaxos.ReplicaID(1); int(id) <= len(w.replicas); id++ {
		members = append(members, wire.MemberInfo{
			Replica: id, Endpoint: w.replicas[id].address.String(), Name: fmt.Sprintf("site%d", id),
		})
	}
	return members
}

// dial connects a client that knows replica 1 only, has no session, and closes it when the test ends.
func (w *world) dial(opts ...clients.Option) *clients.Client {
	w.t.Helper()
	c, err := w.tryDial(opts...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

func (w *world) tryDial(opts ...clients.Option) (*clients.Client, error) {
	open := func() (net.PacketConn, error) {
		socket := w.sockets[0]
		w.sockets = w.sockets[1:]
		return socket, nil
	}
	opts = append([]clients.Option{
		clients.WithTLS(clientTLS), clients.WithPacketConn(open), clients.WithoutSession(),
	}, opts...)
	return clients.Dial(context.Background(), []string{w.replicas[1].address.String()}, opts...)
}

// start runs the replica's gateway until stop is called.
func (r *replica) start() {
	r.gate = gateway.New(gateway.Config{
		Proposer: r.proposer, Cluster: cluster, Replica: r.id, Members: r.world.members(),
		Status: func() []byte { return fmt.Appendf(nil, `{"replica":%d}`, r.id) },
	})
	r.stop = sync.OnceFunc(listen(r.world.t, r.packets, r.gate))
}

// listen serves client connections on a socket. The function returned stops gracefully.
func listen(t testing.TB, packets net.PacketConn, g *gateway.Gateway) func() {
	t.Helper()
	transport := &quic.Transport{Conn: packets}
	listener, err := transport.Listen(serverTLS, &quic.Config{MaxIdleTimeout: 5 * time.Second})
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
			wg.Go(func() { _ = g.Serve(conn) })
		}
	})
	return func() {
		listener.Close()
		g.Close()
		transport.Close()
		packets.Close()
		wg.Wait()
	}
}

// switchedConn is a network interface that can be pulled out and plugged in again: what is sent
// or received in between is lost.
type switchedConn struct {
	net.PacketConn
	mu  sync.Mutex
	off bool
}

func (s *switchedConn) plug(in bool) {
	s.mu.Lock()
	s.off = !in
	s.mu.Unlock()
}

func (s *switchedConn) isOff() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.off
}

func (s *switchedConn) WriteTo(p []byte, to net.Addr) (int, error) {
	if s.isOff() {
		return len(p), nil
	}
	return s.PacketConn.WriteTo(p, to)
}

func (s *switchedConn) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := s.PacketConn.ReadFrom(p)
		if err != nil || !s.isOff() {
			return n, from, err
		}
	}
}

func (s *switchedConn) SetReadBuffer(int) error  { return nil }
func (s *switchedConn) SetWriteBuffer(int) error { return nil }

// nearest returns the replica that serves requests now.
func nearest(c *clients.Client) epaxos.ReplicaID {
	for _, r := range c.Replicas() {
		if r.Current {
			return r.Replica
		}
	}
	return 0
}
