package transport

import (
	"sync"
	"sync/atomic"
)

// A buffer above queueKeptBytes of which less than an eighth was used is not used again: a burst,
// or the time without a peer, must not pin its memory once it is over, while a steady flood must
// not allocate a large buffer for every batch.
const queueKeptBytes = 256 << 10

// budget is the room that one peer's lanes share.
type budget struct {
	used atomic.Int64
	max  int64
}

// reserve takes n bytes, or nothing.
func (b *budget) reserve(n int) bool {
	if b.used.Add(int64(n)) > b.max {
		b.used.Add(-int64(n))
		return false
	}
	return true
}

func (b *budget) release(n int) { b.used.Add(-int64(n)) }

// queue holds the encoded frames that wait for a lane's writer, back to back: the writer takes
// them all at once, so frames that gather while it writes leave together and no timer is needed.
type queue struct {
	budget *budget
	ready  chan struct{} // holds a token while pending may be non-empty

	mu      sync.Mutex
	pending []byte
	frames  int // in pending
	closed  bool
}

func newQueue(b *budget) *queue { return &queue{budget: b, ready: make(chan struct{}, 1)} }

// push copies a frame in; false if the budget has no room for it, or the queue is closed.
func (q *queue) push(kind frameKind, body []byte) bool {
	if !q.budget.reserve(frameHeaderBytes + len(body)) {
		return false
	}
	q.mu.Lock()
	closed := q.closed
	if !closed {
		q.pending = appendFrame(q.pending, kind, body)
		q.frames++
	}
	q.mu.Unlock()
	if closed {
		q.budget.release(frameHeaderBytes + len(body))
		return false
	}
	q.wake()
	return true
}

// drop throws away what waits and returns how many frames that was.
func (q *queue) drop() (frames int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.clear()
}

// close drops what waits and refuses what comes.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.clear()
}

// clear empties the queue. The caller holds mu.
func (q *queue) clear() (frames int) {
	frames = q.frames
	q.budget.release(len(q.pending))
	q.pending, q.frames = nil, 0
	return frames
}

// empty reports whether nothing waits.
func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.pending) == 0
}

// wake lets the writer look at the queue.
func (q *queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take returns all that waits and leaves spare, the batch taken before, in its place. What it
// returns stays within the budget until released.
func (q *queue) take(spare []byte) []byte {
	if cap(spare) > queueKeptBytes && len(spare) < cap(spare)/8 {
		spare = nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	batch := q.pending
	q.pending, q.frames = spare[:0], 0
	return batch
}
