package wan

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// datagramMax is the largest UDP payload.
const datagramMax = 65_507

// payloadBytes is the size of pooled buffers: more than any datagram that QUIC sends.
const payloadBytes = 1500

var payloads = sync.Pool{New: func() any { return new([payloadBytes]byte) }}

// Conn is a UDP socket at a site. It is a net.PacketConn; it deliberately offers no more of a
// *net.UDPConn than the buffer sizes and the raw descriptor, because QUIC would otherwise send
// around it, through the offload of the kernel.
type Conn struct {
	em     *Emulator
	site   int
	socket *net.UDPConn
	local  netip.AddrPort
	now    func() time.Time
	alarm  alarm         // set under mu only, and never once closed
	done   chan struct{} // closed when the courier has ended

	mu     sync.Mutex
	line   line
	closed bool
}

var _ net.PacketConn = (*Conn)(nil)

func newConn(em *Emulator, site int, socket *net.UDPConn, alarm alarm) *Conn {
	return &Conn{
		em:     em,
		site:   site,
		socket: socket,
		local:  socket.LocalAddr().(*net.UDPAddr).AddrPort(),
		now:    time.Now,
		alarm:  alarm,
		done:   make(chan struct{}),
	}
}

// WriteTo sends p on its way and returns at once. That a datagram is lost on the way is no error.
func (c *Conn) WriteTo(p []byte, addr net.Addr) (int, error) {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("wan: write to %v: need a UDP address", addr)
	}
	if len(p) > datagramMax {
		return 0, fmt.Errorf("wan: write to %v: %w", addr, syscall.EMSGSIZE)
	}
	remote := udp.AddrPort()
	to, fate := c.em.route(c.site, remote)
	for _, delay := range fate.delays[:fate.copies] {
		var err error
		if delay == 0 {
			_, err = c.socket.WriteTo(p, addr)
		} else {
			err = c.hold(p, remote, to, c.now().Add(delay))
		}
		if err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (c *Conn) hold(p []byte, remote netip.AddrPort, to int, due time.Time) error {
	payload := borrow(len(p))
	copy(payload, p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		giveBack(payload)
		return net.ErrClosed
	}
	first, ok := c.line.put(parcel{due: due, payload: payload, addr: remote, to: to})
	switch {
	case !ok:
		giveBack(payload)
		c.em.overflowed()
	case first:
		c.alarm.set(due.Sub(c.now()))
	}
	return nil
}

// courier delivers what is due, until the connection is closed.
func (c *Conn) courier() {
	defer close(c.done)
	for c.alarm.wait() {
		for {
			p, ok := c.nextDue()
			if !ok {
				break
			}
			if c.em.arrives(c.site, p.to) {
				// A failed write is a lost datagram: whoever sent it has long been told that it left.
				_, _ = c.socket.WriteToUDPAddrPort(p.payload, p.addr)
			}
			giveBack(p.payload)
		}
	}
}

// nextDue takes what is due now, or sets the alarm for what comes next.
func (c *Conn) nextDue() (parcel, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return parcel{}, false
	}
	p, ok := c.line.take(c.now())
	if !ok {
		if due, waiting := c.line.due(); waiting {
			c.alarm.set(due.Sub(c.now()))
		}
	}
	return p, ok
}

// ReadFrom reads the next datagram that has arrived.
func (c *Conn) ReadFrom(p []byte) (int, net.Addr, error) { return c.socket.ReadFrom(p) }

// Close closes the socket, takes its address out of the book and drops what is in flight.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return net.ErrClosed
	}
	c.closed = true
	c.line = line{}
	c.mu.Unlock()
	c.em.forget(c.local)
	err := errors.Join(c.alarm.close(), c.socket.Close())
	<-c.done
	return err
}

// LocalAddr is the address of the socket.
func (c *Conn) LocalAddr() net.Addr { return c.socket.LocalAddr() }

// SetDeadline, SetReadDeadline and SetWriteDeadline are the socket's; a write that is held back
// has no deadline.
func (c *Conn) SetDeadline(t time.Time) error      { return c.socket.SetDeadline(t) }
func (c *Conn) SetReadDeadline(t time.Time) error  { return c.socket.SetReadDeadline(t) }
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.socket.SetWriteDeadline(t) }

// SetReadBuffer and SetWriteBuffer are the socket's. QUIC raises both.
func (c *Conn) SetReadBuffer(bytes int) error  { return c.socket.SetReadBuffer(bytes) }
func (c *Conn) SetWriteBuffer(bytes int) error { return c.socket.SetWriteBuffer(bytes) }

// SyscallConn is the socket's, with which QUIC checks buffer sizes and forbids fragmentation.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return c.socket.SyscallConn() }

func borrow(n int) []byte {
	if n > payloadBytes {
		return make([]byte, n)
	}
	return payloads.Get().(*[payloadBytes]byte)[:n]
}

func giveBack(payload []byte) {
	if cap(payload) == payloadBytes {
		payloads.Put((*[payloadBytes]byte)(payload[:payloadBytes]))
	}
}
