package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/quic-go/quic-go"
)

// bulkLane is the number by which the bulk lane goes in hellos.
const bulkLane = LanesMax

var errIdle = errors.New("nothing to send")

func (p *peer) sendBulk(body []byte) bool {
	if len(body) > p.host.config.FrameBytesMax || !p.bulk.queue.push(frameData, body) {
		p.counters.bulkDropped.Add(1)
		return false
	}
	return true
}

// runBulk dials when there is something to send, and not before.
func (l *lane) runBulk() {
	ceiling := redialMin
	for {
		select {
		case <-l.queue.ready:
		case <-l.peer.ctx.Done():
			return
		}
		if l.queue.empty() {
			continue
		}
		stood, err := l.bulkSession()
		if errors.Is(err, errIdle) {
			ceiling = redialMin
			continue
		}
		// Who asked for it asks again, if it still wants it, and then not for this.
		l.peer.counters.bulkDropped.Add(uint64(l.queue.drop()))
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

// bulkSession is the life of one bulk connection, from its first use until it is idle or broken.
func (l *lane) bulkSession() (stood time.Duration, err error) {
	conn, err := l.dial()
	if err != nil {
		return 0, fmt.Errorf("dial: %w", explain(err))
	}
	stop := context.AfterFunc(l.peer.ctx, func() { l.peer.dismiss(conn) })
	defer stop()
	stream, frames, _, err := l.greet(conn)
	if err != nil {
		closeConn(conn, codeFor(err), err.Error())
		return 0, fmt.Errorf("exchange hellos: %w", endOf(conn, err))
	}
	up := l.peer.host.clock()
	reads := make(chan error, 1)
	go func() {
		// Nothing comes on this stream, so its end is that of the connection, or a breach.
		err := l.readEchoes(frames)
		closeConn(conn, codeFor(err), err.Error())
		reads <- err
	}()
	err = l.writeBulk(conn, stream)
	if errors.Is(err, errIdle) {
		closeConn(conn, CloseIdle, err.Error())
		<-reads
		return 0, err
	}
	closeConn(conn, codeFor(err), err.Error())
	return max(1, l.peer.host.clock()-up), errors.Join(endOf(conn, err), protocolOnly(<-reads))
}

// writeBulk sends what the queue holds until the connection ends or nothing has come for a while. There
// are no heartbeats: bulk says nothing about the peer's health, and QUIC's idle time-out notices its end.
func (l *lane) writeBulk(conn *quic.Conn, stream *quic.Stream) error {
	config := &l.peer.host.config
	idle := time.NewTimer(config.BulkIdle)
	defer idle.Stop()
	paced := &pacedStream{
		stream: stream, peer: l.peer, gone: conn.Context().Done(), pacer: newPacer(config.BulkBytesPerSecond),
	}
	l.queue.wake()
	var spare []byte
	for {
		select {
		case <-conn.Context().Done():
			return context.Cause(conn.Context())
		case <-idle.C:
			return errIdle
		case <-l.queue.ready:
			batch := l.queue.take(spare)
			if err := l.writeBatch(paced, batch, &l.peer.counters.bulkBytesSent); err != nil {
				return err
			}
			spare = batch
			idle.Reset(config.BulkIdle)
		}
	}
}

// pacedStream waits after each piece for as long as the pacer says.
type pacedStream struct {
	stream io.Writer
	peer   *peer
	gone   <-chan struct{}
	pacer  *pacer
}

func (s *pacedStream) Write(piece []byte) (int, error) {
	n, err := s.stream.Write(piece)
	if err != nil {
		return n, err
	}
	s.pacer.judge(s.peer.rtt.newest())
	if wait := s.pacer.pay(n, time.Now()); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.gone:
		}
	}
	return n, nil
}
