package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

const (
	handshakesMax          = 256
	handshakesPerSourceMax = 64
	// From here on a caller must first prove, at the cost of a round trip, that it receives at the
	// address it claims: forged addresses could otherwise use up the handshakes of honest ones.
	handshakesUnverifiedMax = 96
	// handshakeLife is longer than QUIC lets a handshake last (twice handshakeIdle).
	handshakeLife = 12 * time.Second
)

var errTooManyHandshakes = errors.New("too many handshakes at a time")

// admission counts connections that have not yet shown who they are, so that strangers cannot use
// up memory, nor one address the room of the others.
type admission struct {
	mu       sync.Mutex
	total    int
	bySource map[netip.Addr]int
	refused  uint64
}

// slot is one handshake's place. It is given back once: when the handshake succeeds, when it
// fails, or at the latest after handshakeLife.
type slot struct {
	release func()
}

type slotKey struct{}

func newAdmission() *admission { return &admission{bySource: make(map[netip.Addr]int)} }

// admit takes a place for a new connection; the context it returns carries the slot.
func (a *admission) admit(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	source := sourceOf(info.RemoteAddr)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.total >= handshakesMax || a.bySource[source] >= handshakesPerSourceMax {
		a.refused++
		return nil, errTooManyHandshakes
	}
	a.total++
	a.bySource[source]++
	s := &slot{release: sync.OnceFunc(func() { a.leave(source) })}
	timer := time.AfterFunc(handshakeLife, s.release)
	context.AfterFunc(ctx, func() {
		timer.Stop()
		s.release()
	})
	return context.WithValue(ctx, slotKey{}, s), nil
}

func (a *admission) leave(source netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total--
	a.bySource[source]--
	if a.bySource[source] == 0 {
		delete(a.bySource, source)
	}
}

// mustVerifySource reports whether a caller has to prove its address first.
func (a *admission) mustVerifySource(net.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total >= handshakesUnverifiedMax
}

// authenticated gives back the place of a connection whose handshake is complete.
func authenticated(conn *quic.Conn) {
	if s, ok := conn.Context().Value(slotKey{}).(*slot); ok {
		s.release()
	}
}

// sourceOf is the address whose handshakes are counted together: an IPv6 network of 64 bits is
// one source, since a single host commonly has all of it.
func sourceOf(addr net.Addr) netip.Addr {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := udp.AddrPort().Addr().Unmap().WithZone("")
	if ip.Is6() {
		if prefix, err := ip.Prefix(64); err == nil {
			return prefix.Addr()
		}
	}
	return ip
}
