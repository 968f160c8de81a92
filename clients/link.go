package clients

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/264bc8cf/epaxos/clients/internal/protocol"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

const (
	redialMin = 50 * time.Millisecond
	redialMax = 5 * time.Second
	// redialRefused is the pause after a refusal that will be repeated until somebody acts.
	redialRefused = 30 * time.Second
	// helloTimeout bounds the wait for the server's hello on a connection that is up.
	helloTimeout = 5 * time.Second
)

// link keeps one connection to one endpoint, for as long as the client lives, or until the endpoint
// turns out to be that of a former member.
type link struct {
	client   *Client
	endpoint string
	given    bool // to Dial, and not learnt from a replica
	attempts int
	woken    chan struct{} // holds a token when its prospect may have changed

	// Under the client's mu.
	refused bool             // the last attempt failed in a way that the next will, too
	lastErr error            // of the last attempt
	replica epaxos.ReplicaID // last reached, 0 if none
}

// wake ends a pause between attempts.
func (l *link) wake() {
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

// run dials, serves the connection until it ends, and dials again, ever slower while it fails.
func (l *link) run() {
	defer l.client.wg.Done()
	defer l.client.dropLink(l)
	pause := redialMin
	for l.client.ctx.Err() == nil {
		switch l.client.prospect(l) {
		case linkUseless:
			return
		case linkResting:
			if !l.rest() {
				return
			}
			continue
		}
		s, err := l.connect()
		switch {
		case err == nil:
			l.client.log.Info("connected", "endpoint", l.endpoint, "replica", s.hello.Replica)
			err = l.serve(s)
			l.client.log.Info("connection ended", "endpoint", l.endpoint, "reason", err)
			if !errors.Is(err, errLeft) {
				pause = redialMin
			}
		case permanent(err):
			pause = redialRefused
			l.client.linkFailed(l, err, true)
		default:
			l.client.linkFailed(l, err, false)
		}
		if !l.sleep(pause) {
			return
		}
		pause = min(2*pause, redialMax)
	}
}

// sleep waits for between half of pause and all of it, so that the clients of a restarted replica
// do not all come back at once; less if the link has become useless. It returns false if the client
// is closed.
func (l *link) sleep(pause time.Duration) bool {
	timer := time.NewTimer(pause/2 + rand.N(pause/2))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return true
		case <-l.woken:
			if l.client.prospect(l) == linkUseless {
				return true
			}
		case <-l.client.ctx.Done():
			return false
		}
	}
}

// rest waits until the prospect may have changed. It returns false if the client is closed.
func (l *link) rest() bool {
	select {
	case <-l.woken:
		return true
	case <-l.client.ctx.Done():
		return false
	}
}

// serve runs a session to its end. If the replica is connected already, by another name of its
// endpoint, it waits for that connection's end instead.
func (l *link) serve(s *session) error {
	other, err := l.client.attach(l, s)
	if err != nil {
		s.abort(err)
		return err
	}
	if other != nil {
		s.abort(errors.New("connected to this replica twice"))
		select {
		case <-other.done:
		case <-l.client.ctx.Done():
		}
		return fmt.Errorf("replica %d is connected by another endpoint", s.hello.Replica)
	}
	l.client.wg.Add(1)
	go s.write()
	err = s.read()
	if l.client.ctx.Err() != nil {
		err = ErrClosed
	}
	l.client.detach(s)
	s.abort(err)
	return err
}

// connect dials the endpoint and exchanges hellos.
func (l *link) connect() (*session, error) {
	c := l.client
	address, host, err := resolve(c.ctx, l.endpoint, l.attempts)
	l.attempts++
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", l.endpoint, err)
	}
	config := c.options.tls
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName = host
	}
	conn, err := c.transport.Dial(c.ctx, address, config, &quic.Config{
		HandshakeIdleTimeout:  helloTimeout,
		MaxIdleTimeout:        5 * time.Second,
		KeepAlivePeriod:       time.Second,
		MaxIncomingStreams:    -1,
		MaxIncomingUniStreams: -1,
	})
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", l.endpoint, explain(err))
	}
	// Only the end of the connection wakes a read, and Close must not wait for a silent replica.
	stop := context.AfterFunc(c.ctx, func() { protocol.Close(conn, protocol.CloseDone, "the client was closed") })
	s, err := l.greet(conn)
	stop()
	if err != nil {
		code := closeCode(err)
		if errors.Is(err, errWrongCluster) {
			code = protocol.CloseWrongCluster
		}
		protocol.Close(conn, code, err.Error())
		return nil, fmt.Errorf("connect to %s: %w", l.endpoint, explain(err))
	}
	return s, nil
}

var errWrongCluster = errors.New("the replica belongs to another cluster")

// greet opens the stream, sends our hello and waits for the replica's.
func (l *link) greet(conn *quic.Conn) (*session, error) {
	c := l.client
	stream, err := conn.OpenStreamSync(c.ctx)
	if err != nil {
		return nil, fmt.Errorf("open the stream: %w", err)
	}
	start := time.Now()
	if _, err := stream.Write(helloFrame(c)); err != nil {
		return nil, fmt.Errorf("send the hello: %w", err)
	}
	if err := stream.SetReadDeadline(start.Add(helloTimeout)); err != nil {
		return nil, fmt.Errorf("wait for the hello: %w", err)
	}
	frames := newFrames(stream)
	body, err := frames.Next()
	if err != nil {
		return nil, fmt.Errorf("wait for the hello: %w", err)
	}
	rtt := time.Since(start)
	hello, err := wire.DecodeServerHello(body)
	if err != nil {
		return nil, fmt.Errorf("read the hello: %w", err)
	}
	if err := c.checkHello(&hello); err != nil {
		return nil, err
	}
	if err := stream.SetReadDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("wait for answers: %w", err)
	}
	return &session{
		client: c, conn: conn, stream: stream, frames: frames, hello: hello, helloIn: rtt,
		wake: make(chan struct{}, 1), done: make(chan struct{}), open: make(map[uint64]*Future),
	}, nil
}

func helloFrame(c *Client) []byte {
	return protocol.AppendFrame(nil, func(buf []byte) []byte {
		return wire.AppendClientHello(buf, &wire.ClientHello{
			Cluster: c.options.cluster, FormatMin: wire.FormatMin, FormatMax: wire.Format,
			Name: c.options.name,
		})
	})
}

// explain adds to what TLS says whom to ask: it tells the end that is refused no more than that it is.
func explain(err error) error {
	failed, ok := errors.AsType[*quic.TransportError](err)
	switch {
	case !ok || !failed.ErrorCode.IsCryptoError():
		return err
	case failed.Remote:
		return fmt.Errorf("the replica refused this client's certificate, its log says why: %w", err)
	default:
		return fmt.Errorf("the certificate of the replica is not what this client trusts; correct its authority (ca) "+
			"or the endpoint: %w", err)
	}
}

// permanent reports whether the next attempt will fail for the same reason.
func permanent(err error) bool {
	if errors.Is(err, errWrongCluster) || errors.Is(err, wire.ErrMalformed) {
		return true
	}
	if failed, ok := errors.AsType[*quic.TransportError](err); ok && failed.ErrorCode.IsCryptoError() {
		return true // a certificate or an authority that one end does not accept
	}
	closed, ok := errors.AsType[*quic.ApplicationError](err)
	return ok && closed.Remote && protocol.Permanent(closed.ErrorCode)
}

// resolve turns host:port into an address and the name to look for in the certificate. Attempts go
// through the addresses of the host in turn, IPv4 first, as some may not be reachable from here.
func resolve(ctx context.Context, endpoint string, attempt int) (*net.UDPAddr, string, error) {
	host, service, err := net.SplitHostPort(endpoint)
	if err != nil {
		return nil, "", err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, "", fmt.Errorf("port %q is no number below 65536", service)
	}
	addresses, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return nil, "", err
	}
	slices.SortStableFunc(addresses, func(a, b net.IPAddr) int { return len(b.IP.To4()) - len(a.IP.To4()) })
	pick := addresses[attempt%len(addresses)]
	return &net.UDPAddr{IP: pick.IP, Zone: pick.Zone, Port: int(port)}, host, nil
}
