package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/264bc8cf/epaxos/clients/internal/protocol"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// push encodes an answer into the outbox. The caller holds mu, and signals.
func (c *conn) push(id uint64, answer *Answer) {
	if c.state == connClosed || c.doomed != nil {
		return
	}
	response := wire.ClientResponse{
		ID: id, Code: cmp.Or(answer.Code, wire.CodeInternal), Retry: answer.Retry,
		Outcome: cmp.Or(answer.Outcome, wire.OutcomeUnknown),
		Replica: c.gateway.config.Replica, Fast: answer.Fast, Result: answer.Result, Detail: answer.Detail,
		Token: answer.Token, Age: answer.Age,
	}
	if len(response.Detail) > wire.DetailMax {
		response.Detail = strings.ToValidUTF8(response.Detail[:wire.DetailMax], "")
	}
	if len(response.Result) > wire.ClientFrameMax-wire.DetailMax-frameOverhead {
		// The effect stands; only the answer cannot be told.
		response.Code, response.Retry, response.Result = wire.CodeInvalid, false, nil
		response.Detail = fmt.Sprintf("the result of %d bytes does not fit in an answer: ask for less at a time",
			len(answer.Result))
	}
	c.outbox = protocol.AppendFrame(c.outbox, func(buf []byte) []byte {
		return wire.AppendClientResponse(buf, &response)
	})
	c.limit()
}

func (c *conn) pushHello(hello *wire.ServerHello) {
	c.outbox = protocol.AppendFrame(c.outbox, func(buf []byte) []byte {
		return wire.AppendServerHello(buf, hello)
	})
	c.limit()
}

// limit dooms a connection whose client does not read. Closing may block, and the caller may be
// the replica's own goroutine, so the next sweep does it.
func (c *conn) limit() {
	if len(c.outbox) > c.gateway.config.OutboxMax {
		c.doomed = closing{protocol.CloseTooSlow,
			fmt.Errorf("%d bytes of answers wait for the client to read", len(c.outbox))}
		c.outbox = nil
	}
}

// signal wakes the writer. The channel holds one token, so a wake-up is never lost.
func (c *conn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// write sends what is in the outbox until the connection ends. Whatever has gathered during one
// write is the next one, so batches grow with the load and nothing waits when there is none.
func (c *conn) write() {
	var spare []byte
	for {
		select {
		case <-c.wake:
		case <-c.quic.Context().Done():
			return
		}
		for {
			batch, state := c.take(spare)
			if len(batch) == 0 {
				if state == connFinishing {
					c.farewell()
					return
				}
				spare = batch
				break
			}
			_, err := c.stream.Write(batch)
			c.wrote()
			if err != nil {
				return // the reader hears of the same end
			}
			if spare = batch[:0]; cap(spare) > spareMax {
				spare = nil
			}
		}
	}
}

// take swaps the outbox for an empty one.
func (c *conn) take(spare []byte) ([]byte, connState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.outbox) == 0 {
		return spare[:0], c.state
	}
	batch := c.outbox
	c.outbox = spare[:0]
	c.writing = time.Now()
	return batch, c.state
}

func (c *conn) wrote() {
	c.mu.Lock()
	c.writing = time.Time{}
	c.mu.Unlock()
}

var errStopping = closing{protocol.CloseStopping, errors.New("the replica is stopping: use another")}

// finish lets the writer send what has been answered and then end the connection; a client that
// does not read or hang up in time is cut off.
func (c *conn) finish() {
	c.mu.Lock()
	greeting := c.state == connGreeting
	if c.state == connOpen {
		c.state = connFinishing
		c.last = time.AfterFunc(linger, func() { c.close(errStopping) })
	}
	c.mu.Unlock()
	if greeting {
		c.close(errStopping)
		return
	}
	c.signal()
}

func (c *conn) stopTimer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last != nil {
		c.last.Stop()
	}
}

// farewell ends the stream and waits for the client to hang up: closing the connection at once
// would throw away answers on their way.
func (c *conn) farewell() {
	if err := c.stream.Close(); err != nil {
		c.close(errStopping)
	}
	<-c.quic.Context().Done()
}

// close ends the connection at once. The first reason given is the one the client is told.
func (c *conn) close(reason error) {
	c.mu.Lock()
	c.state = connClosed
	c.outbox = nil
	clear(c.open)
	c.mu.Unlock()
	code, detail := protocol.CloseDone, ""
	if why, ok := errors.AsType[closing](reason); ok {
		code, detail = why.code, reason.Error()
	}
	protocol.Close(c.quic, code, detail)
}

// malformedFrame tells a frame that must not be from a stream that has ended.
func malformedFrame(err error) error {
	if errors.Is(err, wire.ErrMalformed) {
		return malformed(err)
	}
	return err
}
