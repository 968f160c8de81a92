package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/264bc8cf/epaxos/clients/internal/protocol"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Request is one command, or read, as a client sent it.
type Request struct {
	Kind    wire.RequestKind  // any but RequestStatus and RequestPing
	Session epaxos.InstanceID // zero: the client asked for no deduplication
	Number  uint64
	Payload []byte // owned by the proposer

	Consistency wire.Consistency // with RequestRead
	Token       []byte           // with RequestRead and RequestWatch; not checked yet
	// Deadline is when the client stops waiting. A proposer that has not proposed the request by
	// then should drop it and answer CodeTimeout with OutcomeNotApplied: only it can know that.
	Deadline time.Time
}

// Answer says how a request ended.
type Answer struct {
	Code    wire.Code    // 0 is taken as CodeInternal
	Outcome wire.Outcome // 0 is taken as OutcomeUnknown
	Retry   bool         // the same request may be sent again, here or elsewhere, without harm
	Fast    bool         // committed on the fast path
	Result  []byte       // of the state machine; only read before done returns
	Detail  string       // for people; empty with CodeOK
	Token   []byte       // names all that the answer may show; only read before done returns
	Age     uint64       // of a stale read, see wire.ClientResponse
}

// Proposer carries requests out. The replica is one.
type Proposer interface {
	// Propose takes over a request. It must not block: with its queue full it answers
	// CodeOverloaded. done must be called exactly once, from any goroutine, also from within
	// Propose; done does not block. Until then the request counts against the limits of the
	// gateway, even if its client has gone.
	Propose(request Request, done func(Answer))
}

// Config is what a Gateway needs. Zero limits take their defaults.
type Config struct {
	Proposer Proposer
	Cluster  [16]byte
	Replica  epaxos.ReplicaID
	Members  []wire.MemberInfo
	Epoch    epaxos.Epoch // of Members; 0 is unknown, and then clients never forget a replica
	// Status returns the replica's view of itself as JSON. It is called by the goroutine that
	// reads a client's requests, so it must be quick. Nil: status requests are refused.
	Status func() []byte
	Log    *slog.Logger

	ConnsMax       int // client connections; default 4096
	OpenMax        int // requests in the hands of the proposer, in all; default 65536
	OpenPerConnMax int // and of one connection; default 8192
	// OutboxMax bounds the bytes of answers that a client has not read yet. Above a quarter of it
	// its commands are refused, above it the client is cut off. Default 16 MiB.
	OutboxMax      int
	HelloTimeout   time.Duration // from connection to hello; default 5 s
	WriteTimeout   time.Duration // a client that reads nothing for so long is cut off; default 30 s
	RequestTimeout time.Duration // for requests without a deadline, and the longest; default 60 s
}

func (c Config) withDefaults() Config {
	def(&c.ConnsMax, 4096)
	def(&c.OpenMax, 1<<16)
	def(&c.OpenPerConnMax, 1<<13)
	def(&c.OutboxMax, 16<<20)
	def(&c.HelloTimeout, 5*time.Second)
	def(&c.WriteTimeout, 30*time.Second)
	def(&c.RequestTimeout, time.Minute)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func def[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Gateway serves the clients of one replica. Its methods are safe for concurrent use.
type Gateway struct {
	config Config
	stop   chan struct{}
	wg     sync.WaitGroup

	draining atomic.Bool
	open     atomic.Int64 // requests in the hands of the proposer
	resting  atomic.Bool  // the keeper of time waits for busy
	busy     chan struct{}

	mu      sync.Mutex
	closed  bool
	members []wire.MemberInfo
	epoch   epaxos.Epoch // of members
	conns   map[*conn]struct{}
}

// New makes a gateway and starts its one timer goroutine. Close ends it.
func New(config Config) *Gateway {
	g := &Gateway{
		config: config.withDefaults(), members: slices.Clone(config.Members), epoch: config.Epoch,
		stop: make(chan struct{}), busy: make(chan struct{}, 1), conns: make(map[*conn]struct{}),
	}
	g.wg.Add(1)
	go g.keepTime()
	return g
}

// Serve speaks with one client until the connection ends, and returns why it did; nil if it ended
// in good order. The connection must be authenticated. Serve closes it.
func (g *Gateway) Serve(qc *quic.Conn) error {
	c := newConn(g, qc)
	if code, err := g.admit(c); err != nil {
		protocol.Close(qc, code, err.Error())
		return err
	}
	defer g.wg.Done()
	err := c.serve()
	g.mu.Lock()
	delete(g.conns, c)
	g.mu.Unlock()
	if err != nil {
		g.config.Log.Info("client connection ended", "client", c.name, "address", qc.RemoteAddr(), "reason", err)
	}
	return err
}

func (g *Gateway) admit(c *conn) (quic.ApplicationErrorCode, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return errStopping.code, errStopping
	}
	if len(g.conns) >= g.config.ConnsMax {
		return protocol.CloseCrowded, fmt.Errorf("the replica has %d client connections already: use another", len(g.conns))
	}
	g.conns[c] = struct{}{}
	g.wg.Add(1)
	return 0, nil
}

// SetMembers tells all clients, those connected and those to come, of the membership of an epoch: they
// connect to new members and leave former ones, which may be this replica. It changes nothing if the
// epoch is one before that of the present members, or they are the same.
func (g *Gateway) SetMembers(epoch epaxos.Epoch, members []wire.MemberInfo) {
	g.mu.Lock()
	changed := epoch > g.epoch || epoch == g.epoch && !slices.Equal(members, g.members)
	if changed {
		g.epoch, g.members = epoch, slices.Clone(members)
	}
	g.mu.Unlock()
	if changed {
		g.greetAll()
	}
}

// SetDraining tells all clients to use another replica, or that this one is back. While draining,
// commands are refused as "unavailable, not applied, retry".
func (g *Gateway) SetDraining(draining bool) {
	if g.draining.Swap(draining) != draining {
		g.greetAll()
	}
}

// Open is the number of requests in the hands of the proposer.
func (g *Gateway) Open() int { return int(g.open.Load()) }

// Drain refuses new commands, sends the clients away and waits until the proposer has answered
// what it has, and until what was on its way when the clients were told has come and been refused:
// a command that is never read cannot be told from one that took effect. It returns ctx's error if that
// takes longer.
func (g *Gateway) Drain(ctx context.Context) error {
	g.SetDraining(true)
	heard := time.Now().Add(g.roundTrip())
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for g.open.Load() > 0 || time.Now().Before(heard) {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("drain clients: %d requests are open, others may be on their way: %w",
				g.open.Load(), ctx.Err())
		}
	}
	return nil
}

// roundTripMax bounds what Drain waits for a client that is very far, or silent.
const roundTripMax = 2 * time.Second

// roundTrip is the time in which every client has heard what it is told now, and what it had sent
// before has come; not counting what must be sent twice.
func (g *Gateway) roundTrip() time.Duration {
	g.mu.Lock()
	conns := g.snapshot()
	g.mu.Unlock()
	longest := time.Duration(0)
	for _, c := range conns {
		stats := c.quic.ConnectionStats()
		longest = max(longest, stats.SmoothedRTT+4*stats.MeanDeviation+tick)
	}
	return min(longest, roundTripMax)
}

// Depart is Drain for a replica that is no member any more: it also waits until every client has hung
// up. They do, once they have heard by SetMembers that it has left and have their last answer, so
// no request is lost on its way.
func (g *Gateway) Depart(ctx context.Context) error {
	if err := g.Drain(ctx); err != nil {
		return err
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		g.mu.Lock()
		left := len(g.conns)
		g.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for clients to leave: %d are connected: %w", left, ctx.Err())
		}
	}
}

// Close ends all connections, after what has been answered is sent, and waits for the gateway's
// goroutines. Answers of the proposer that come later go nowhere.
func (g *Gateway) Close() {
	g.mu.Lock()
	if !g.closed {
		g.closed = true
		close(g.stop)
	}
	conns := g.snapshot()
	g.mu.Unlock()
	for _, c := range conns {
		c.finish()
	}
	g.wg.Wait()
}

// snapshot returns the connections. The caller holds mu.
func (g *Gateway) snapshot() []*conn {
	conns := make([]*conn, 0, len(g.conns))
	for c := range g.conns {
		conns = append(conns, c)
	}
	return conns
}

func (g *Gateway) hello(format uint32) wire.ServerHello {
	g.mu.Lock()
	defer g.mu.Unlock()
	return wire.ServerHello{
		Cluster: g.config.Cluster, Format: format, Replica: g.config.Replica,
		Draining: g.draining.Load(), Members: g.members, Epoch: g.epoch,
	}
}

func (g *Gateway) greetAll() {
	g.mu.Lock()
	conns := g.snapshot()
	g.mu.Unlock()
	for _, c := range conns {
		c.greetAgain()
	}
}

const (
	// tick is the grain of deadlines.
	tick = 10 * time.Millisecond
	// restTick is how often clients that read nothing are looked for while no request is open.
	restTick = 500 * time.Millisecond
	// grace is how much later than the deadline the gateway itself answers "timeout, outcome
	// unknown": the proposer may know better, and then says so at the deadline.
	grace = 20 * time.Millisecond
)

// keepTime answers requests whose deadline has passed, and cuts off clients that do not read. While no
// request is open it looks around seldom: a hundred times a second would be most of what a replica at
// rest costs.
func (g *Gateway) keepTime() {
	defer g.wg.Done()
	timer := time.NewTimer(tick)
	defer timer.Stop()
	for {
		now := time.Now()
		select {
		case <-g.stop:
			return
		case <-g.busy:
			timer.Reset(tick)
			continue // before the time: nothing can be overdue
		case now = <-timer.C:
		}
		g.mu.Lock()
		conns := g.snapshot()
		g.mu.Unlock()
		for _, c := range conns {
			c.sweep(now)
		}
		g.resting.Store(true) // first, so that a request that comes now is seen here or rouses
		if g.open.Load() > 0 {
			g.resting.Store(false)
			timer.Reset(tick)
		} else {
			timer.Reset(restTick)
		}
	}
}

// rouse ends the rest of the keeper of time, because a request is open.
func (g *Gateway) rouse() {
	if g.resting.Load() && g.resting.Swap(false) {
		select {
		case g.busy <- struct{}{}:
		default:
		}
	}
}
