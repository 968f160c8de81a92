package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/identity"
)

// caller is a bare QUIC endpoint that does what no host would.
type caller struct {
	t    *testing.T
	quic *quic.Transport
}

func newCaller(t *testing.T) *caller {
	t.Helper()
	socket := listen(t, "127.0.0.1:0")
	c := &caller{t: t, quic: &quic.Transport{Conn: socket}}
	t.Cleanup(func() {
		c.quic.Close()
		socket.Close()
	})
	return c
}

// dial opens a connection under a credential, in a protocol.
func (c *caller) dial(b *bed, to epaxos.ReplicaID, credential *identity.Credential, protocol string) *quic.Conn {
	c.t.Helper()
	addr, err := net.ResolveUDPAddr("udp", b.cluster.Members[to-1].Addr)
	if err != nil {
		c.t.Fatal(err)
	}
	config := credential.PeerConfig(b.cluster.Members[to-1])
	config.NextProtos = []string{protocol}
	config.VerifyConnection = nil
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := c.quic.Dial(ctx, addr, config, dialConfig())
	if err != nil {
		c.t.Fatal(err)
	}
	return conn
}

// talk opens a stream and writes bytes on it.
func (c *caller) talk(conn *quic.Conn, content []byte) *quic.Stream {
	c.t.Helper()
	stream, err := conn.OpenStreamSync(context.Background())
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := stream.Write(content); err != nil {
		c.t.Fatal(err)
	}
	return stream
}

// ending waits until the host closes the connection.
func (c *caller) ending(conn *quic.Conn) *PeerError {
	c.t.Helper()
	next(c.t, conn.Context().Done(), "end of the connection")
	var closed *PeerError
	if err := explain(context.Cause(conn.Context())); !errors.As(err, &closed) {
		c.t.Fatalf("the connection ended with %v", err)
	}
	return closed
}

func hello(lane int, content string) []byte {
	return appendFrame(nil, frameHello, []byte{byte(lane)}, []byte(content))
}

// Members are believed to be who they are, not to behave.
func TestAMemberThatBreaksTheProtocolIsCutOff(t *testing.T) {
	bed := newBed(t, 3)
	one := bed.start(1, func(c *Config) { c.FrameBytesMax = 1 << 20 })
	after := func(frame []byte) []byte { return append(hello(0, "hi"), frame...) }
	claim := func(length uint32) []byte { return binary.BigEndian.AppendUint32(nil, length) }
	for name, test := range map[string]struct {
		says []byte
		want string
	}{
		"a frame of 4 GiB":          {after(claim(1<<32 - 1)), "frame of 4294967295 bytes"},
		"a frame above the maximum": {after(claim(1<<20 + 2)), "frame of 1048578 bytes"},
		"an empty frame":            {after(claim(0)), "frame of 0 bytes"},
		"an oversized hello":        {claim(HelloBytesMax + 3), "frame of 4099 bytes"},
		"data before the hello":     {appendFrame(nil, frameData, []byte("x")), "need a hello"},
		"a second hello":            {after(hello(0, "hi")), "frame of hello"},
		"an echo to the acceptor":   {after(appendFrame(nil, frameEcho)), "frame of echo"},
		"an unknown kind":           {after(appendFrame(nil, 99)), "frame of kind 99"},
		"a lane too high":           {hello(bulkLane+1, "hi"), "lane 17"},
		"a hello without a lane":    {appendFrame(nil, frameHello), "need a hello"},
		"a heartbeat too short":     {after(appendFrame(nil, frameHeartbeat, []byte("x"))), "heartbeat of 1 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			caller := newCaller(t)
			conn := caller.dial(bed, 1, bed.cluster.Replicas[1], identity.PeerProtocol)
			caller.talk(conn, test.says)
			if got := caller.ending(conn); got.Code != CloseProtocol || !strings.Contains(got.Reason, test.want) {
				t.Errorf("closed with %v, want %v: %q", got, CloseProtocol, test.want)
			}
		})
	}
	three := bed.start(3, nil)
	next(t, one.ups, "other peer")
	one.Send(3, 0, []byte("still here"))
	if got := next(t, three.received, "body"); got.body != "still here" {
		t.Errorf("received %+v", got)
	}
}

func TestAReopenedLaneSupersedesTheOldOne(t *testing.T) {
	bed := newBed(t, 2)
	bed.start(1, nil)
	caller := newCaller(t)
	var conns []*quic.Conn
	for range 2 {
		conn := caller.dial(bed, 1, bed.cluster.Replicas[1], identity.PeerProtocol)
		frames := newFrameReader(caller.talk(conn, hello(3, "hi")), HelloBytesMax)
		if _, _, err := readHello(frames); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	if got := caller.ending(conns[0]); got.Code != CloseSuperseded {
		t.Errorf("closed with %v", got)
	}
	if err := conns[1].Context().Err(); err != nil {
		t.Errorf("the new connection: %v", err)
	}
}

func TestGarbageIsIgnored(t *testing.T) {
	bed := newBed(t, 2)
	one := bed.start(1, nil)
	to, err := net.ResolveUDPAddr("udp", bed.cluster.Members[0].Addr)
	if err != nil {
		t.Fatal(err)
	}
	socket := listen(t, "127.0.0.1:0")
	defer socket.Close()
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		packet := make([]byte, random.IntN(1500))
		for j := range packet {
			packet[j] = byte(random.Uint32())
		}
		if i%2 == 0 && len(packet) > 6 {
			// The first bytes of a QUIC version 1 Initial, with a destination id of 8 bytes.
			copy(packet, []byte{0xc3, 0, 0, 0, 1, 8})
		}
		if _, err := socket.WriteTo(packet, to); err != nil {
			t.Fatal(err)
		}
	}
	two := bed.start(2, nil)
	next(t, one.ups, "peer")
	one.Send(2, 0, []byte("still here"))
	if got := next(t, two.received, "body"); got.body != "still here" {
		t.Errorf("received %+v", got)
	}
}

func TestClientsAreHandedOverAndBounded(t *testing.T) {
	bed := newBed(t, 1)
	one := bed.start(1, func(c *Config) { c.ClientsMax = 2 })
	alice, err := bed.cluster.Authority.IssueClient("alice", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	caller := newCaller(t)
	var near, far []*quic.Conn
	for range 2 {
		near = append(near, caller.dial(bed, 1, alice, identity.ClientProtocol))
		conn, err := one.AcceptClient(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		far = append(far, conn)
	}
	awaitNoHandshakes(t, one)
	third := caller.dial(bed, 1, alice, identity.ClientProtocol)
	if got := caller.ending(third); got.Code != CloseBusy {
		t.Errorf("one client too many: closed with %v", got)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if conn, err := one.AcceptClient(ctx); err == nil {
		t.Errorf("handed over %v", conn.RemoteAddr())
	}
	// The end of one makes room for another.
	far[0].CloseWithError(0, "bye")
	for one.clientsOpen.Load() == 2 {
		time.Sleep(time.Millisecond)
	}
	caller.dial(bed, 1, alice, identity.ClientProtocol)
	if _, err := one.AcceptClient(context.Background()); err != nil {
		t.Error(err)
	}
	one.Close()
	if got := caller.ending(near[1]); got.Code != CloseShutdown {
		t.Errorf("a client of a closing host: closed with %v", got)
	}
}

// awaitNoHandshakes waits until every place for a handshake has been given back.
func awaitNoHandshakes(t *testing.T, r *replica) {
	t.Helper()
	for range 2000 {
		if r.admission.open() == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%d handshakes never end", r.admission.open())
}

func (a *admission) open() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total
}

func TestHandshakesAreBounded(t *testing.T) {
	a := newAdmission()
	info := func(ip string) *quic.ClientInfo {
		return &quic.ClientInfo{RemoteAddr: &net.UDPAddr{IP: net.ParseIP(ip), Port: 1}}
	}
	ctx, end := context.WithCancel(context.Background())
	var slots []*slot
	admit := func(ip string) bool {
		admitted, err := a.admit(ctx, info(ip))
		if err != nil {
			return false
		}
		slots = append(slots, admitted.Value(slotKey{}).(*slot))
		return true
	}
	for i := range handshakesPerSourceMax {
		if !admit("192.0.2.1") {
			t.Fatalf("handshake %d of one source was refused", i)
		}
	}
	if admit("192.0.2.1") || admit("::ffff:192.0.2.1") {
		t.Error("a source exceeded its share")
	}
	slots[0].release()
	slots[0].release()
	if !admit("192.0.2.1") || admit("192.0.2.1") {
		t.Error("a place given back twice counts otherwise than once")
	}
	// All of a /64 is one source.
	for range handshakesPerSourceMax {
		admit("2001:db8::1")
	}
	if admit("2001:db8::2") || !admit("2001:db8:0:1::2") {
		t.Error("IPv6 sources are not counted by network")
	}
	for _, ip := range []string{"192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"} {
		for range handshakesPerSourceMax {
			admit(ip)
		}
	}
	if a.total != handshakesMax || admit("192.0.2.6") || !a.mustVerifySource(nil) {
		t.Errorf("%d handshakes at a time", a.total)
	}
	end()
	for a.open() > 0 {
		time.Sleep(time.Millisecond)
	}
	if len(a.bySource) != 0 {
		t.Errorf("%d sources are remembered without a handshake", len(a.bySource))
	}
}
