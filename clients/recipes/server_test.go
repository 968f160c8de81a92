package recipes_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/clients/recipes"
)

// TestRealServers: what the simulation proves of the recipes holds through the client that ships, its leases and its
// watches, on three servers of which one dies.
func TestRealServers(t *testing.T) {
	ctx := within(t, 60*time.Second)
	cluster, err := startReplicas(3)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cluster.stop(); err != nil {
			t.Error(err)
		}
	}()
	const processes, turns = 4, 6
	var (
		wg    sync.WaitGroup
		fence recipes.Fence
		mu    sync.Mutex
		seen  = map[uint64]int{}
		value int
		errs  = make(chan error, processes)
	)
	for range processes {
		wg.Go(func() {
			errs <- func() error {
				client, err := cluster.dial(ctx)
				if err != nil {
					return err
				}
				defer client.Close()
				session, err := recipes.NewSession(ctx, client, 5*time.Second)
				if err != nil {
					return err
				}
				for range turns {
					lock, err := recipes.NewMutex(session, "test/lock").Lock(ctx)
					if err != nil {
						return err
					}
					if err := fence.Write(lock.Token()); err != nil {
						return err
					}
					mu.Lock()
					seen[lock.Token()]++
					value++
					dies := value == processes
					mu.Unlock()
					if dies {
						cluster.servers[2].Abort()
					}
					if err := lock.Unlock(ctx); err != nil {
						return err
					}
				}
				return session.Close(ctx)
			}()
		})
	}
	wg.Wait()
	for range processes {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if value != processes*turns || len(seen) != value {
		t.Errorf("%d turns under %d tokens, want %d", value, len(seen), processes*turns)
	}
}

// TestLeftBehind: contexts that end at any moment, sessions that end with all they hold.
func TestLeftBehind(t *testing.T) {
	ctx := within(t, 60*time.Second)
	client := connect(ctx)
	defer client.Close()
	holder, err := recipes.NewSession(ctx, client, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	waiter, err := recipes.NewSession(ctx, client, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := recipes.NewMutex(holder, "left/lock").Lock(ctx); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		short, cancel := context.WithTimeout(ctx, time.Duration(i)*time.Millisecond)
		if _, err := recipes.NewMutex(waiter, "left/lock").Lock(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("lock that is held: %v", err)
		}
		cancel()
	}
	if _, err := recipes.NewMutex(waiter, "left/lock").TryLock(ctx); !errors.Is(err, recipes.ErrHeld) {
		t.Errorf("try to lock what is held: %v", err)
	}
	passed := make(chan error, 1)
	go func() {
		_, err := recipes.NewMutex(waiter, "left/lock").Lock(ctx)
		passed <- err
	}()
	if err := holder.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-passed; err != nil {
		t.Errorf("the lock of a session that was closed: %v", err)
	}
	if err := waiter.Close(ctx); err != nil {
		t.Fatal(err)
	}
	page, err := client.Range(ctx, clients.Prefix("left/"))
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, pair := range page.Pairs {
		left = append(left, pair.Key)
	}
	if !slices.Equal(left, []string{"left/lock/tickets"}) {
		t.Errorf("left behind: %q", left)
	}
	if _, err := recipes.NewMutex(waiter, "left/lock").Lock(ctx); !errors.Is(err, recipes.ErrClosed) {
		t.Errorf("lock in a closed session: %v", err)
	}
}
