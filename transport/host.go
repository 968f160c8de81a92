package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/264bc8cf/epaxos/epaxos"
)

const (
	handshakeIdle  = 5 * time.Second
	idleTimeout    = 5 * time.Second
	keepAlive      = time.Second
	clientQueueMax = 64
	streamsMax     = 8
	streamWindow   = 8 << 20
	connWindow     = 12 << 20
	helloTimeout   = 5 * time.Second
)

// Host is a replica's end of the network: lanes to every other member of the present membership, and
// the port that members and clients dial. All methods are safe for concurrent use.
type Host struct {
	config    Config
	quic      *quic.Transport
	listener  *quic.Listener
	admission *admission
	start     time.Time // origin of the clock of heartbeats and of lastHeard

	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	closed sync.Once
	ended  error

	roster  atomic.Pointer[roster]
	changes sync.Mutex // serialises SetMembers and Close

	clients     chan *quic.Conn
	clientsOpen atomic.Int64

	refusedLogged atomic.Int64 // when a refused caller was last logged, on the host's clock
	refusedCount  atomic.Uint64
}

var errClosed = errors.New("transport: closed")

// NewHost opens the port and starts to dial every other member. It does not wait for any of them.
func NewHost(config Config) (*Host, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, errors.Join(err, closeSocket(config.Conn))
	}
	h := &Host{
		config:    config,
		admission: newAdmission(),
		start:     time.Now(),
		clients:   make(chan *quic.Conn, clientQueueMax),
	}
	h.roster.Store(&roster{})
	h.ctx, h.cancel = context.WithCancelCause(context.Background())
	resetKey := quic.StatelessResetKey(config.ResetKey)
	h.quic = &quic.Transport{
		Conn:                config.Conn,
		StatelessResetKey:   &resetKey,
		ConnContext:         h.admission.admit,
		VerifySourceAddress: h.admission.mustVerifySource,
	}
	h.listener, err = h.quic.Listen(config.Credential.ServerConfig(h.callerRefused), acceptConfig())
	if err != nil {
		h.cancel(errClosed)
		return nil, errors.Join(fmt.Errorf("transport: listen on %s: %w", config.Conn.LocalAddr(), err),
			h.quic.Close(), config.Conn.Close())
	}
	if err := h.SetMembers(config.Members); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	h.wg.Go(h.accept)
	return h, nil
}

func closeSocket(conn net.PacketConn) error {
	if conn == nil {
		return nil
	}
	return conn.Close()
}

// acceptConfig is for connections that were dialed by others, members and clients alike.
func acceptConfig() *quic.Config {
	config := dialConfig()
	config.MaxIncomingStreams = streamsMax
	return config
}

// dialConfig is for connections to members: they open no stream towards the dialer.
func dialConfig() *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout:       handshakeIdle,
		MaxIdleTimeout:             idleTimeout,
		KeepAlivePeriod:            keepAlive,
		MaxIncomingStreams:         -1,
		MaxIncomingUniStreams:      -1,
		MaxStreamReceiveWindow:     streamWindow,
		MaxConnectionReceiveWindow: connWindow,
	}
}

// Send queues a copy of body for a member and never blocks. Bodies of one stripe keep their order
// as long as a connection lasts; stripe may be any number. False means that the body was dropped:
// the peer's queue is full, the body longer than FrameBytesMax, or the peer no other member.
func (h *Host) Send(to epaxos.ReplicaID, stripe int, body []byte) bool {
	p, found := h.roster.Load().peers[to]
	return found && p.send(stripe, body)
}

// SendBulk queues a copy of body for a member on a connection of its own, and never blocks. It is for
// what is large and can be asked for again, such as a state in transfer: it gives way to what Send
// sends, the connection is there only while it is used, and whatever waits when it fails is dropped.
// Bodies keep their order. False means that the body was dropped: more than Config.BulkQueueBytes
// wait, the body is longer than FrameBytesMax, or the peer is no other member.
func (h *Host) SendBulk(to epaxos.ReplicaID, body []byte) bool {
	p, found := h.roster.Load().peers[to]
	return found && p.sendBulk(body)
}

// AcceptClient returns the next client connection, its certificate checked; the caller owns it.
// It fails when ctx ends or the host is closed.
func (h *Host) AcceptClient(ctx context.Context) (*quic.Conn, error) {
	select {
	case conn := <-h.clients:
		return conn, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-h.ctx.Done():
		return nil, errClosed
	}
}

// Addr is the local address of the socket.
func (h *Host) Addr() net.Addr { return h.config.Conn.LocalAddr() }

// Close closes every connection, peers' and clients', telling the other ends so, and the socket.
// What is queued is lost. It waits for callbacks that are running; no goroutine of the host is left
// when it returns.
func (h *Host) Close() error {
	h.closed.Do(func() {
		h.changes.Lock()
		h.cancel(errClosed)
		h.changes.Unlock()
		h.wg.Wait()
		h.ended = errors.Join(h.listener.Close(), h.quic.Close(), h.config.Conn.Close())
	})
	return h.ended
}

// clock is the time since the host started.
func (h *Host) clock() time.Duration { return time.Since(h.start) }

// refusedLogEvery bounds what strangers can make a replica write to its log.
const refusedLogEvery = time.Second

// callerRefused hears of every caller that failed the TLS rules, or is no member.
func (h *Host) callerRefused(remote net.Addr, err error) {
	count := h.refusedCount.Add(1)
	now, last := int64(h.clock()), h.refusedLogged.Load()
	if last != 0 && now-last < int64(refusedLogEvery) || !h.refusedLogged.CompareAndSwap(last, now) {
		return
	}
	h.config.Logger.Warn("refused a connection", slog.Any("remote", remote),
		slog.Any("reason", err), slog.Uint64("refused_so_far", count))
}

// Refused counts callers turned away since the start: unknown to the authority or the membership,
// or one too many at a time.
func (h *Host) Refused() uint64 {
	h.admission.mu.Lock()
	defer h.admission.mu.Unlock()
	return h.refusedCount.Load() + h.admission.refused
}
