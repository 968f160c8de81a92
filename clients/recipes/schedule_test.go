package recipes

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// act is one thing that a process of a schedule does, and what happens meanwhile.
type act struct {
	Kind   string
	Before time.Duration
	Cancel time.Duration // after which the caller loses patience; 0 is never
	Hold   time.Duration
	Pause  time.Duration // of the process, while it holds; 0 is none
	Keep   bool          // it goes away without giving back: its session ends
}

// script is what one process does, and what becomes of each copy of its changes in turn.
type script struct {
	Acts  []act
	Fates []fate
}

func drawScript(rt *rapid.T, label string) script {
	millis := func(most int) *rapid.Generator[time.Duration] {
		return rapid.Map(rapid.IntRange(0, most), func(n int) time.Duration { return time.Duration(n) * time.Millisecond })
	}
	acts := rapid.Custom(func(rt *rapid.T) act {
		a := act{
			Kind:   rapid.SampledFrom([]string{"lock", "try", "write", "read", "lead", "put", "take", "add"}).Draw(rt, "kind"),
			Before: millis(30).Draw(rt, "before"),
			Hold:   millis(50).Draw(rt, "hold"),
		}
		if rapid.IntRange(0, 3).Draw(rt, "patience") == 0 {
			a.Cancel = millis(60).Draw(rt, "cancel") + time.Millisecond
		}
		if rapid.IntRange(0, 5).Draw(rt, "sleeps") == 0 {
			a.Pause = 2 * millis(3000).Draw(rt, "pause")
		}
		a.Keep = rapid.IntRange(0, 9).Draw(rt, "keeps") == 0
		return a
	})
	// Most copies arrive.
	fates := rapid.SampledFrom([]fate{arrives, arrives, arrives, arrives, requestLost, answerLost})
	return script{
		Acts:  rapid.SliceOfN(acts, 0, 6).Draw(rt, label+" acts"),
		Fates: rapid.SliceOfN(fates, 0, 40).Draw(rt, label+" fates"),
	}
}

// TestSchedules: what TestLocks checks, on schedules that shrink: three processes before the executor alone.
func TestSchedules(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		scripts := []script{drawScript(rt, "a"), drawScript(rt, "b"), drawScript(rt, "c")}
		if err := perform(t, scripts); err != nil {
			rt.Fatal(err)
		}
	})
}

// perform carries out the scripts side by side.
func perform(t *testing.T, scripts []script) (err error) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, 1)
		a := &actors{world: w, book: newBook(w), seed: 1}
		for i := range scripts {
			for _, one := range scripts[i].Acts {
				a.honest = a.honest && one.Pause == 0
			}
		}
		var wg sync.WaitGroup
		for i := range scripts {
			wg.Go(func() { a.perform(uint64(i), &scripts[i]) }) //nolint:gosec // few
		}
		wg.Wait()
		a.calm = true
		if w.failed() == nil {
			a.finish()
		}
		err = w.stop()
	})
	return err
}

func (a *actors) perform(i uint64, s *script) {
	p := a.process(i)
	defer close(p.dead)
	p.tamper = func(*wire.Op) fate {
		if len(s.Fates) == 0 {
			return arrives
		}
		next := s.Fates[0]
		s.Fates = s.Fates[1:]
		return next
	}
	session := a.open(p)
	for n, one := range s.Acts {
		time.Sleep(one.Before)
		if session.Err() != nil || !a.carryOut(session, p, one, fmt.Sprintf("%d.%d", i, n)) {
			a.shut(session)
			session = a.open(p)
		}
	}
	a.shut(session)
}

func (a *actors) open(p *process) *Session {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		s, err := newSession(ctx, p, leaseTTL)
		if err == nil {
			return s
		}
		if ctx.Err() != nil {
			panic(err)
		}
	}
}

func (a *actors) shut(s *Session) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		a.violated("progress", "a session cannot be closed: %v", err)
	}
}

// carryOut does one thing. It reports whether the session may go on.
func (a *actors) carryOut(s *Session, p *process, one act, who string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if one.Cancel > 0 {
		defer time.AfterFunc(one.Cancel, cancel).Stop()
	}
	h := held{who: who, name: worldPrefix + "lock0", writes: true}
	switch one.Kind {
	case "lock":
		h.lock, h.err = NewMutex(s, h.name).Lock(ctx)
	case "try":
		h.lock, h.err = NewMutex(s, h.name).TryLock(ctx)
	case "write":
		h.name = worldPrefix + "rw"
		h.lock, h.err = NewRWMutex(s, h.name).Lock(ctx)
	case "read":
		h.name, h.writes = worldPrefix+"rw", false
		h.lock, h.err = NewRWMutex(s, h.name).RLock(ctx)
	case "lead":
		l, err := NewElection(s, worldPrefix+"election").Campaign(ctx, []byte(who+" one"))
		if h.name, h.err = "election", err; err == nil {
			h.lock = l.lock
			a.term(l.Token(), who)
		}
	case "put":
		a.enqueue(ctx, s, who)
		return true
	case "take":
		a.take(ctx, NewQueue(s, worldPrefix+"queue"))
		return true
	default:
		a.addTo(ctx, p, fixed())
		return true
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		a.violated("progress", "%s waits for ever", who)
	}
	return h.err != nil || a.keep(h, p, one)
}

// fixed is a stream for what schedules do not vary.
func fixed() *rand.Rand { return rand.New(rand.NewPCG(1, 1)) } //nolint:gosec // reproducible

// keep is what is done under a lock.
func (a *actors) keep(h held, p *process, one act) bool {
	holder := &believer{who: h.who, token: h.lock.Token(), session: h.lock.attempt.session, writes: h.writes}
	a.took(h.name, holder)
	r, next := fixed(), access{lock: h.name, token: holder.token, reads: !h.writes}
	value, err := a.reach(p, r, next)
	if one.Pause > 0 {
		a.world.mu.Lock()
		p.pause(one.Pause)
		a.world.mu.Unlock()
	}
	time.Sleep(one.Hold)
	if err == nil {
		next.change, next.value = h.writes, value+1
		again, err := a.reach(p, r, next)
		if err == nil && !h.writes && again != value {
			a.violated("exclusion", "%s reads %d and then %d of %s under one lock", h.who, value, again, h.name)
		}
	}
	a.leaves(holder)
	if one.Keep {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.lock.Unlock(ctx); err != nil && !errors.Is(err, ErrLost) && !errors.Is(err, ErrClosed) {
		a.violated("progress", "%s cannot unlock %s: %v", h.who, h.name, err)
	}
	return true
}

// enqueue puts an item and notes what became of it.
func (a *actors) enqueue(ctx context.Context, s *Session, who string) {
	i := a.puts(who)
	switch err := NewQueue(s, worldPrefix+"queue").Enqueue(ctx, []byte(who)); {
	case err == nil:
		a.put(i)
	case !errors.Is(err, clients.ErrOutcomeUnknown):
		a.book.mu.Lock()
		delete(a.items, who) // it must not be there
		a.book.mu.Unlock()
	}
}
