package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
)

const (
	redialMin = 50 * time.Millisecond
	redialMax = 2 * time.Second
	// redialRemovedMax is for a peer that says that this replica was removed.
	redialRemovedMax = 30 * time.Second
	// steadyAfter is how long a connection must stand to count as a success: a peer that accepts
	// and then drops us must not be dialed in a tight loop.
	steadyAfter = time.Second
	// writePieceBytes is how much is handed to QUIC at a time. Less loses the batching of system
	// calls; on a wide-area path the pacer spreads more over milliseconds anyway.
	writePieceBytes = 10 << 10
	dialTimeout     = 10 * time.Second
	// staleAfter is the age of a dial that a sign of life from the peer cuts short. A younger one
	// is about to succeed: two replicas that start together must not cancel each other's dials.
	staleAfter = time.Second
)

// lane is one connection that this replica keeps open to a peer, and the queue in front of it.
type lane struct {
	peer   *peer
	number int
	queue  *queue
	nudged chan struct{} // holds a token when the peer has shown that it can be dialed

	mu         sync.Mutex
	cancelDial context.CancelFunc // nil when no dial is under way
	dialedAt   time.Duration      // the host's clock when the dial under way began
}

func newLane(p *peer, number int, room *budget) *lane {
	return &lane{peer: p, number: number, queue: newQueue(room), nudged: make(chan struct{}, 1)}
}

// nudge has a lane that is down dial at once. A handshake with a peer that was down backs off to
// seconds between its packets, so without this a restarted peer would wait that long for us.
func (l *lane) nudge() {
	select {
	case l.nudged <- struct{}{}:
	default:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancelDial != nil && l.peer.host.clock()-l.dialedAt > staleAfter {
		l.cancelDial()
	}
}

// run dials again and again until the peer is stopped. The wait between attempts is drawn from
// the whole of a doubling interval, so that replicas that lost one peer together do not come back
// together.
func (l *lane) run() {
	ceiling := redialMin
	for l.peer.ctx.Err() == nil {
		stood, err := l.session()
		if l.peer.ctx.Err() != nil {
			return
		}
		l.peer.failed(err, stood)
		if stood >= steadyAfter {
			ceiling = redialMin
		}
		longest := l.patience(err)
		l.pause(ceiling)
		ceiling = min(2*ceiling, longest)
	}
}

// pause waits for a part of the ceiling, or until the peer has shown that it can be dialed.
func (l *lane) pause(ceiling time.Duration) {
	wait := time.NewTimer(time.Duration(l.peer.host.config.Rand() * float64(ceiling)))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-l.nudged:
	case <-l.peer.ctx.Done():
	}
}

// patience is the longest pause after a failure: who was removed is not let in by asking again. Whether
// the peer disowned this replica is passed on here.
func (l *lane) patience(err error) time.Duration {
	if why, found := l.peer.disowned(err); found && why.Code == CloseRemoved {
		return redialRemovedMax
	}
	return redialMax
}

// session is the life of one connection. It returns how long the lane stood, zero if it never did,
// and why it ended.
func (l *lane) session() (stood time.Duration, err error) {
	conn, err := l.dial()
	if err != nil {
		return 0, fmt.Errorf("dial: %w", explain(err))
	}
	stop := context.AfterFunc(l.peer.ctx, func() { l.peer.dismiss(conn) })
	defer stop()
	stream, frames, hello, err := l.greet(conn)
	if err != nil {
		closeConn(conn, codeFor(err), err.Error())
		return 0, fmt.Errorf("exchange hellos: %w", endOf(conn, err))
	}
	l.peer.laneUp(hello)
	up := l.peer.host.clock()
	defer func() { l.peer.laneDown(err) }()
	echoes := make(chan error, 1)
	go func() {
		err := l.readEchoes(frames)
		closeConn(conn, codeFor(err), err.Error())
		echoes <- err
	}()
	err = l.write(conn, stream)
	closeConn(conn, codeFor(err), err.Error())
	err = errors.Join(endOf(conn, err), protocolOnly(<-echoes))
	return max(1, l.peer.host.clock()-up), err
}

// endOf prefers the reason for which a connection ended to the error that a stream met because of it.
func endOf(conn *quic.Conn, err error) error {
	var local *quic.ApplicationError
	cause := context.Cause(conn.Context())
	if cause == nil || errors.As(cause, &local) && !local.Remote {
		return explain(err)
	}
	return explain(cause)
}

// protocolOnly keeps an error of the peer's making; others merely follow from the connection's end.
func protocolOnly(err error) error {
	var broken protocolError
	if errors.As(err, &broken) {
		return broken
	}
	return nil
}

func (l *lane) dial() (*quic.Conn, error) {
	ctx, cancel := context.WithTimeout(l.peer.ctx, dialTimeout)
	defer cancel()
	l.dialing(cancel)
	defer l.dialing(nil)
	host := l.peer.host
	addr, err := resolve(ctx, host.Addr(), l.peer.member.Addr)
	if err != nil {
		return nil, err
	}
	tlsConfig := host.config.Credential.PeerConfig(l.peer.member)
	return host.quic.Dial(ctx, addr, tlsConfig, dialConfig())
}

// dialing notes how to cut the dial short that begins, or, with nil, that it has ended.
func (l *lane) dialing(cancel context.CancelFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cancelDial, l.dialedAt = cancel, l.peer.host.clock()
}

// resolve looks an address up at every attempt, since a name may move, and picks one that the
// socket can reach.
func resolve(ctx context.Context, local net.Addr, addr string) (*net.UDPAddr, error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "udp", service)
	if err != nil {
		return nil, err
	}
	family := "ip"
	if udp, ok := local.(*net.UDPAddr); ok && udp.IP.To4() != nil {
		family = "ip4"
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, family, host)
	if err != nil {
		return nil, err
	}
	if len(ips) == 0 {
		return nil, fmt.Errorf("%s has no address that %s can reach", host, local)
	}
	return &net.UDPAddr{IP: ips[0].Unmap().AsSlice(), Port: port, Zone: ips[0].Zone()}, nil
}

// greet opens the stream and exchanges hellos; it returns the peer's.
func (l *lane) greet(conn *quic.Conn) (*quic.Stream, *frameReader, []byte, error) {
	ctx, cancel := context.WithTimeout(l.peer.ctx, helloTimeout)
	defer cancel()
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	config := &l.peer.host.config
	id := l.peer.member.Replica
	hello := config.Hello(id)
	switch {
	case len(hello) == 0:
		return nil, nil, nil, errNothingToSay
	case len(hello) > HelloBytesMax:
		return nil, nil, nil, fmt.Errorf("own hello of %d bytes: at most %d", len(hello), HelloBytesMax)
	}
	deadline := time.Now().Add(helloTimeout)
	if err := stream.SetDeadline(deadline); err != nil {
		return nil, nil, nil, err
	}
	if _, err := stream.Write(appendFrame(nil, frameHello, []byte{byte(l.number)}, hello)); err != nil {
		return nil, nil, nil, err
	}
	frames := newFrameReader(stream, 1+HelloBytesMax)
	_, answer, err := readHello(frames)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := config.CheckHello(id, answer); err != nil {
		return nil, nil, nil, refusal{err}
	}
	if err := stream.SetDeadline(time.Time{}); err != nil {
		return nil, nil, nil, err
	}
	l.peer.hear()
	return stream, frames, slices.Clone(answer), nil
}

// readHello reads the first frame of a connection.
func readHello(frames *frameReader) (lane int, hello []byte, err error) {
	kind, body, err := frames.next()
	switch {
	case err != nil:
		return 0, nil, err
	case kind != frameHello || len(body) == 0:
		return 0, nil, protocolError{fmt.Sprintf("first frame is %s: need a hello", kind)}
	case int(body[0]) > bulkLane:
		return 0, nil, protocolError{fmt.Sprintf("lane %d: at most %d are possible", body[0], LanesMax)}
	}
	return int(body[0]), body[1:], nil
}

// write sends what the queue holds, and heartbeats, until the connection ends.
func (l *lane) write(conn *quic.Conn, stream *quic.Stream) error {
	ticker := time.NewTicker(l.peer.host.config.HeartbeatInterval)
	defer ticker.Stop()
	l.queue.wake()
	var spare []byte
	for {
		select {
		case <-conn.Context().Done():
			return context.Cause(conn.Context())
		case <-ticker.C:
			if err := l.heartbeat(stream); err != nil {
				return err
			}
		case <-l.queue.ready:
			batch := l.queue.take(spare)
			if err := l.writeBatch(stream, batch, &l.peer.counters.bytesSent); err != nil {
				return err
			}
			spare = batch
		}
	}
}

// writeBatch writes whole frames, in pieces. A batch that fails is lost: how much of it arrived is
// unknown, and a frame cut in two cannot be continued on another connection.
func (l *lane) writeBatch(stream io.Writer, batch []byte, sent *atomic.Uint64) error {
	rest := batch
	defer func() { l.queue.budget.release(len(rest)) }()
	for len(rest) > 0 {
		piece := rest[:min(len(rest), writePieceBytes)]
		if _, err := stream.Write(piece); err != nil {
			return err
		}
		l.queue.budget.release(len(piece))
		sent.Add(uint64(len(piece)))
		rest = rest[len(piece):]
	}
	return nil
}

// heartbeat is stamped here and not when it is queued, so that it measures the path and not the queue.
func (l *lane) heartbeat(stream io.Writer) error {
	var body [heartbeatBytes]byte
	binary.BigEndian.PutUint64(body[:], uint64(l.peer.host.clock()))
	_, err := stream.Write(appendFrame(nil, frameHeartbeat, body[:]))
	return err
}

// readEchoes takes the answers to heartbeats until the connection ends.
func (l *lane) readEchoes(frames *frameReader) error {
	for {
		kind, body, err := frames.next()
		if err != nil {
			return err
		}
		if kind != frameEcho || len(body) < 8 {
			return protocolError{fmt.Sprintf("%s of %d bytes where only echoes may be", kind, len(body))}
		}
		l.peer.hear()
		sent := binary.BigEndian.Uint64(body)
		// A peer that returns what it was not sent spoils its own estimate only; a stamp from the
		// future would make it negative.
		if now := l.peer.host.clock(); sent <= uint64(now) {
			l.peer.rtt.add(now - time.Duration(sent))
		}
	}
}
