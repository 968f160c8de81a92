package clients

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// Defaults and bounds of the options.
const (
	timeoutDefault    = 10 * time.Second
	dialTimeout       = 10 * time.Second
	probeEveryDefault = 500 * time.Millisecond
	probeEveryMin     = 10 * time.Millisecond
	inFlightDefault   = 1024
	inFlightMax       = 1 << 20
	sessionTTLDefault = time.Minute
	sessionTTLMin     = 100 * time.Millisecond
	sessionTTLMax     = 24 * time.Hour
)

// Option changes how a Client works.
type Option func(*options)

type options struct {
	tls        *tls.Config
	packetConn func() (net.PacketConn, error)
	probeEvery time.Duration
	name       string
	cluster    [16]byte
	policy     Policy
	inFlight   int
	timeout    time.Duration
	sessionTTL time.Duration // 0: no session
	observer   Observer
	log        *slog.Logger
}

// WithTLS gives the client's certificate and the authorities it trusts. It is required: there is
// no unauthenticated mode. The client copies the configuration and sets the protocol name (ALPN).
func WithTLS(config *tls.Config) Option { return func(o *options) { o.tls = config } }

// WithPacketConn makes the client send and receive through the connection that open returns, for
// instance one that emulates a wide-area network. The client calls open once, and closes the
// connection. Default: a UDP socket on a free port, which alone lets QUIC use its fast path.
func WithPacketConn(open func() (net.PacketConn, error)) Option {
	return func(o *options) { o.packetConn = open }
}

// WithProbeInterval sets how often the round trip to each replica is measured. Default 500 ms,
// at least 10 ms.
func WithProbeInterval(every time.Duration) Option { return func(o *options) { o.probeEvery = every } }

// WithName sets the name that replicas show in their logs, at most 64 bytes.
func WithName(name string) Option { return func(o *options) { o.name = name } }

// WithCluster makes the client refuse replicas of any other cluster. Without it, the cluster of
// the first replica reached is the only one accepted.
func WithCluster(id [16]byte) Option { return func(o *options) { o.cluster = id } }

// WithPolicy sets when the client moves to another replica.
func WithPolicy(policy Policy) Option { return func(o *options) { o.policy = policy } }

// WithInFlight bounds the operations that are open at a time; more wait. Default 1024.
func WithInFlight(limit int) Option { return func(o *options) { o.inFlight = limit } }

// WithTimeout sets the deadline of operations whose context has none. Default 10 s.
func WithTimeout(timeout time.Duration) Option { return func(o *options) { o.timeout = timeout } }

// WithSessionTTL sets after how long a silence of the client its session expires, and with it the outcomes of requests
// that were under way. Default 1 min, between 100 ms and a day.
func WithSessionTTL(ttl time.Duration) Option { return func(o *options) { o.sessionTTL = ttl } }

// WithoutSession makes the client send what may change the state without a name. It takes effect at most once: the
// client never repeats what may have taken effect, and unknown outcomes stay unknown. The first write of a client then
// takes no round trip more than others.
func WithoutSession() Option { return func(o *options) { o.sessionTTL = 0 } }

// WithLogger makes the client tell of connections and moves. Default: silence.
func WithLogger(log *slog.Logger) Option { return func(o *options) { o.log = log } }

func newOptions(opts []Option) (options, error) {
	o := options{packetConn: openUDP, sessionTTL: sessionTTLDefault}
	for _, opt := range opts {
		opt(&o)
	}
	o.probeEvery = cmp.Or(o.probeEvery, probeEveryDefault)
	o.inFlight = cmp.Or(o.inFlight, inFlightDefault)
	o.timeout = cmp.Or(o.timeout, timeoutDefault)
	o.policy = o.policy.withDefaults()
	if o.log == nil {
		o.log = slog.New(slog.DiscardHandler)
	}
	return o, o.validate()
}

func (o *options) validate() error {
	switch {
	case o.tls == nil:
		return errors.New("no TLS configuration: pass WithTLS")
	case o.packetConn == nil:
		return errors.New("WithPacketConn(nil): pass a function, or leave the option out")
	case o.probeEvery < probeEveryMin:
		return fmt.Errorf("probe interval %v: need at least %v", o.probeEvery, probeEveryMin)
	case len(o.name) > wire.NameMax:
		return fmt.Errorf("name of %d bytes: at most %d are possible", len(o.name), wire.NameMax)
	case o.inFlight < 1 || o.inFlight > inFlightMax:
		return fmt.Errorf("%d operations in flight: between 1 and %d are possible", o.inFlight, inFlightMax)
	case o.sessionTTL != 0 && (o.sessionTTL < sessionTTLMin || o.sessionTTL > sessionTTLMax):
		return fmt.Errorf("session TTL %v: between %v and %v are possible", o.sessionTTL, sessionTTLMin, sessionTTLMax)
	case o.timeout < time.Millisecond:
		return fmt.Errorf("timeout %v: need at least 1ms", o.timeout)
	}
	return o.policy.validate()
}

func (p *Policy) validate() error {
	switch {
	case p.Ratio <= 0 || p.Ratio > 1:
		return fmt.Errorf("policy: ratio %v: need 0 < ratio <= 1", p.Ratio)
	case p.Margin < 0 || p.Rounds < 0:
		return fmt.Errorf("policy: margin %v, rounds %d: neither may be negative", p.Margin, p.Rounds)
	case p.SuspectAfter <= 0 || p.StallAfter <= 0 || p.HoldFor <= 0:
		return fmt.Errorf("policy: suspect after %v, stall after %v, hold for %v: all must be positive",
			p.SuspectAfter, p.StallAfter, p.HoldFor)
	}
	return nil
}

func openUDP() (net.PacketConn, error) { return net.ListenUDP("udp", nil) }
