package wan

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// QueueBytesMax is how much one socket may have in flight; what exceeds it is dropped, as a
// router's buffer would.
const QueueBytesMax = 64 << 20

// Link is what a path does to datagrams besides delaying them.
type Link struct {
	Loss      float64       // probability that a datagram is lost, per direction
	Duplicate float64       // probability that one that is not lost arrives twice
	Jitter    time.Duration // added delay, uniform in [0, Jitter), of each copy; it reorders
}

// Stats counts what became of the datagrams that sockets of an emulator sent. Cut ones are those
// lost to Cut, CutOneWay and SetDown.
type Stats struct {
	Sent, Lost, Duplicated, Cut, Overflowed uint64
}

// Emulator is a wide-area network. All methods are safe for concurrent use.
type Emulator struct {
	profile Profile

	mu    sync.Mutex
	book  map[netip.AddrPort]int
	paths [][]path // paths[from][to]
	down  []bool
	stats Stats
}

// path is one direction between two sites.
type path struct {
	delay time.Duration
	link  Link
	cut   bool
	draw  *rand.Rand
}

// fate is what happens to one datagram: how long each of its copies takes.
type fate struct {
	copies int // 0 is lost
	delays [2]time.Duration
}

// New makes an emulator. The profile must be valid.
func New(profile Profile, seed uint64) (*Emulator, error) {
	if err := profile.Validate(); err != nil {
		return nil, err
	}
	n := len(profile.Sites)
	em := &Emulator{
		profile: profile,
		book:    make(map[netip.AddrPort]int),
		paths:   make([][]path, n),
		down:    make([]bool, n),
	}
	for from := range n {
		em.paths[from] = make([]path, n)
		for to := range n {
			em.paths[from][to] = path{
				delay: profile.OneWay(from, to),
				draw:  rand.New(rand.NewPCG(seed, uint64(from)<<32|uint64(to))),
			}
		}
	}
	return em, nil
}

// Profile is the table that the emulator was made of.
func (em *Emulator) Profile() Profile { return em.profile }

// SetLink sets loss, duplication and jitter between two sites, both ways.
func (em *Emulator) SetLink(a, b int, link Link) error {
	if err := em.check(a, b); err != nil {
		return err
	}
	if !probability(link.Loss) || !probability(link.Duplicate) || link.Jitter < 0 {
		return fmt.Errorf("wan link: loss %v, duplicate %v, jitter %v: need two probabilities and a positive time",
			link.Loss, link.Duplicate, link.Jitter)
	}
	em.mu.Lock()
	defer em.mu.Unlock()
	em.paths[a][b].link, em.paths[b][a].link = link, link
	return nil
}

func probability(p float64) bool { return p >= 0 && p <= 1 } // not a number is none

// SetLinks sets loss, duplication and jitter between all sites, but not inside a site.
func (em *Emulator) SetLinks(link Link) error {
	for a := range em.profile.Sites {
		for b := range a {
			if err := em.SetLink(a, b, link); err != nil {
				return err
			}
		}
	}
	return nil
}

// Cut drops everything between two sites, both ways, what is in flight included, until it is
// called with false.
func (em *Emulator) Cut(a, b int, cut bool) error {
	if err := em.check(a, b); err != nil {
		return err
	}
	em.mu.Lock()
	defer em.mu.Unlock()
	em.paths[a][b].cut, em.paths[b][a].cut = cut, cut
	return nil
}

// CutOneWay drops everything that one site sends to another, but not what comes back, until it is
// called with false.
func (em *Emulator) CutOneWay(from, to int, cut bool) error {
	if err := em.check(from, to); err != nil {
		return err
	}
	em.mu.Lock()
	defer em.mu.Unlock()
	em.paths[from][to].cut = cut
	return nil
}

// SetDown drops everything to, from and inside a site until it is called with false.
func (em *Emulator) SetDown(site int, down bool) error {
	if err := em.check(site, site); err != nil {
		return err
	}
	em.mu.Lock()
	defer em.mu.Unlock()
	em.down[site] = down
	return nil
}

// Place says that addr is at a site: the address of a socket that another process has opened.
func (em *Emulator) Place(addr netip.AddrPort, site int) error {
	if err := em.check(site, site); err != nil {
		return err
	}
	em.mu.Lock()
	defer em.mu.Unlock()
	em.book[canonical(addr)] = site
	return nil
}

// Stats is what has happened so far.
func (em *Emulator) Stats() Stats {
	em.mu.Lock()
	defer em.mu.Unlock()
	return em.stats
}

func (em *Emulator) check(a, b int) error {
	for _, site := range []int{a, b} {
		if site < 0 || site >= len(em.profile.Sites) {
			return fmt.Errorf("wan site %d is unknown: profile %q has %d sites",
				site, em.profile.Name, len(em.profile.Sites))
		}
	}
	return nil
}

func (em *Emulator) forget(addr netip.AddrPort) {
	em.mu.Lock()
	defer em.mu.Unlock()
	delete(em.book, canonical(addr))
}

// route decides about a datagram that a socket at site from sends to addr. to is -1 if the address
// is not in the book.
func (em *Emulator) route(from int, addr netip.AddrPort) (to int, f fate) {
	em.mu.Lock()
	defer em.mu.Unlock()
	em.stats.Sent++
	to, found := em.book[canonical(addr)]
	if !found {
		return -1, fate{copies: 1}
	}
	p := &em.paths[from][to]
	if p.cut || em.down[from] || em.down[to] {
		em.stats.Cut++
		return to, fate{}
	}
	if p.link.Loss > 0 && p.draw.Float64() < p.link.Loss {
		em.stats.Lost++
		return to, fate{}
	}
	f.copies = 1
	if p.link.Duplicate > 0 && p.draw.Float64() < p.link.Duplicate {
		em.stats.Duplicated++
		f.copies = 2
	}
	for i := range f.copies {
		f.delays[i] = p.delay
		if p.link.Jitter > 0 {
			f.delays[i] += time.Duration(p.draw.Int64N(int64(p.link.Jitter)))
		}
	}
	return to, f
}

// arrives decides again at the far end of the path.
func (em *Emulator) arrives(from, to int) bool {
	em.mu.Lock()
	defer em.mu.Unlock()
	if em.paths[from][to].cut || em.down[from] || em.down[to] {
		em.stats.Cut++
		return false
	}
	return true
}

func (em *Emulator) overflowed() {
	em.mu.Lock()
	defer em.mu.Unlock()
	em.stats.Overflowed++
}

// canonical makes the forms in which one address may come equal.
func canonical(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap().WithZone(""), addr.Port())
}

// Listen opens a UDP socket at a site. The address must be a definite one (not 0.0.0.0), since
// it is by its address that others know where the socket is. The connection is a net.PacketConn
// for QUIC; closing it drops what it has in flight, as a crash of its machine would.
func (em *Emulator) Listen(site int, network, addr string) (*Conn, error) {
	if err := em.check(site, site); err != nil {
		return nil, err
	}
	udpAddr, err := net.ResolveUDPAddr(network, addr)
	if err != nil {
		return nil, fmt.Errorf("wan: listen on %s: %w", addr, err)
	}
	if udpAddr.IP == nil || udpAddr.IP.IsUnspecified() {
		return nil, fmt.Errorf("wan: listen on %s: need a definite address, such as 127.0.0.1", addr)
	}
	socket, err := net.ListenUDP(network, udpAddr)
	if err != nil {
		return nil, fmt.Errorf("wan: listen on %s: %w", addr, err)
	}
	alarm, err := newAlarm()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("wan: listen on %s: %w", addr, err), socket.Close())
	}
	conn := newConn(em, site, socket, alarm)
	if err := em.Place(conn.local, site); err != nil {
		return nil, errors.Join(err, alarm.close(), socket.Close())
	}
	go conn.courier()
	return conn, nil
}
