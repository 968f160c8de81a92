package transport

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// fakeNet is a packet network in memory, for tests in virtual time: every datagram takes the same
// time, or is lost while one of its ends is down.
type fakeNet struct {
	latency time.Duration

	mu    sync.Mutex
	conns map[netip.AddrPort]*fakeConn
	down  map[netip.AddrPort]bool
}

type datagram struct {
	due     time.Time
	from    *net.UDPAddr
	payload []byte
}

// fakeConn is one socket of a fakeNet.
type fakeConn struct {
	net     *fakeNet
	addr    *net.UDPAddr
	arrived chan datagram
	expired chan struct{} // closed by a read deadline in the past
	once    sync.Once
}

func newFakeNet(latency time.Duration) *fakeNet {
	return &fakeNet{latency: latency, conns: map[netip.AddrPort]*fakeConn{}, down: map[netip.AddrPort]bool{}}
}

func (n *fakeNet) listen(addr string) *fakeConn {
	at := netip.MustParseAddrPort(addr)
	c := &fakeConn{
		net:     n,
		addr:    net.UDPAddrFromAddrPort(at),
		arrived: make(chan datagram, 4096),
		expired: make(chan struct{}),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns[at] = c
	return c
}

func (n *fakeNet) setDown(addr string, down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down[netip.MustParseAddrPort(addr)] = down
}

func (c *fakeConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	to := addr.(*net.UDPAddr).AddrPort()
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	far, found := c.net.conns[to]
	if found && !c.net.down[to] && !c.net.down[c.addr.AddrPort()] {
		select {
		case far.arrived <- datagram{time.Now().Add(c.net.latency), c.addr, append([]byte(nil), p...)}:
		default:
		}
	}
	return len(p), nil
}

func (c *fakeConn) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case d := <-c.arrived:
		select {
		case <-time.After(time.Until(d.due)):
			return copy(p, d.payload), d.from, nil
		case <-c.expired:
		}
	case <-c.expired:
	}
	return 0, nil, os.ErrDeadlineExceeded
}

func (c *fakeConn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.net.conns[c.addr.AddrPort()] == c {
		delete(c.net.conns, c.addr.AddrPort())
	}
	return nil
}

func (c *fakeConn) SetReadDeadline(t time.Time) error {
	if !t.IsZero() && !t.After(time.Now()) {
		c.once.Do(func() { close(c.expired) })
	}
	return nil
}

func (c *fakeConn) LocalAddr() net.Addr              { return c.addr }
func (c *fakeConn) SetDeadline(time.Time) error      { return nil }
func (c *fakeConn) SetWriteDeadline(time.Time) error { return nil }
func (c *fakeConn) SetReadBuffer(int) error          { return nil }
func (c *fakeConn) SetWriteBuffer(int) error         { return nil }
