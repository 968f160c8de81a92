package recipes

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/internal/wire"
)

var (
	locksSeed = flag.Uint64("locks-seed", 0, "run this seed only")
	locksRuns = flag.Uint64("locks-runs", 3, "how many seeds")
)

// actors is processes that use all recipes in a world where everything goes wrong, and afterwards in one where
// nothing does.
type actors struct {
	*world
	*book
	seed   uint64
	wg     sync.WaitGroup
	stopMu sync.Mutex
	calm   bool // the trouble is over
}

const (
	leaseTTL    = 2 * time.Second
	troubleFor  = 40 * time.Second
	patience    = 2 * time.Minute // all must be done so long after the trouble is over
	processes   = 5
	lockNames   = 2
	worldPrefix = "sim/"
)

// TestLocks: no token has two holders, what passes the fences never goes back, whoever is honest excludes the
// others, everybody gets in at last, and nothing is left behind.
func TestLocks(t *testing.T) {
	var sum tally
	if testing.Short() {
		*locksRuns = min(*locksRuns, 2)
	}
	for seed := range *locksRuns {
		if *locksSeed != 0 {
			seed = *locksSeed - 1
		}
		one, err := runLocks(t, seed+1)
		if err != nil {
			t.Fatalf("seed %d: %v\nrepeat: go test ./clients/recipes -run TestLocks -args -locks-seed=%d", seed+1, err, seed+1)
		}
		sum.add(one)
		if *locksSeed != 0 {
			break
		}
	}
	t.Logf("%+v", sum)
	if *locksSeed == 0 && *locksRuns >= 10 && (sum.waited == 0 || sum.stale == 0 || sum.lost == 0 || sum.unknowns == 0 ||
		sum.cancelled == 0 || sum.observed == 0 || sum.items == 0 || sum.overlaps == 0) {
		t.Errorf("the test shows nothing: %+v", sum)
	}
}

// runLocks is one run.
func runLocks(t *testing.T, seed uint64) (sum tally, err error) {
	synctest.Test(t, func(t *testing.T) {
		replicas := []int{3, 3, 1, 5}[seed%4]
		w := newWorld(t, seed, replicas)
		a := &actors{world: w, book: newBook(w), seed: seed}
		a.honest = seed%3 == 0
		time.Sleep(500 * time.Millisecond)
		for i := range uint64(processes) {
			a.wg.Go(func() { a.live(i) })
		}
		a.wg.Go(a.trouble)
		a.wg.Wait()
		if w.failed() == nil {
			a.finish()
		}
		err = w.stop()
		sum = a.tally
		sum.trace = w.trace
	})
	return sum, err
}

func (w *world) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failure
}

// over reports whether nobody begins anything any more.
func (a *actors) over() bool {
	a.world.mu.Lock()
	defer a.world.mu.Unlock()
	return a.calm || a.stopped
}

// live is the life of a machine on which one process runs after the other.
func (a *actors) live(i uint64) {
	for life := uint64(0); !a.over(); life++ {
		p := a.process(a.seed*1000 + i*100 + life)
		r := rand.New(rand.NewPCG(a.seed*1000+i*100+life, 3)) //nolint:gosec // reproducible
		p.unnamed = i == 4 && a.seed%2 == 0
		if r.IntN(2) == 0 {
			a.afterBy(r, time.Duration(r.Int64N(int64(troubleFor))), func() {
				if !a.calm && !p.killed() {
					close(p.dead)
					a.tally.kills++
				}
			})
		}
		a.afflict(p, rand.New(rand.NewPCG(p.seed, 5))) //nolint:gosec // reproducible
		a.work(p, r, fmt.Sprintf("p%d.%d", i, life))
		a.world.mu.Lock()
		a.tally.unknowns += p.unknowns
		a.tally.pauses += p.pauses
		a.world.mu.Unlock()
		time.Sleep(time.Duration(r.Int64N(int64(time.Second))))
	}
}

// afflict pauses a process and cuts it off, now and then.
func (a *actors) afflict(p *process, r *rand.Rand) {
	a.afterBy(r, time.Duration(r.Int64N(int64(15*time.Second))), func() {
		if a.calm || p.killed() {
			return
		}
		length := time.Duration(r.Int64N(int64(3 * leaseTTL)))
		if r.IntN(2) == 0 && !a.honest {
			p.pause(length)
		} else {
			p.cut = true
			a.after(length, func() { p.cut = false })
		}
		a.afflict(p, r)
	})
}

// work is what a process does in one session after the other.
func (a *actors) work(p *process, r *rand.Rand, who string) {
	for sessions := 0; !a.over() && !p.killed(); sessions++ {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		s, err := newSession(ctx, p, leaseTTL)
		cancel()
		if err != nil {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		var background sync.WaitGroup
		watching, stop := context.WithCancel(s.ctx)
		background.Go(func() { a.observe(watching, NewElection(s, worldPrefix+"election")) })
		for turn := 0; s.Err() == nil && !a.over() && turn < 30; turn++ {
			if a.turnOf(s, p, r, fmt.Sprintf("%s.%d.%d", who, sessions, turn)) {
				break // it still holds something: only the end of its session gives that up
			}
			time.Sleep(time.Duration(r.Int64N(int64(100 * time.Millisecond))))
		}
		stop()
		background.Wait()
		ctx, cancel = context.WithTimeout(context.Background(), time.Duration(1+r.Int64N(int64(10*time.Second))))
		_ = s.Close(ctx) // what it could not say, the lease does
		cancel()
		if errors.Is(s.Err(), ErrLost) {
			a.count(func(t *tally) { t.lost++ })
		}
	}
}

func (a *actors) count(one func(*tally)) {
	a.book.mu.Lock()
	one(&a.tally)
	a.book.mu.Unlock()
}

// turnOf is one use of a recipe. It reports whether something is still held.
func (a *actors) turnOf(s *Session, p *process, r *rand.Rand, who string) (holds bool) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	defer func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			a.violated("progress", "%s waits for ever", who)
		}
	}()
	if r.IntN(4) == 0 { // somebody who loses patience, at any moment
		defer time.AfterFunc(time.Duration(r.Int64N(int64(500*time.Millisecond))), cancel).Stop()
	}
	name := fmt.Sprintf("%slock%d", worldPrefix, r.IntN(lockNames))
	switch k := r.IntN(12); {
	case k < 4:
		l, err := NewMutex(s, name).Lock(ctx)
		return a.critical(held{who: who, name: name, lock: l, err: err, writes: true}, p, r)
	case k < 5:
		l, err := NewMutex(s, name).TryLock(ctx)
		return a.critical(held{who: who, name: name, lock: l, err: err, writes: true}, p, r)
	case k < 6:
		l, err := NewRWMutex(s, worldPrefix+"rw").Lock(ctx)
		return a.critical(held{who: who, name: worldPrefix + "rw", lock: l, err: err, writes: true}, p, r)
	case k < 8:
		l, err := NewRWMutex(s, worldPrefix+"rw").RLock(ctx)
		return a.critical(held{who: who, name: worldPrefix + "rw", lock: l, err: err}, p, r)
	case k < 9:
		a.campaign(ctx, s, p, r, who)
	case k < 10:
		a.enqueue(ctx, s, who)
	case k < 11:
		a.take(ctx, NewQueue(s, worldPrefix+"queue"))
	default:
		a.addTo(ctx, p, r)
	}
	return false
}

// held is the end of an attempt to lock.
type held struct {
	who, name string
	lock      *Lock
	err       error
	writes    bool
}

// critical is what is done under a lock: reads and writes of a resource, with pauses in between. It reports
// whether the lock is still held, since it was forgotten.
func (a *actors) critical(h held, p *process, r *rand.Rand) (forgotten bool) {
	if h.err != nil {

		a.count(func(t *tally) {
			if errors.Is(h.err, context.Canceled) {
				t.cancelled++
			}
			if errors.Is(h.err, ErrHeld) {
				t.busy++
			}
		})
		return false
	}
	one := &believer{who: h.who, token: h.lock.Token(), session: h.lock.attempt.session, writes: h.writes}
	a.took(h.name, one)
	if h.lock.attempt.ticket > 0 {
		a.count(func(t *tally) { t.waited++ })
	}
	first, err := a.reach(p, r, access{lock: h.name, token: one.token, reads: !h.writes})
	if err == nil {
		time.Sleep(time.Duration(r.Int64N(int64(50 * time.Millisecond))))
		next := access{lock: h.name, token: one.token, reads: !h.writes, change: h.writes, value: first + 1}
		second, err := a.reach(p, r, next)
		if err == nil && !h.writes && second != first {
			a.violated("exclusion", "%s reads %d and then %d of %s under one lock", h.who, first, second, h.name)
		}
	}
	a.leaves(one)
	if r.IntN(10) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+r.Int64N(int64(5*time.Second))))
	defer cancel()
	if err := h.lock.Unlock(ctx); err != nil && a.honest && errors.Is(err, ErrLost) && one.session.Err() == nil {
		a.violated("exclusion", "%s has lost %s, and its lease lives: %v", h.who, h.name, err)
	}
	return false
}

func (a *actors) campaign(ctx context.Context, s *Session, p *process, r *rand.Rand, who string) {
	e := NewElection(s, worldPrefix+"election")
	l, err := e.Campaign(ctx, []byte(who+" one"))
	if err != nil {
		return
	}
	a.term(l.Token(), who)
	one := &believer{who: who, token: l.Token(), session: s, writes: true}
	a.took("election", one)
	_, _ = a.reach(p, r, access{lock: "election", token: l.Token()})
	limited, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if r.IntN(2) == 0 {
		_ = l.Proclaim(limited, []byte(who+" two"))
	}
	a.leaves(one)
	_ = l.Resign(limited)
}

// observe follows the election as long as the session lasts.
func (a *actors) observe(ctx context.Context, e *Election) {
	last := uint64(0)
	for leader, err := range e.Observe(ctx) {
		switch {
		case err != nil:
			return
		case leader.Token == 0:
			continue
		case leader.Token < last:
			a.violated("order", "an observer sees term %d after %d", leader.Token, last)
		}
		last = leader.Token
		candidate, _, _ := strings.Cut(string(leader.Value), " ")
		a.term(leader.Token, candidate)
		a.count(func(t *tally) { t.observed++ })
	}
}

func (a *actors) take(ctx context.Context, q *Queue) {
	value, err := q.TryDequeue(ctx)
	switch {
	case err == nil:
		a.took1(string(value))
	case errors.Is(err, clients.ErrOutcomeUnknown):
		a.book.mu.Lock()
		a.lostTakes++
		a.book.mu.Unlock()
	}
}

func (a *actors) addTo(ctx context.Context, p *process, r *rand.Rand) {
	delta := 1 + r.Int64N(5)
	err := (&Counter{store: p, name: worldPrefix + "counter"}).Add(ctx, delta)
	a.book.mu.Lock()
	defer a.book.mu.Unlock()
	switch {
	case err == nil:
		a.added += delta
		a.tally.adds++
	case errors.Is(err, clients.ErrOutcomeUnknown):
		a.doubtful += delta
	}
}

// trouble is what happens to replicas and their network.
func (a *actors) trouble() {
	r := rand.New(rand.NewPCG(a.seed, 4)) //nolint:gosec // reproducible
	for end := a.now() + troubleFor; a.now() < end && !a.over(); {
		time.Sleep(time.Duration(r.Int64N(int64(4 * time.Second))))
		a.world.mu.Lock()
		a.strike(a.hosts[r.IntN(len(a.hosts))], r)
		a.world.mu.Unlock()
	}
	a.world.mu.Lock()
	defer a.world.mu.Unlock()
	a.calm, a.loss = true, 0
	for _, h := range a.hosts {
		h.cut = false
		h.clock.set(a.now(), a.local(h), 1)
		if h.node == nil {
			a.start(h)
		}
	}
}

// strike lets one thing go wrong.
func (a *actors) strike(h *host, r *rand.Rand) {
	length := time.Duration(r.Int64N(int64(3 * time.Second)))
	switch k := r.IntN(10); {
	case k < 3 && h.node != nil:
		a.crash(h)
		a.tally.crashes++
		a.after(length, func() {
			if h.node == nil {
				a.start(h)
			}
		})
	case k < 5:
		h.cut = true
		a.after(length, func() { h.cut = false })
	case k < 7:
		a.loss = 1 + r.IntN(20)
		a.after(length, func() { a.loss = 0 })
	case a.honest || h.node == nil:
	case k < 9:
		a.tally.jumps++
		h.clock.set(a.now(), a.local(h)+time.Duration(r.Int64N(int64(10*time.Second))), h.clock.rate)
	default:
		h.clock.set(a.now(), a.local(h), 0.2+3*r.Float64())
	}
}

// finish lets everybody get everything once more, and looks at what is left.
func (a *actors) finish() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var wg sync.WaitGroup
	for i := range uint64(processes) {
		wg.Go(func() {
			p := a.process(a.seed*1000 + 900 + i)
			defer close(p.dead)
			r := rand.New(rand.NewPCG(a.seed*1000+900+i, 3)) //nolint:gosec // reproducible
			s, err := newSession(ctx, p, leaseTTL)
			if err != nil {
				a.violated("progress", "no session can be opened: %v", err)
				return
			}
			a.lastTurn(ctx, s, p, r, fmt.Sprintf("last%d", i))
			if err := s.Close(ctx); err != nil {
				a.violated("progress", "a session cannot be closed: %v", err)
			}
		})
	}
	wg.Wait()
	if a.failed() == nil {
		a.inspect(ctx)
	}
}

func (a *actors) lastTurn(ctx context.Context, s *Session, p *process, r *rand.Rand, who string) {
	for i := range lockNames {
		name := fmt.Sprintf("%slock%d", worldPrefix, i)
		l, err := NewMutex(s, name).Lock(ctx)
		if err != nil {
			a.violated("progress", "%s: %v", who, err)
			return
		}
		if a.critical(held{who: who, name: name, lock: l, writes: true}, p, r) {
			if err := l.Unlock(ctx); err != nil {
				a.violated("progress", "%s: %v", who, err)
			}
		}
	}
	for _, lock := range []func(context.Context) (*Lock, error){
		NewRWMutex(s, worldPrefix+"rw").RLock, NewRWMutex(s, worldPrefix+"rw").Lock,
	} {
		l, err := lock(ctx)
		if err == nil {
			err = l.Unlock(ctx)
		}
		if err != nil {
			a.violated("progress", "%s: %v", who, err)
			return
		}
	}
	l, err := NewElection(s, worldPrefix+"election").Campaign(ctx, []byte(who+" one"))
	if err == nil {
		a.term(l.Token(), who)
		err = l.Resign(ctx)
	}
	if err != nil {
		a.violated("progress", "%s: %v", who, err)
	}
}

// inspect empties the queue, and looks for what nobody has removed.
func (a *actors) inspect(ctx context.Context) {
	p := a.process(a.seed*1000 + 999)
	defer close(p.dead)
	s, err := newSession(ctx, p, leaseTTL)
	if err != nil {
		a.violated("progress", "no session can be opened: %v", err)
		return
	}
	q := NewQueue(s, worldPrefix+"queue")
	for {
		value, err := q.TryDequeue(ctx)
		if errors.Is(err, ErrEmpty) {
			break
		}
		if err != nil {
			a.violated("progress", "the queue cannot be emptied: %v", err)
			return
		}
		a.drained = append(a.drained, a.took1(string(value)))
	}
	counter, err := (&Counter{store: p, name: worldPrefix + "counter"}).Value(ctx)
	if err != nil {
		a.violated("progress", "the counter cannot be read: %v", err)
	}
	if err := s.Close(ctx); err != nil {
		a.violated("progress", "a session cannot be closed: %v", err)
	}
	a.check(counter)
	time.Sleep(5 * leaseTTL) // leases of who was killed end by themselves
	a.world.mu.Lock()
	defer a.world.mu.Unlock()
	for _, h := range a.hosts {
		a.leftovers(h)
	}
}

// leftovers finds keys that should have gone with their leases.
func (a *actors) leftovers(h *host) {
	span := clients.Prefix(worldPrefix)
	result, err := a.read(h, &wire.Op{Kind: wire.OpRange, Key: []byte(span.From), End: []byte(span.End)})
	if err != nil {
		a.world.fail("integrity", "replica %d: %v", h.id, err)
		return
	}
	for _, pair := range result.Pairs {
		last := string(pair.Key[strings.LastIndexByte(string(pair.Key), '/')+1:])
		switch last {
		case "tickets", "token", "numbers", "pulse", "counter":
		default:
			a.world.fail("leftovers", "replica %d has the key %s = %q, and nobody lives", h.id, pair.Key, pair.Value)
		}
	}
}
