package server

import (
	"sync"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// inboxBytesMax bounds the frames that wait for the replica's goroutine. Beyond it the transport's
// readers block, which holds back the lanes they read.
const inboxBytesMax = 16 << 20

// frame is one frame of a peer, decoded by the transport's reader.
type frame struct {
	from     epaxos.ReplicaID
	header   wire.FrameHeader
	messages []epaxos.Message
	bytes    int
}

// inputs is what a turn takes from the inbox.
type inputs struct {
	frames []frame
	calls  []*call
	asks   []func()
	bytes  int
}

// inbox hands inputs from any goroutine to the one that owns the node.
type inbox struct {
	mu      sync.Mutex
	room    *sync.Cond // signalled when bytes fall
	waiting inputs
	closed  bool
	signal  chan struct{} // holds a token while something waits
}

func newInbox() *inbox {
	b := &inbox{signal: make(chan struct{}, 1)}
	b.room = sync.NewCond(&b.mu)
	return b
}

func (b *inbox) wake() {
	select {
	case b.signal <- struct{}{}:
	default:
	}
}

// frame blocks while the inbox is full. What comes after the replica has stopped is lost.
func (b *inbox) frame(f frame) {
	b.mu.Lock()
	for b.waiting.bytes >= inboxBytesMax && !b.closed {
		b.room.Wait()
	}
	if b.closed {
		b.mu.Unlock()
		return
	}
	b.waiting.frames = append(b.waiting.frames, f)
	b.waiting.bytes += f.bytes
	b.mu.Unlock()
	b.wake()
}

// call hands over a request; false if the replica has stopped.
func (b *inbox) call(c *call) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.waiting.calls = append(b.waiting.calls, c)
	b.wake()
	return true
}

// do runs f on the replica's goroutine and waits for it; false if the replica has stopped.
func (b *inbox) do(f func()) bool {
	done := make(chan struct{})
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return false
	}
	b.waiting.asks = append(b.waiting.asks, func() { f(); close(done) })
	b.mu.Unlock()
	b.wake()
	<-done
	return true
}

// take returns what waits, reusing the memory of the turn before.
func (b *inbox) take(reuse inputs) inputs {
	clear(reuse.frames)
	clear(reuse.calls)
	clear(reuse.asks)
	b.mu.Lock()
	taken := b.waiting
	b.waiting = inputs{frames: reuse.frames[:0], calls: reuse.calls[:0], asks: reuse.asks[:0]}
	b.mu.Unlock()
	b.room.Broadcast()
	return taken
}

// close refuses further inputs and returns what still waits.
func (b *inbox) close() inputs {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	return b.take(inputs{})
}

// call is one request on its way through the replica.
type call struct {
	id        epaxos.ProposalID
	request   epaxos.Request
	footprint epaxos.Footprint
	read      *node.Read // instead of request and footprint
	poll      *node.Poll // likewise
	deadline  time.Time  // zero is none
	done      func(Reply, error)
	takesCut  bool // done gives back the group that a barrier pins
	session   bool // it is on a session: the footprint says what is attached to that as it is proposed
}
