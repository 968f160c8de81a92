package clients

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/264bc8cf/epaxos/clients/internal/protocol"
	"github.com/264bc8cf/epaxos/internal/wire"
)

const (
	// flushBytes is how much is encoded per write: above it, waiting requests do better to stay
	// takeable (they are certainly unsent), and a larger write gains nothing.
	flushBytes = 12 << 10
	// readBytes is the buffer between the stream and the frames.
	readBytes = 32 << 10
	// probePadding makes a probe long enough to provoke a stateless reset from a restarted replica,
	// which shorter packets do not, so that a restart is noticed at the next probe.
	probePadding = 64
	// frameOverhead bounds what a request's frame holds besides its payload.
	frameOverhead = 128
)

// PayloadMax is the largest payload of a request, in bytes. The keys that it touches count against
// the same bound at the replica, which may therefore refuse a little less.
const PayloadMax = wire.CommandMax

// session is one stream to one replica: a queue, a goroutine that writes and one that reads.
//
// Invariants, under mu: queue holds operations that this session has not sent, in order; open
// holds those sent and not answered, by id; a dead session holds none.
type session struct {
	client  *Client
	conn    *quic.Conn
	stream  *quic.Stream
	frames  *wire.FrameReader
	hello   wire.ServerHello // the first one
	helloIn time.Duration    // round trip of the hello

	wake chan struct{} // the writer has something to do
	done chan struct{} // closed when the session is dead

	mu       sync.Mutex
	dead     bool
	queue    []*Future
	open     map[uint64]*Future
	polls    int // of those in open: watches, which may well stay open
	lastID   uint64
	probe    probe
	earliest time.Time // no operation here has a deadline before; the zero time if there is none
	answered uint64    // operations so far that the replica carried out, or refused for a reason of theirs
	failed   uint64    // operations so far that it let time out, or could not serve
}

// probe is the ping under way, if any.
type probe struct {
	state probeState
	id    uint64
	since time.Time
}

type probeState uint8

const (
	probeIdle probeState = iota
	probeDue             // to be written
	probeSent
)

// enqueue hands over queued operations, which go out together; false if the session is dead.
func (s *session) enqueue(futures ...*Future) bool {
	s.mu.Lock()
	if s.dead {
		s.mu.Unlock()
		return false
	}
	s.queue = append(s.queue, futures...)
	for _, f := range futures {
		if s.earliest.IsZero() || f.deadline.Before(s.earliest) {
			s.earliest = f.deadline
		}
	}
	s.mu.Unlock()
	s.signal()
	return true
}

// signal wakes the writer. The channel holds one token, so a wake-up is never lost.
func (s *session) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// startProbe asks the writer for a ping unless one is under way.
func (s *session) startProbe() {
	s.mu.Lock()
	start := s.probe.state == probeIdle && !s.dead
	if start {
		s.probe.state = probeDue
		s.probe.since = time.Now()
	}
	s.mu.Unlock()
	if start {
		s.signal()
	}
}

// write drains the queue into the stream until the session ends. All that waits goes out in as few
// writes as possible, so batches grow with the load and nothing waits when there is none.
func (s *session) write() {
	defer s.client.wg.Done()
	var buf []byte
	var batch []sending
	for {
		select {
		case <-s.wake:
		case <-s.done:
			return
		}
		for {
			var more bool
			if batch, more = s.take(batch[:0]); len(batch) == 0 {
				break
			}
			buf = encode(buf[:0], batch)
			clear(batch)
			_, err := s.stream.Write(buf)
			if err != nil {
				s.abort(fmt.Errorf("send requests: %w", err))
				return
			}
			if !more {
				break
			}
		}
	}
}

// sending is a request that the writer has taken.
type sending struct {
	id     uint64
	future *Future // nil for a probe
}

// take moves waiting operations, up to flushBytes of them, from the queue to the open ones. From
// here on their effect is out of our hands, so this is where they become sent.
func (s *session) take(batch []sending) ([]sending, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return batch, false
	}
	if s.probe.state == probeDue {
		s.lastID++
		s.probe = probe{state: probeSent, id: s.lastID, since: time.Now()}
		batch = append(batch, sending{id: s.lastID})
	}
	bytes, taken := 0, 0
	for _, f := range s.queue {
		if bytes >= flushBytes {
			break
		}
		taken++
		f.replica.Store(uint32(s.hello.Replica))
		if !f.state.CompareAndSwap(stateQueued, stateSent) {
			continue
		}
		f.copies.Add(1)
		s.lastID++
		s.open[s.lastID] = f
		if f.polls() {
			s.polls++
		}
		batch = append(batch, sending{id: s.lastID, future: f})
		bytes += len(f.request.Payload) + frameOverhead
	}
	rest := copy(s.queue, s.queue[taken:])
	clear(s.queue[rest:])
	s.queue = s.queue[:rest]
	return batch, rest > 0
}

var padding [probePadding]byte

// encode appends the frames of a batch. The time left is what the replica is told: its clock need
// not agree with ours.
func encode(buf []byte, batch []sending) []byte {
	now := time.Now()
	for _, b := range batch {
		request := wire.ClientRequest{ID: b.id, Kind: wire.RequestPing, Payload: padding[:]}
		if b.future != nil {
			left := max(b.future.deadline.Sub(now), time.Microsecond)
			request.Kind = b.future.kind
			request.Timeout = uint64(left.Microseconds())
			request.Payload = b.future.request.Payload
			b.future.address(&request)
		}
		buf = protocol.AppendFrame(buf, func(b []byte) []byte { return wire.AppendClientRequest(b, &request) })
	}
	return buf
}

// address adds to a request what names it, or what it may show.
func (f *Future) address(request *wire.ClientRequest) {
	if id := f.id.Load(); id != nil {
		request.Session, request.Number = id.Session, id.Number
	}
	if f.kind != wire.RequestRead && f.kind != wire.RequestWatch {
		return
	}
	if !f.request.Cut.IsZero() {
		request.Consistency, request.Token = wire.CutConsistency, wire.AppendInstanceID(nil, f.request.Cut)
		return
	}
	request.Consistency = wire.Consistency(cmp.Or(f.request.Consistency, Linearizable))
	if f.request.Consistency == Session {
		token := f.client.Token()
		token.merge(f.request.Token.token)
		request.Token = wire.AppendToken(nil, &token.token)
	}
}

// read takes answers until the stream ends, and returns why it did.
func (s *session) read() error {
	for {
		body, err := s.frames.Next()
		if err != nil {
			return fmt.Errorf("read answers: %w", err)
		}
		kind, err := wire.ClientMessageType(body)
		if err != nil {
			return fmt.Errorf("read answers: %w", err)
		}
		if err := s.handle(kind, body); err != nil {
			return fmt.Errorf("read answers: %w", err)
		}
	}
}

// handle takes one message. Anything but an answer or a hello ends the session: after bytes that
// make no sense nothing that follows can be trusted.
func (s *session) handle(kind wire.MessageType, body []byte) error {
	switch kind {
	case wire.TypeClientResponse:
		response, err := wire.DecodeClientResponse(body)
		if err != nil {
			return err
		}
		s.settle(&response)
		return nil
	case wire.TypeServerHello:
		hello, err := wire.DecodeServerHello(body)
		if err != nil {
			return err
		}
		if hello.Cluster != s.hello.Cluster || hello.Replica != s.hello.Replica {
			return fmt.Errorf("%w: replica %d became replica %d", wire.ErrMalformed, s.hello.Replica, hello.Replica)
		}
		s.client.greeted(s, &hello)
		return nil
	default:
		return fmt.Errorf("%w: message of type %d from a replica", wire.ErrMalformed, kind)
	}
}

// settle finds the operation that a response answers. An id that is not open is no fault: the
// operation was given up here before the answer came.
func (s *session) settle(response *wire.ClientResponse) {
	s.mu.Lock()
	if s.probe.state == probeSent && s.probe.id == response.ID {
		rtt := time.Since(s.probe.since)
		s.probe = probe{}
		s.mu.Unlock()
		s.client.measured(s, rtt)
		return
	}
	f := s.open[response.ID]
	if f != nil {
		s.drop(response.ID, f)
	}
	switch response.Code {
	case wire.CodeTimeout, wire.CodeUnavailable, wire.CodeInternal:
		if f == nil || !f.polls() {
			s.failed++
		}
	default:
		s.answered++
	}
	s.mu.Unlock()
	if f != nil {
		s.client.answered(f, response)
	}
}

// drop forgets a sent operation. The caller holds mu.
func (s *session) drop(id uint64, f *Future) {
	delete(s.open, id)
	if f.polls() {
		s.polls--
	}
}

// load is what the keeper wants to know of a session.
type load struct {
	open     int           // sent and not answered, but for watches
	answered uint64        // so far
	failed   uint64        // so far
	probing  time.Duration // how long the open probe has taken; 0 if none is open
}

// sweep ends the operations whose time is up. With full it looks at every one, since contexts may
// have been cancelled; without, only if a deadline has passed.
func (s *session) sweep(now time.Time, full bool) load {
	var ended []ending
	s.mu.Lock()
	if full || !s.earliest.IsZero() && !now.Before(s.earliest) {
		ended = s.collectEnded(now)
	}
	l := load{open: len(s.open) - s.polls, answered: s.answered, failed: s.failed}
	if s.probe.state != probeIdle {
		l.probing = now.Sub(s.probe.since)
	}
	s.mu.Unlock()
	for _, e := range ended {
		e.future.expire(e.cause)
	}
	return l
}

type ending struct {
	future *Future
	cause  error
}

// collectEnded forgets finished and overdue operations, returns the latter, and recomputes
// earliest from those that stay. The caller holds mu.
func (s *session) collectEnded(now time.Time) []ending {
	var ended []ending
	s.earliest = time.Time{}
	stays := func(f *Future) bool {
		if f.finished() {
			return false
		}
		if cause := f.overdue(now); cause != nil {
			ended = append(ended, ending{f, cause})
			return false
		}
		if s.earliest.IsZero() || f.deadline.Before(s.earliest) {
			s.earliest = f.deadline
		}
		return true
	}
	kept := s.queue[:0]
	for _, f := range s.queue {
		if stays(f) {
			kept = append(kept, f)
		}
	}
	clear(s.queue[len(kept):])
	s.queue = kept
	for id, f := range s.open {
		if !stays(f) {
			s.drop(id, f)
			if !f.polls() {
				s.failed++
			}
		}
	}
	return ended
}

// evacuate gives back what can be served elsewhere without harm: the operations never sent, and
// those that only read.
func (s *session) evacuate() []*Future {
	s.mu.Lock()
	defer s.mu.Unlock()
	free := append([]*Future(nil), s.queue...)
	clear(s.queue)
	s.queue = s.queue[:0]
	for id, f := range s.open {
		if f.takeBack() {
			s.drop(id, f)
			free = append(free, f)
		}
	}
	return free
}

// abort ends the session. The first reason given is the one told.
func (s *session) abort(reason error) {
	s.mu.Lock()
	s.end(reason)
}

// endIfIdle ends the session unless something is queued or open.
func (s *session) endIfIdle(reason error) {
	s.mu.Lock()
	if len(s.queue)+len(s.open) > 0 {
		s.mu.Unlock()
		return
	}
	s.end(reason)
}

// end is called with mu held, and releases it.
func (s *session) end(reason error) {
	if s.dead {
		s.mu.Unlock()
		return
	}
	s.dead = true
	queue, open := s.queue, s.open
	s.queue, s.open = nil, nil
	s.mu.Unlock()
	close(s.done)
	protocol.Close(s.conn, closeCode(reason), reason.Error())

	for _, f := range queue {
		s.client.rescue(f, s.hello.Replica)
	}
	for _, f := range open {
		if f.takeBack() {
			s.client.rescue(f, s.hello.Replica)
			continue
		}
		f.fail(CodeUnavailable, "the connection was lost before the answer came: "+reason.Error(), reason)
	}
}

// closeCode is what a replica is told about the end of its connection.
func closeCode(reason error) quic.ApplicationErrorCode {
	if errors.Is(reason, wire.ErrMalformed) {
		return protocol.CloseMalformed
	}
	return protocol.CloseDone
}

func newFrames(r io.Reader) *wire.FrameReader {
	return wire.NewFrameReader(bufio.NewReaderSize(r, readBytes), wire.ClientFrameMax)
}
