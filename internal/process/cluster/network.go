package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/264bc8cf/epaxos/internal/config"
	"github.com/264bc8cf/epaxos/internal/wan"
)

// Margins of clients that live at a site: below the distance of the next, or beyond any.
const (
	siteMargin     = time.Millisecond
	loopbackMargin = time.Second
)

// Network stands between the replicas, each at a site of its own. What a replica sends to another
// goes to a relay made for this pair and direction of dialing, which sends it on through the
// emulator, and so does what comes back:
//
//	replica i  ->  front (at the site of j)
//	               back  (at the site of i)  ->  emulated path i to j  ->  replica j
//	replica i  <-  emulated path j to i  <-  front
//
// So the emulator decides about every datagram between two replicas, and neither knows of it.
type Network struct {
	*wan.Emulator
	fronts [][]string // fronts[i][j] is where replica i reaches replica j
	addrs  []netip.AddrPort
	conns  []*wan.Conn
	relays sync.WaitGroup
}

// datagramMax is more than QUIC sends.
const datagramMax = 2048

// Sites is the profile of n sites that are equally far from each other.
func Sites(n int, rtt time.Duration) *wan.Profile {
	p := &wan.Profile{Name: "sites"}
	for i := range n {
		row := make([]float64, n)
		for j := range row {
			if j != i {
				row[j] = float64(rtt) / float64(time.Millisecond)
			}
		}
		p.Sites, p.RTT = append(p.Sites, fmt.Sprint(i+1)), append(p.RTT, row)
	}
	return p
}

func newNetwork(o Options, replicas []*Replica) (*Network, error) {
	emulator, err := wan.New(*o.Profile, o.Seed)
	if err != nil {
		return nil, err
	}
	n := &Network{Emulator: emulator}
	for i, r := range replicas {
		addr, err := netip.ParseAddrPort(r.Addr)
		if err != nil {
			return nil, fmt.Errorf("the address of a replica: %w", err)
		}
		if err := emulator.Place(addr, i); err != nil {
			return nil, err
		}
		n.addrs = append(n.addrs, addr)
	}
	for i := range replicas {
		n.fronts = append(n.fronts, make([]string, len(replicas)))
		for j := range replicas {
			n.fronts[i][j] = replicas[j].Addr
			if i == j {
				continue
			}
			if n.fronts[i][j], err = n.join(i, j); err != nil {
				return nil, errors.Join(err, n.close())
			}
		}
	}
	return n, nil
}

// join makes the relay for the connections that replica i dials to replica j.
func (n *Network) join(i, j int) (addr string, err error) {
	ends := make([]*wan.Conn, 2)
	for k, site := range []int{j, i} {
		if ends[k], err = n.Listen(site, "udp", "127.0.0.1:0"); err != nil {
			return "", fmt.Errorf("open a relay: %w", err)
		}
		// More than the default fits: a relay that waits for a processor must not be the network's loss.
		ends[k].SetReadBuffer(4 << 20) //nolint:errcheck // the system's limit is good enough
		n.conns = append(n.conns, ends[k])
	}
	n.relays.Go(func() { relay(ends[0], ends[1], n.addrs[i], n.addrs[j]) })
	n.relays.Go(func() { relay(ends[1], ends[0], n.addrs[j], n.addrs[i]) })
	return ends[0].LocalAddr().String(), nil
}

// relay passes on what one sender sends, until from is closed.
func relay(from, to *wan.Conn, sender, receiver netip.AddrPort) {
	buffer := make([]byte, datagramMax)
	destination := net.UDPAddrFromAddrPort(receiver)
	for {
		n, source, err := from.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		udp, ok := source.(*net.UDPAddr)
		if err != nil || !ok || udp.AddrPort().Port() != sender.Port() {
			continue // a refusal of the other end, or a client that heard of this address
		}
		to.WriteTo(buffer[:n], destination) //nolint:errcheck // it is lost, as on any network
	}
}

func (n *Network) members(i int, members []config.Member) string {
	return memberFlag(members, func(j int) string { return n.fronts[i][j] })
}

// clientConn opens the socket of a client at a site. What it sends to a replica is emulated; what
// comes back is not, so for a client the way back takes no time. A client whose way there is cut
// is as good as cut off.
func (n *Network) clientConn(site int) func() (net.PacketConn, error) {
	return func() (net.PacketConn, error) {
		conn, err := n.Listen(site, "udp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("open a client's socket: %w", err)
		}
		return &clientConn{Conn: conn, replicas: n.addrs}, nil
	}
}

// clientConn sends to replicas only, not to the relays of which replicas tell.
type clientConn struct {
	*wan.Conn
	replicas []netip.AddrPort
}

// WriteTo implements net.PacketConn.
func (c *clientConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	if udp, ok := addr.(*net.UDPAddr); ok && !slices.Contains(c.replicas, unmapped(udp.AddrPort())) {
		return len(p), nil
	}
	return c.Conn.WriteTo(p, addr)
}

func unmapped(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}

// Isolate cuts a site off from all others, or heals that.
func (n *Network) Isolate(site int, cut bool) error {
	var errs []error
	for other := range n.addrs {
		if other != site {
			errs = append(errs, n.Cut(site, other, cut))
		}
	}
	return errors.Join(errs...)
}

// Heal makes the network whole.
func (n *Network) Heal() error {
	errs := []error{n.SetLinks(wan.Link{})}
	for site := range n.addrs {
		errs = append(errs, n.Isolate(site, false), n.SetDown(site, false))
	}
	return errors.Join(errs...)
}

func (n *Network) close() error {
	var errs []error
	for _, conn := range n.conns {
		errs = append(errs, conn.Close())
	}
	n.relays.Wait()
	return errors.Join(errs...)
}
