package clients

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/264bc8cf/epaxos/internal/wire"
)

const (
	// windowHalf: from here on the client lets the cluster forget what it has the answers of.
	windowHalf = wire.SessionWindow / 2
	// checkpointLeast is how many numbers a checkpoint covers, unless the window is full.
	checkpointLeast = wire.SessionWindow / 4
	// windowTight: from here on a checkpoint covers requests whose outcome is unknown, too.
	windowTight = wire.SessionWindow * 3 / 4
	// farewellMax bounds what Close waits for the session to end. It expires otherwise.
	farewellMax = time.Second
)

// ledger is the client's session at the cluster: it numbers what may change the state, so that a copy of a
// request that is sent again takes effect once (docs/protocol.md, O). The session is opened when it is first needed,
// and another when it has expired.
//
// Invariants, under mu: the numbers in [floor, next) have a state each, and there are at most SessionWindow of them;
// those below low are answered.
type ledger struct {
	client *Client
	ttl    time.Duration
	wake   chan struct{}
	failed atomic.Pointer[Error] // why no session could be opened

	mu        sync.Mutex
	closing   bool
	wanted    bool // requests wait for a session
	session   SessionID
	floor     uint64
	low       uint64
	next      uint64
	states    [wire.SessionWindow]numberState
	lost      int           // numbers in numberLost
	keepAt    time.Time     // when to tell that the client lives
	moved     chan struct{} // closed and made anew at each checkpoint, and when the session has gone
	resolved  map[RequestID]Outcome
	forgotten []RequestID // those in resolved, oldest first
}

type numberState uint8

const (
	numberFree numberState = iota
	numberOpen             // its request is under way
	numberDone             // its request is answered
	numberLost             // its request was given up, its outcome unknown
)

func newLedger(c *Client, ttl time.Duration) *ledger {
	return &ledger{
		client: c, ttl: ttl, wake: make(chan struct{}, 1), moved: make(chan struct{}),
		resolved: map[RequestID]Outcome{},
	}
}

func (l *ledger) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *ledger) state(number uint64) *numberState { return &l.states[number%wire.SessionWindow] }

// number gives a request its name, unless there is no session or its window is full: then the keeper tries again.
func (l *ledger) number(f *Future) bool {
	l.mu.Lock()
	if l.closing || l.session.IsZero() || l.next-l.floor >= wire.SessionWindow {
		l.wanted = true
		l.mu.Unlock()
		l.signal()
		return false
	}
	id := &RequestID{Session: l.session, Number: l.next}
	*l.state(l.next) = numberOpen
	l.next++
	_, due := l.checkpointTo()
	f.id.Store(id)
	l.mu.Unlock()
	if due {
		l.signal()
	}
	if f.finished() { // its end found no number to give back
		l.end(*id, false)
	}
	return true
}

// end notes that a request is under way no more. Repeated, it does nothing.
func (l *ledger) end(id RequestID, unknown bool) {
	l.mu.Lock()
	if id.Session != l.session || id.Number < l.floor || *l.state(id.Number) != numberOpen {
		l.mu.Unlock()
		return
	}
	*l.state(id.Number) = numberDone
	if unknown {
		*l.state(id.Number) = numberLost
		l.lost++
	}
	l.advance()
	_, due := l.checkpointTo()
	l.mu.Unlock()
	if due {
		l.signal()
	}
}

func (l *ledger) advance() {
	for l.low < l.next && *l.state(l.low) == numberDone {
		l.low++
	}
}

// checkpointTo returns the number below which the cluster may forget, and whether it is time to say so. Requests whose
// outcome is unknown are kept resolvable as long as there is room.
func (l *ledger) checkpointTo() (to uint64, due bool) {
	used := l.next - l.floor
	if used < windowHalf {
		return 0, false
	}
	to = l.low
	if used >= windowTight && l.lost > 0 {
		for to < l.next && *l.state(to) != numberOpen {
			to++
		}
	}
	return to, to-l.floor >= checkpointLeast || used >= wire.SessionWindow && to > l.floor
}

// tend opens the session, keeps it alive and makes its checkpoints until the client is closed.
func (l *ledger) tend() {
	defer l.client.wg.Done()
	timer := time.NewTimer(l.ttl)
	defer timer.Stop()
	failures := 0
	for {
		select {
		case <-l.client.ctx.Done():
			return
		case <-l.wake:
		case <-timer.C:
		}
		for op, id, due := l.duty(time.Now()); due; op, id, due = l.duty(time.Now()) {
			if err := l.perform(op, id); err != nil {
				failures++
				break
			}
			failures = 0
		}
		timer.Reset(l.rest(time.Now(), failures))
	}
}

// rest is how long nothing is to be done, if nothing happens.
func (l *ledger) rest(now time.Time, failures int) time.Duration {
	if failures > 0 {
		pause := min(retryMin<<min(failures-1, 16), retryMax)
		return pause/2 + rand.N(pause/2)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session.IsZero() {
		return l.ttl
	}
	return max(l.keepAt.Sub(now), time.Millisecond)
}

// duty is what the session needs now, most urgent first.
func (l *ledger) duty(now time.Time) (op wire.SessionOp, id SessionID, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	to, covered := l.checkpointTo()
	switch {
	case l.closing:
		return op, id, false
	case l.session.IsZero():
		ttl := max(l.ttl.Milliseconds(), 1)
		return wire.SessionOp{Kind: wire.SessionOpen, TTL: uint64(ttl)}, id, l.wanted //nolint:gosec // positive
	case !now.Before(l.keepAt):
		return wire.SessionOp{Kind: wire.SessionKeep}, l.session, true
	case covered:
		return wire.SessionOp{Kind: wire.SessionCheckpoint, Number: to}, l.session, true
	default:
		return op, id, false
	}
}

// perform carries out an operation on the session, and takes in what came of it.
func (l *ledger) perform(op wire.SessionOp, id SessionID) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(l.client.ctx, max(l.ttl/3, retryMax))
	defer cancel()
	f, result, err := l.client.operate(ctx, id, &op)
	if err != nil {
		if op.Kind == wire.SessionOpen {
			if failed, ok := errors.AsType[*Error](err); ok {
				l.failed.Store(failed)
			}
		}
		return err
	}
	l.mu.Lock()
	switch {
	case result.Gone:
		l.goneLocked(id)
	case op.Kind == wire.SessionOpen:
		l.failed.Store(nil)
		l.session, l.wanted = result.ID, false
		l.floor, l.low, l.next = result.Session.Floor, result.Session.Floor, result.Session.Floor
		l.keepAt = began.Add(l.ttl / 3)
	case op.Kind == wire.SessionKeep && id == l.session:
		l.keepAt = began.Add(l.ttl / 3)
	case op.Kind == wire.SessionCheckpoint && id == l.session:
		// A checkpoint that was sent twice may have been carried out twice: the first answer, which is lost, told.
		l.cover(result.Session.Floor, result.Missing, !f.uncertain.Load())
	}
	l.mu.Unlock()
	l.client.wakeKeeper() // requests may wait for what has happened
	return nil
}

// cover takes in that numbers are forgotten by the cluster, and what that says of those that were lost. The caller
// holds mu.
func (l *ledger) cover(floor uint64, missing []uint64, telling bool) {
	never := make(map[uint64]bool, len(missing))
	for _, number := range missing {
		never[number] = true
	}
	for ; l.floor < min(floor, l.next); l.floor++ {
		if *l.state(l.floor) == numberLost {
			l.lost--
			id, outcome := RequestID{l.session, l.floor}, Applied
			if never[l.floor] {
				outcome = NotApplied
			}
			if telling {
				l.resolve(id, outcome)
			}
		}
		*l.state(l.floor) = numberFree
	}
	l.low = max(l.low, l.floor)
	l.advance()
	l.move()
}

// resolve remembers what became of a request. The caller holds mu.
func (l *ledger) resolve(id RequestID, outcome Outcome) {
	if len(l.forgotten) >= wire.SessionWindow {
		delete(l.resolved, l.forgotten[0])
		l.forgotten = l.forgotten[1:]
	}
	l.forgotten = append(l.forgotten, id)
	l.resolved[id] = outcome
}

// move tells those who wait for a checkpoint. The caller holds mu.
func (l *ledger) move() {
	close(l.moved)
	l.moved = make(chan struct{})
}

// gone notes that the session has ended, unless that is known.
func (l *ledger) gone(id SessionID) {
	l.mu.Lock()
	l.goneLocked(id)
	l.mu.Unlock()
}

func (l *ledger) goneLocked(id SessionID) {
	if l.session != id || id.IsZero() {
		return
	}
	l.session, l.lost = SessionID{}, 0
	l.floor, l.low, l.next = 0, 0, 0
	clear(l.states[:])
	l.move()
	l.client.log.Warn("the session has expired", "session", id)
}

// close ends the session, so that the cluster forgets it at once. One that holds requests of unknown outcome is left
// to expire: until then somebody may ask for them.
func (l *ledger) close() {
	l.mu.Lock()
	id, idle := l.session, l.lost == 0 && l.low == l.next
	l.closing = true
	l.mu.Unlock()
	if id.IsZero() || !idle {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), farewellMax)
	defer cancel()
	//nolint:errcheck // it will expire
	l.client.operate(ctx, id, &wire.SessionOp{Kind: wire.SessionClose})
}
