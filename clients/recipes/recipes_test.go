package recipes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// stage is a world of one replica in which nothing goes wrong by chance, and some processes with a session each.
type stage struct {
	*world
	t        *testing.T
	ctx      context.Context
	process  []*process
	sessions []*Session
}

// play runs one story. In the end all sessions are closed, and nothing may be left but what is said never to go.
func play(t *testing.T, processes int, story func(s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		s := &stage{world: newWorld(t, 1, 1), t: t, ctx: ctx}
		defer s.end() // also of a story that ends early
		for i := range processes {
			p := s.world.process(uint64(i)) //nolint:gosec // few
			session, err := newSession(ctx, p, leaseTTL)
			if err != nil {
				t.Fatal(err)
			}
			s.process, s.sessions = append(s.process, p), append(s.sessions, session)
		}
		story(s)
		for i, session := range s.sessions {
			if !s.process[i].killed() {
				if err := session.Close(ctx); err != nil {
					t.Error(err)
				}
				close(s.process[i].dead)
			}
			<-session.Done()
		}
		time.Sleep(3 * leaseTTL)
		if left := s.keys(); len(left) > 0 {
			t.Errorf("violation of leftovers: %q", left)
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
}

// end lets nobody go on.
func (s *stage) end() {
	for _, p := range s.process {
		if !p.killed() {
			close(p.dead)
		}
	}
	_ = s.stop()
}

// keys are those that should go with their leases.
func (s *stage) keys() (left []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	result, err := s.read(s.hosts[0], &wire.Op{Kind: wire.OpRange})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, pair := range result.Pairs {
		_, last, _ := strings.Cut(string(pair.Key), "/")
		if !slices.Contains([]string{"tickets", "token", "numbers", "pulse", "opened", ""}, last) {
			left = append(left, string(pair.Key))
		}
	}
	return left
}

// later runs something in the background until it blocks, and returns its end.
func later[V any](s *stage, do func() (V, error)) <-chan ending[V] {
	end := make(chan ending[V], 1)
	go func() {
		v, err := do()
		end <- ending[V]{v, err}
	}()
	s.settle()
	return end
}

type ending[V any] struct {
	value V
	err   error
}

// cutOff parts a process from the network, or brings it back.
func (s *stage) cutOff(i int, off bool) {
	s.mu.Lock()
	s.process[i].cut = off
	s.mu.Unlock()
}

// settle lets everything happen that is about to.
func (s *stage) settle() { time.Sleep(500 * time.Millisecond) }

func ready[V any](end <-chan ending[V]) bool { return len(end) > 0 }

func (s *stage) mutex(i int) *Mutex { return NewMutex(s.sessions[i], "m") }

func (s *stage) lock(i int) *Lock {
	s.t.Helper()
	l, err := s.mutex(i).Lock(s.ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	return l
}

func (s *stage) unlock(l *Lock) {
	s.t.Helper()
	if err := l.Unlock(s.ctx); err != nil {
		s.t.Fatal(err)
	}
}

// TestFirstComeFirstServed: the lock goes to who waits longest, and nobody who comes when it is free for a moment is
// faster.
func TestFirstComeFirstServed(t *testing.T) {
	play(t, 4, func(s *stage) {
		held := s.lock(0)
		var waiting []<-chan ending[*Lock]
		for i := range 9 {
			waiting = append(waiting, later(s, func() (*Lock, error) { return s.mutex(i % 4).Lock(s.ctx) }))
		}
		if _, err := s.mutex(1).TryLock(s.ctx); !errors.Is(err, ErrHeld) {
			t.Errorf("try to lock what is held: %v", err)
		}
		last := held.Token()
		for i := range waiting {
			s.unlock(held)
			s.settle()
			for j, end := range waiting {
				if ready(end) != (j == i) {
					t.Fatalf("violation of order: number %d is in: %v, when %d should be", j, ready(end), i)
				}
			}
			end := <-waiting[i]
			if end.err != nil {
				t.Fatalf("violation of progress: %v", end.err)
			}
			if end.value.Token() <= last {
				t.Fatalf("violation of fencing: token %d after %d", end.value.Token(), last)
			}
			held, last = end.value, end.value.Token()
		}
		s.unlock(held)
	})
}

// TestCancelledWaiter: who goes away while it waits leaves its place, at whatever moment; those behind move up.
func TestCancelledWaiter(t *testing.T) {
	for _, after := range []time.Duration{0, 1, 2, 4, 8, 16, 32, 200} {
		play(t, 3, func(s *stage) {
			held := s.lock(0)
			ctx, cancel := context.WithTimeout(s.ctx, after*time.Millisecond)
			defer cancel()
			if _, err := s.mutex(1).Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("after %v: %v", after, err)
			}
			next := later(s, func() (*Lock, error) { return s.mutex(2).Lock(s.ctx) })
			s.unlock(held)
			end := <-next
			if end.err != nil {
				t.Fatal(end.err)
			}
			s.unlock(end.value)
		})
	}
}

// TestDeadWaiters: places of the dead are given up with their leases, also in the middle.
func TestDeadWaiters(t *testing.T) {
	play(t, 4, func(s *stage) {
		held := s.lock(0)
		var waiting []<-chan ending[*Lock]
		for i := range 3 {
			waiting = append(waiting, later(s, func() (*Lock, error) { return s.mutex(i + 1).Lock(s.ctx) }))
		}
		close(s.process[1].dead)
		close(s.process[2].dead)
		s.unlock(held)
		end := <-waiting[2]
		if end.err != nil {
			t.Fatalf("violation of progress: the dead stand in the way: %v", end.err)
		}
		s.unlock(end.value)
		for _, dead := range waiting[:2] {
			if end := <-dead; end.err == nil {
				t.Error("a dead process has the lock")
			}
		}
	})
}

// TestUnlockAfterEarlyExpiry: the clock of a replica jumps, and the lease ends before its holder has heard of it.
func TestUnlockAfterEarlyExpiry(t *testing.T) {
	play(t, 2, func(s *stage) {
		long, err := newSession(s.ctx, s.process[1], time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		held := s.lock(0)
		next := later(s, func() (*Lock, error) { return NewMutex(long, "m").Lock(s.ctx) })
		s.mu.Lock()
		h := s.hosts[0]
		h.clock.set(s.now(), s.local(h)+namesTTL-time.Second, 1)
		s.mu.Unlock()
		end := <-next
		if end.err != nil || s.sessions[0].Err() != nil {
			t.Fatalf("the story is another: %v, %v", end.err, s.sessions[0].Err())
		}
		if err := held.Unlock(s.ctx); !errors.Is(err, ErrLost) {
			t.Errorf("violation of exclusion: unlock what was lost: %v", err)
		}
		if err := end.value.Unlock(s.ctx); err != nil {
			t.Errorf("violation of exclusion: it was unlocked by another: %v", err)
		}
		if err := long.Close(s.ctx); err != nil {
			t.Error(err)
		}
	})
}

// TestUnlockAfterExpiry: who was paused beyond its lease learns that it has lost the lock, and does not take it from the
// one who has it.
func TestUnlockAfterExpiry(t *testing.T) {
	play(t, 2, func(s *stage) {
		held := s.lock(0)
		next := later(s, func() (*Lock, error) { return s.mutex(1).Lock(s.ctx) })
		s.mu.Lock()
		s.process[0].pause(5 * leaseTTL)
		s.mu.Unlock()
		end := <-next
		if end.err != nil || end.value.Token() <= held.Token() {
			t.Fatalf("%v, token %d after %d", end.err, end.value.Token(), held.Token())
		}
		select {
		case <-held.Lost():
			t.Error("a paused process has heard of its loss")
		default:
		}
		if err := held.Unlock(s.ctx); !errors.Is(err, ErrLost) {
			t.Errorf("violation of exclusion: unlock what was lost: %v", err)
		}
		s.settle()
		s.unlock(end.value)
		s.sessions[0].lost(nil) // closed already
	})
}

// TestLeaseLostWhileWaiting: the wait ends.
func TestLeaseLostWhileWaiting(t *testing.T) {
	play(t, 2, func(s *stage) {
		held := s.lock(0)
		waiting := later(s, func() (*Lock, error) { return s.mutex(1).Lock(s.ctx) })
		s.cutOff(1, true)
		if end := <-waiting; !errors.Is(end.err, ErrLost) || errors.Is(end.err, ErrClosed) {
			t.Errorf("violation of progress: the lease is lost, and the wait ends with %v", end.err)
		}
		s.cutOff(1, false)
		s.unlock(held)
	})
}

// TestUnknownOutcomes: each step's request, or its answer, is lost once, and every copy of it, too.
func TestUnknownOutcomes(t *testing.T) {
	for _, how := range []fate{requestLost, answerLost} {
		for step := range 12 {
			for _, copies := range []int{1, 20} {
				if testing.Short() && step%3 > 0 {
					continue
				}
				t.Run(fmt.Sprintf("%d/%d/%d", how, step, copies), func(t *testing.T) {
					play(t, 2, func(s *stage) { s.unknownAt(how, step, copies) })
				})
			}
		}
	}
}

func (s *stage) unknownAt(how fate, step, copies int) {
	held := s.lock(0)
	seen, lost := map[string]int{}, 0
	s.process[1].tamper = func(op *wire.Op) fate {
		name := fmt.Sprint(op)
		if _, known := seen[name]; !known {
			seen[name] = len(seen)
		}
		if seen[name] == step && lost < copies {
			lost++
			return how
		}
		return arrives
	}
	waiting := later(s, func() (*Lock, error) { return s.mutex(1).Lock(s.ctx) })
	time.Sleep(15 * time.Second)
	s.unlock(held)
	end := <-waiting
	if end.err != nil {
		s.t.Fatalf("violation of progress: %v", end.err)
	}
	if end.value.Token() <= held.Token() {
		s.t.Errorf("violation of fencing: token %d after %d", end.value.Token(), held.Token())
	}
	s.unlock(end.value)
	q := NewQueue(s.sessions[1], "q")
	for _, item := range []string{"a", "b"} {
		if err := q.Enqueue(s.ctx, []byte(item)); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, item := range []string{"a", "b"} {
		if got, err := q.Dequeue(s.ctx); err != nil || string(got) != item {
			s.t.Errorf("violation of once: %q, %v, want %q", got, err, item)
		}
	}
	if again, err := q.TryDequeue(s.ctx); !errors.Is(err, ErrEmpty) {
		s.t.Errorf("violation of once: an empty queue: %q, %v", again, err)
	}
}

// TestLateCopies: whatever copies of a step come late, when its caller has gone away, take nothing for nobody.
func TestLateCopies(t *testing.T) {
	for _, unnamed := range []bool{false, true} {
		for step := range 3 {
			for _, patience := range []time.Duration{time.Second, 10 * time.Second} {
				t.Run(fmt.Sprintf("%v/%d/%v", unnamed, step, patience), func(t *testing.T) {
					play(t, 3, func(s *stage) { s.lateAt(step, unnamed, patience) })
				})
			}
		}
	}
}

func (s *stage) lateAt(step int, unnamed bool, patience time.Duration) {
	s.process[1].unnamed = unnamed
	seen := map[string]int{}
	s.process[1].tamper = func(op *wire.Op) fate {
		name := fmt.Sprint(op)
		if _, known := seen[name]; !known && !readsOnly(wire.AppendOp(nil, op)) {
			seen[name] = len(seen) + 1
		}
		if seen[name] == step+1 {
			return late
		}
		return arrives
	}
	var held *Lock
	if step > 0 {
		held = s.lock(0)
	}
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	waiting := later(s, func() (*Lock, error) { return s.mutex(1).Lock(ctx) })
	if held != nil {
		s.unlock(held)
	}
	if end := <-waiting; end.err == nil {
		s.unlock(end.value)
	}
	time.Sleep(3 * lateBy)
	l, err := s.mutex(2).TryLock(s.ctx)
	if err != nil {
		s.t.Fatalf("violation of exclusion: nobody wants the lock, and it is held: %v", err)
	}
	s.unlock(l)
}

// TestReaderTokens: a reader that learns late that it is in, when a writer waits already, has a token of its own.
func TestReaderTokens(t *testing.T) {
	play(t, 3, func(s *stage) {
		lost := 0
		s.process[0].tamper = func(*wire.Op) fate {
			if lost++; lost*int(copyEvery) > int(callTimeout+copyEvery) {
				return arrives
			}
			return answerLost // all copies of the first
		}
		late := later(s, func() (*Lock, error) { return NewRWMutex(s.sessions[0], "rw").RLock(s.ctx) })
		other, err := NewRWMutex(s.sessions[1], "rw").RLock(s.ctx)
		if err != nil {
			t.Fatal(err)
		}
		writer := later(s, func() (*Lock, error) { return NewRWMutex(s.sessions[2], "rw").Lock(s.ctx) })
		end := <-late
		if end.err != nil {
			t.Fatal(end.err)
		}
		if end.value.Token() == other.Token() {
			t.Errorf("violation of exclusion: two readers have token %d", other.Token())
		}
		s.unlock(end.value)
		s.unlock(other)
		s.unlock((<-writer).value)
	})
}

// TestUnnamedWrites: a client without a session at the cluster loses its lease where an outcome is unknown, since what
// is on its way could take the lock at any time.
func TestUnnamedWrites(t *testing.T) {
	play(t, 1, func(s *stage) {
		s.process[0].unnamed = true
		s.cutOff(0, true)
		end := later(s, func() (*Lock, error) { return s.mutex(0).Lock(s.ctx) })
		time.Sleep(callTimeout)
		s.cutOff(0, false)
		if one := <-end; !errors.Is(one.err, ErrLost) {
			t.Errorf("%v", one.err)
		}
	})
}

// TestWriterIsNotStarved: readers that come after a writer wait for it; those before it are together.
func TestWriterIsNotStarved(t *testing.T) {
	play(t, 4, func(s *stage) {
		rw := func(i int) *RWMutex { return NewRWMutex(s.sessions[i], "rw") }
		one, err := rw(0).RLock(s.ctx)
		if err != nil {
			t.Fatal(err)
		}
		two, err := rw(1).RLock(s.ctx)
		if err != nil || two.Token() <= one.Token() {
			t.Fatal(err)
		}
		writer := later(s, func() (*Lock, error) { return rw(2).Lock(s.ctx) })
		var readers []<-chan ending[*Lock]
		for i := range 3 {
			readers = append(readers, later(s, func() (*Lock, error) { return rw(i).RLock(s.ctx) }))
		}
		last := later(s, func() (*Lock, error) { return rw(3).Lock(s.ctx) })
		s.unlock(one)
		s.settle()
		if ready(writer) || ready(readers[0]) {
			t.Fatal("violation of order: a reader is still in")
		}
		s.unlock(two)
		s.settle()
		if !ready(writer) || ready(readers[0]) {
			t.Fatal("violation of order: it is the writer's turn")
		}
		s.unlock((<-writer).value)
		s.settle()
		for _, r := range readers {
			if !ready(r) || ready(last) {
				t.Fatal("violation of order: it is the readers' turn")
			}
			s.unlock((<-r).value)
		}
		s.unlock((<-last).value)
	})
}

// TestObservers: an observer sees each leader who lasts, and the gap where there is none; tokens grow.
func TestObservers(t *testing.T) {
	play(t, 3, func(s *stage) {
		var seen []string
		observing, stop := context.WithCancel(s.ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for leader, err := range NewElection(s.sessions[2], "e").Observe(observing) {
				if err != nil {
					return
				}
				seen = append(seen, fmt.Sprintf("%d %s", leader.Token, leader.Value))
			}
		}()
		s.settle()
		lead := func(i int, value string) *Leadership {
			l, err := NewElection(s.sessions[i], "e").Campaign(s.ctx, []byte(value))
			if err != nil {
				t.Fatal(err)
			}
			s.settle()
			return l
		}
		ann := lead(0, "ann")
		if err := ann.Proclaim(s.ctx, []byte("ann, moved")); err != nil {
			t.Error(err)
		}
		s.settle()
		next := later(s, func() (*Leadership, error) { return NewElection(s.sessions[1], "e").Campaign(s.ctx, []byte("bob")) })
		if err := ann.Resign(s.ctx); err != nil {
			t.Error(err)
		}
		bob := <-next
		s.settle()
		if err := ann.Proclaim(s.ctx, []byte("ann, late")); !errors.Is(err, ErrLost) {
			t.Errorf("proclaim after the term: %v", err)
		}
		close(s.process[1].dead) // with its lease goes its term
		time.Sleep(3 * leaseTTL)
		who, err := NewElection(s.sessions[2], "e").Leader(s.ctx)
		if err != nil || who.Token != 0 {
			t.Errorf("%+v leads, %v", who, err)
		}
		stop()
		<-done
		want := []string{"0 ", "1 ann", "1 ann, moved", fmt.Sprintf("%d bob", bob.value.Token()), "0 "}
		if !slices.Equal(slices.DeleteFunc(slices.Clone(seen), func(s string) bool { return s == "0 " }), want[1:4]) ||
			seen[0] != "0 " || seen[len(seen)-1] != "0 " {
			t.Errorf("seen %q, want %q", seen, want)
		}
	})
}

// TestBarrier: who waited goes on though the barrier is held again; who waits for the dead is told.
func TestBarrier(t *testing.T) {
	play(t, 3, func(s *stage) {
		barrier := func(i int) *Barrier { return NewBarrier(s.sessions[i], "b") }
		wait := func() (struct{}, error) { return struct{}{}, barrier(2).Wait(s.ctx) }
		if _, err := wait(); err != nil {
			t.Errorf("wait where nobody holds: %v", err)
		}
		one, err := barrier(0).Hold(s.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := barrier(1).Hold(s.ctx); !errors.Is(err, ErrHeld) {
			t.Errorf("hold what is held: %v", err)
		}
		first := later(s, wait)
		s.cutOff(2, true) // so that it learns of the opening when the barrier is held again
		if err := one.Open(s.ctx); err != nil {
			t.Error(err)
		}
		two, err := barrier(1).Hold(s.ctx)
		if err != nil {
			t.Fatal(err)
		}
		s.cutOff(2, false)
		if end := <-first; end.err != nil {
			t.Errorf("the first time: %v", end.err)
		}
		if err := one.Open(s.ctx); !errors.Is(err, ErrLost) {
			t.Errorf("open again what another holds: %v", err)
		}
		second := later(s, wait)
		if ready(second) {
			t.Error("nobody has opened it")
		}
		close(s.process[1].dead)
		if end := <-second; !errors.Is(end.err, ErrAbandoned) {
			t.Errorf("after the holder has died: %v", end.err)
		}
		<-two.Lost()
	})
}

// TestQueueWakes: a taker that waits gets what is put, in order; each item goes to one.
func TestQueueWakes(t *testing.T) {
	play(t, 3, func(s *stage) {
		q := func(i int) *Queue { return NewQueue(s.sessions[i], "q") }
		take := func(i int) func() ([]byte, error) { return func() ([]byte, error) { return q(i).Dequeue(s.ctx) } }
		one, two := later(s, take(0)), later(s, take(1))
		for _, item := range []string{"a", "b", "c"} {
			if err := q(2).Enqueue(s.ctx, []byte(item)); err != nil {
				t.Fatal(err)
			}
		}
		got := []string{string((<-one).value), string((<-two).value)}
		slices.Sort(got)
		if rest, err := q(0).TryDequeue(s.ctx); err != nil || string(rest) != "c" || !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("violation of once: %q, then %q, %v", got, rest, err)
		}
		ctx, cancel := context.WithTimeout(s.ctx, time.Second)
		defer cancel()
		if _, err := q(0).Dequeue(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, clients.ErrOutcomeUnknown) {
			t.Errorf("wait for nothing: %v", err)
		}
	})
}

// TestTakenBeforeItIsKnownToBePut: an item is put once, though it was taken when its putter sends it again.
func TestTakenBeforeItIsKnownToBePut(t *testing.T) {
	play(t, 2, func(s *stage) {
		puts, lost := NewQueue(s.sessions[0], "q"), 0
		s.process[0].tamper = func(op *wire.Op) fate {
			if !strings.HasPrefix(string(op.Then[0].Key), "q/items/") || lost*int(copyEvery) > int(callTimeout) {
				return arrives
			}
			lost++
			return answerLost
		}
		end := later(s, func() (struct{}, error) { return struct{}{}, puts.Enqueue(s.ctx, []byte("a")) })
		takes := NewQueue(s.sessions[1], "q")
		if got, err := takes.Dequeue(s.ctx); err != nil || string(got) != "a" {
			t.Fatalf("%q, %v", got, err)
		}
		if ready(end) {
			t.Fatal("the story is another")
		}
		if one := <-end; one.err != nil {
			t.Errorf("violation of once: it was put and taken: %v", one.err)
		}
		if again, err := takes.TryDequeue(s.ctx); !errors.Is(err, ErrEmpty) {
			t.Errorf("violation of once: %q once more, %v", again, err)
		}
	})
}

// TestRestsAreForgotten: names that are used once leave nothing for ever.
func TestRestsAreForgotten(t *testing.T) {
	play(t, 2, func(s *stage) {
		q := NewQueue(s.sessions[0], "q")
		for range 3 * tidyEvery {
			held := s.lock(0)
			next := later(s, func() (*Lock, error) { return s.mutex(1).Lock(s.ctx) })
			s.unlock(held)
			s.unlock((<-next).value)
			if err := q.Enqueue(s.ctx, nil); err != nil {
				t.Fatal(err)
			}
			if _, err := q.TryDequeue(s.ctx); err != nil {
				t.Fatal(err)
			}
		}
		s.settle()
		saved := 0
		s.mu.Lock()
		defer s.mu.Unlock()
		err := s.hosts[0].node.State().Scan(epaxos.SpaceState, "", "", func(string, []byte) bool { saved++; return true })
		if err != nil || saved > 2*tidyEvery {
			t.Errorf("%d keys are saved, deleted ones included: %v", saved, err)
		}
	})
}

// TestNames: what cannot be a name is refused before anything is sent.
func TestNames(t *testing.T) {
	play(t, 1, func(s *stage) {
		for _, name := range []string{"", strings.Repeat("n", nameMax+1)} {
			if _, err := NewMutex(s.sessions[0], name).Lock(s.ctx); err == nil {
				t.Errorf("a name of %d bytes", len(name))
			}
			if err := NewQueue(s.sessions[0], name).Enqueue(s.ctx, nil); err == nil {
				t.Errorf("a name of %d bytes", len(name))
			}
		}
		if s.sessions[0].Err() != nil {
			t.Error("that costs the session")
		}
	})
}
