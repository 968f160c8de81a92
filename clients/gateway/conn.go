package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/264bc8cf/epaxos/clients/internal/protocol"
	"github.com/264bc8cf/epaxos/internal/wire"
)

const (
	// readBytes is the buffer between the stream and the frames.
	readBytes = 32 << 10
	// linger is how long a closing connection waits for its client to read what was answered.
	linger = 500 * time.Millisecond
	// spareMax is the largest write buffer kept for reuse.
	spareMax = 256 << 10
	// frameOverhead bounds what an answer's frame holds besides result and detail.
	frameOverhead = 128
)

// conn is one client: the goroutine of Serve reads, another writes.
//
// Invariants, under mu: open holds the requests not answered yet, by id; held counts those the
// proposer still has, which are more when deadlines have passed.
type conn struct {
	gateway *Gateway
	quic    *quic.Conn
	stream  *quic.Stream
	name    string // of the client
	format  uint32 // the highest that both ends know
	wake    chan struct{}

	mu       sync.Mutex
	state    connState
	open     map[uint64]*request
	held     int
	earliest time.Time // no open request has a deadline before; zero if there is none
	outbox   []byte    // frames not yet taken by the writer
	writing  time.Time // when the write under way began; zero if there is none
	doomed   error     // why the next sweep is to close the connection
	last     *time.Timer
}

type connState uint8

const (
	connGreeting  connState = iota // the hello has not been answered
	connOpen                       //
	connFinishing                  // what is in the outbox is the last that is sent
	connClosed                     // nothing is sent or awaited any more
)

// request is one command in the hands of the proposer.
type request struct {
	conn     *conn
	id       uint64
	deadline time.Time
	answered bool // under conn.mu
}

func newConn(g *Gateway, qc *quic.Conn) *conn {
	return &conn{gateway: g, quic: qc, wake: make(chan struct{}, 1), open: make(map[uint64]*request)}
}

// closing is the reason to close a connection, as the client is told.
type closing struct {
	code quic.ApplicationErrorCode
	error
}

func (c closing) Unwrap() error { return c.error }

func malformed(err error) error { return closing{protocol.CloseMalformed, err} }

// serve reads requests until the connection ends.
func (c *conn) serve() error {
	frames, err := c.greet()
	if err != nil {
		c.close(err)
		return err
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write()
	}()
	err = c.read(frames)
	c.close(err)
	<-written
	c.stopTimer()
	if closed, ok := errors.AsType[*quic.ApplicationError](err); ok && closed.ErrorCode == protocol.CloseDone {
		return nil
	}
	return err
}

// greet waits for the client's stream and hello, checks it and answers it.
func (c *conn) greet() (*wire.FrameReader, error) {
	deadline := time.Now().Add(c.gateway.config.HelloTimeout)
	ctx, cancel := context.WithDeadline(c.quic.Context(), deadline)
	defer cancel()
	stream, err := c.quic.AcceptStream(ctx)
	if err != nil {
		return nil, fmt.Errorf("wait for the client's stream: %w", err)
	}
	if err := stream.SetReadDeadline(deadline); err != nil {
		return nil, fmt.Errorf("wait for the client's hello: %w", err)
	}
	frames := wire.NewFrameReader(bufio.NewReaderSize(stream, readBytes), wire.ClientFrameMax)
	body, err := frames.Next()
	if err != nil {
		return nil, fmt.Errorf("wait for the client's hello: %w", malformedFrame(err))
	}
	hello, err := wire.DecodeClientHello(body)
	if err != nil {
		return nil, malformed(fmt.Errorf("read the client's hello: %w", err))
	}
	if err := c.check(&hello); err != nil {
		return nil, err
	}
	if err := stream.SetReadDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("wait for requests: %w", err)
	}
	c.stream, c.name, c.format = stream, hello.Name, min(hello.FormatMax, wire.Format)
	c.begin()
	return frames, nil
}

// check says whether the client's hello can be accepted.
func (c *conn) check(hello *wire.ClientHello) error {
	ours := c.gateway.config.Cluster
	if hello.Cluster != ours && hello.Cluster != ([16]byte{}) {
		return closing{protocol.CloseWrongCluster, fmt.Errorf(
			"the client asks for cluster %x, this is %x: correct its configuration", hello.Cluster, ours)}
	}
	if hello.FormatMin > wire.Format || hello.FormatMax < wire.FormatMin {
		return closing{protocol.CloseNoFormat, fmt.Errorf(
			"the client speaks formats %d to %d, this replica %d to %d: upgrade the older",
			hello.FormatMin, hello.FormatMax, wire.FormatMin, wire.Format)}
	}
	return nil
}

// begin answers the hello.
func (c *conn) begin() {
	hello := c.gateway.hello(c.format)
	c.mu.Lock()
	if c.state == connGreeting {
		c.state = connOpen
	}
	c.pushHello(&hello)
	c.mu.Unlock()
	c.signal()
}

// greetAgain tells the client what has changed.
func (c *conn) greetAgain() {
	hello := c.gateway.hello(c.format)
	c.mu.Lock()
	if c.state == connOpen {
		c.pushHello(&hello)
	}
	c.mu.Unlock()
	c.signal()
}

// read takes requests until the stream ends, and returns why it did.
func (c *conn) read(frames *wire.FrameReader) error {
	for {
		body, err := frames.Next()
		if err != nil {
			return fmt.Errorf("read requests: %w", malformedFrame(err))
		}
		kind, err := wire.ClientMessageType(body)
		if err != nil {
			return malformed(fmt.Errorf("read requests: %w", err))
		}
		if kind != wire.TypeClientRequest {
			return malformed(fmt.Errorf("read requests: message of type %d from a client", kind))
		}
		r, err := wire.DecodeClientRequest(body)
		if err != nil {
			return malformed(fmt.Errorf("read requests: %w", err))
		}
		if err := c.handle(&r); err != nil {
			return err
		}
	}
}

func (c *conn) handle(r *wire.ClientRequest) error {
	switch r.Kind {
	case wire.RequestCommand, wire.RequestControl, wire.RequestSnapshot, wire.RequestSession, wire.RequestRead,
		wire.RequestWatch, wire.RequestRelease:
		return c.command(r)
	case wire.RequestStatus:
		c.reply(r.ID, c.status())
	case wire.RequestPing:
		c.reply(r.ID, Answer{Code: wire.CodeOK, Outcome: wire.OutcomeApplied})
	default:
		c.reply(r.ID, Answer{
			Code: wire.CodeInvalid, Outcome: wire.OutcomeNotApplied,
			Detail: fmt.Sprintf("this replica knows no request of kind %d: upgrade it", r.Kind),
		})
	}
	return nil
}

func (c *conn) status() Answer {
	if c.gateway.config.Status == nil {
		return Answer{Code: wire.CodeInvalid, Outcome: wire.OutcomeNotApplied, Detail: "this replica tells no status"}
	}
	return Answer{Code: wire.CodeOK, Outcome: wire.OutcomeApplied, Result: c.gateway.config.Status()}
}

// command admits a request and hands it to the proposer, or refuses it. The only error is a client
// that uses an id twice: from then on no answer would be sure to reach the right request.
func (c *conn) command(r *wire.ClientRequest) error {
	g := c.gateway
	now := time.Now()
	timeout := g.config.RequestTimeout
	if r.Timeout != 0 && r.Timeout < uint64(timeout.Microseconds()) {
		timeout = time.Duration(r.Timeout) * time.Microsecond
	}
	opened := &request{conn: c, id: r.ID, deadline: now.Add(timeout)}

	c.mu.Lock()
	if _, twice := c.open[r.ID]; twice {
		c.mu.Unlock()
		return malformed(fmt.Errorf("read requests: id %d is open already", r.ID))
	}
	if refused, ok := c.refuse(); ok {
		c.push(r.ID, &refused)
		c.mu.Unlock()
		c.signal()
		return nil
	}
	c.open[r.ID] = opened
	c.held++
	if c.earliest.IsZero() || opened.deadline.Before(c.earliest) {
		c.earliest = opened.deadline
	}
	c.mu.Unlock()

	g.config.Proposer.Propose(Request{
		Kind: r.Kind, Session: r.Session, Number: r.Number, Payload: r.Payload,
		Consistency: r.Consistency, Token: r.Token, Deadline: opened.deadline,
	}, opened.done)
	return nil
}

// refuse says whether one more request must be refused, and takes a place in the gateway's total
// if not. The caller holds mu.
func (c *conn) refuse() (Answer, bool) {
	g := c.gateway
	refused := Answer{Code: wire.CodeOverloaded, Outcome: wire.OutcomeNotApplied, Retry: true}
	switch {
	case c.state != connOpen || g.draining.Load():
		refused.Code = wire.CodeUnavailable
		refused.Detail = "the replica is draining: use another"
	case c.held >= g.config.OpenPerConnMax:
		refused.Detail = fmt.Sprintf("%d requests of this connection are open", c.held)
	case len(c.outbox) > g.config.OutboxMax/4:
		refused.Detail = fmt.Sprintf("%d bytes of answers wait for the client to read", len(c.outbox))
	case g.open.Add(1) > int64(g.config.OpenMax):
		g.open.Add(-1)
		refused.Detail = fmt.Sprintf("%d requests are open at this replica", g.config.OpenMax)
	default:
		g.rouse()
		return Answer{}, false
	}
	return refused, true
}

// done takes the proposer's answer. Only the first has an effect; after the deadline it goes
// nowhere, but gives the place back.
func (r *request) done(answer Answer) {
	c := r.conn
	c.mu.Lock()
	if r.answered {
		c.mu.Unlock()
		return
	}
	r.answered = true
	c.held--
	waited := c.open[r.id] == r
	if waited {
		delete(c.open, r.id)
		c.push(r.id, &answer)
	}
	c.mu.Unlock()
	c.gateway.open.Add(-1)
	if waited {
		c.signal()
	}
}

func (c *conn) reply(id uint64, answer Answer) {
	c.mu.Lock()
	c.push(id, &answer)
	c.mu.Unlock()
	c.signal()
}

// sweep is called at every tick.
func (c *conn) sweep(now time.Time) {
	c.mu.Lock()
	timedOut := false
	if !c.earliest.IsZero() && !now.Before(c.earliest.Add(grace)) {
		timedOut = c.timeOut(now)
	}
	if !c.writing.IsZero() && now.Sub(c.writing) > c.gateway.config.WriteTimeout && c.doomed == nil {
		c.doomed = closing{protocol.CloseTooSlow, fmt.Errorf("the client has read nothing for %v", now.Sub(c.writing))}
	}
	doomed := c.doomed
	if c.state == connClosed {
		doomed = nil
	}
	c.mu.Unlock()
	if timedOut {
		c.signal()
	}
	if doomed != nil {
		c.close(doomed)
	}
}

// timeOut answers the requests whose deadline has passed and finds the next one. The caller holds mu.
func (c *conn) timeOut(now time.Time) bool {
	answer := Answer{
		Code: wire.CodeTimeout, Outcome: wire.OutcomeUnknown,
		Detail: "the request was under way when its deadline passed",
	}
	some := false
	c.earliest = time.Time{}
	for id, r := range c.open {
		switch {
		case !now.Before(r.deadline.Add(grace)):
			delete(c.open, id)
			c.push(id, &answer)
			some = true
		case c.earliest.IsZero() || r.deadline.Before(c.earliest):
			c.earliest = r.deadline
		}
	}
	return some
}
