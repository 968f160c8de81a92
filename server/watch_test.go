package server_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/clients"
)

// shown is how a test writes an event.
func shown(e clients.Event) string {
	switch e.Type {
	case clients.EventPut, clients.EventState:
		return fmt.Sprintf("%v %s=%s@%d", e.Type, e.Key, e.Value, e.Version)
	case clients.EventDelete:
		return fmt.Sprintf("%v %s@%d", e.Type, e.Key, e.Version)
	case clients.EventAdd:
		return fmt.Sprintf("%v %s%+d", e.Type, e.Key, e.Delta)
	default:
		return e.Type.String()
	}
}

func expect(ctx context.Context, t *testing.T, w *clients.Watch, want ...string) {
	t.Helper()
	for _, one := range want {
		e, err := w.Next(ctx)
		if err != nil {
			t.Fatalf("want %q: %v", one, err)
		}
		if got := shown(e); got != one {
			t.Fatalf("got %q, want %q", got, one)
		}
	}
}

// must ends the test if an operation failed.
func must[T any](value T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return value
	}
}

func TestWatch(t *testing.T) {
	ctx := testContext(t)
	c := startCluster(t, 3)
	c.startAll()
	client := c.dial(ctx)
	must(client.Put(ctx, "a/1", []byte("x")))(t)
	must(client.Put(ctx, "b", []byte("other")))(t)
	w := must(client.Watch(ctx, clients.Prefix("a/"), clients.WithState()))(t)
	expect(ctx, t, w, "state a/1=x@1", "current")
	point := must(client.Watch(ctx, clients.Point("a/2")))(t)
	must(client.Put(ctx, "a/2", []byte("y")))(t)
	must(client.Put(ctx, "b", []byte("unseen")))(t)
	must(client.Delete(ctx, "a/1"))(t)
	expect(ctx, t, w, "put a/2=y@1", "delete a/1@2")
	expect(ctx, t, point, "put a/2=y@1")
	token := w.Token()
	must(client.Txn(ctx).Then(
		clients.OpPut("a/3", []byte("1")), clients.OpPut("a/4", []byte("1")), clients.OpPut("a/3", []byte("2")),
	).Commit())(t)
	must(client.Add(ctx, "a/3", 5))(t)
	expect(ctx, t, w, "put a/3=1@1", "put a/4=1@1", "put a/3=2@2", "add a/3+5")
	other := c.dial(ctx)
	again := must(other.Watch(ctx, clients.Prefix("a/"), clients.FromToken(token)))(t)
	expect(ctx, t, again, "put a/3=1@1", "put a/4=1@1")
	text := again.Token().String()
	third := must(clients.ParseWatchToken(text))(t)
	last := must(client.Watch(ctx, clients.Prefix("a/"), clients.FromToken(third)))(t)
	expect(ctx, t, last, "put a/3=2@2", "add a/3+5")
}

// onlooker watches, and knows what it has to be told next.
type onlooker struct {
	versions map[string]uint64
	unsure   map[string]bool // was deleted, perhaps, in what a resync passed over
	events   int
	resyncs  int
}

// see reports what is wrong with an event.
func (o *onlooker) see(e clients.Event) error {
	o.events++
	before := o.versions[e.Key]
	switch e.Type {
	case clients.EventResync:
		o.resyncs++
		for key := range o.versions {
			o.unsure[key] = true
		}
	case clients.EventState:
		if e.Version < before {
			return fmt.Errorf("violation of watch: %s goes back from version %d to %d", e.Key, before, e.Version)
		}
		o.versions[e.Key] = e.Version
		delete(o.unsure, e.Key)
	case clients.EventAdd:
		o.versions[e.Key]++
	case clients.EventPut, clients.EventDelete:
		follows := e.Version == before+1 || o.unsure[e.Key] && e.Version > before
		delete(o.unsure, e.Key)
		if !follows {
			return fmt.Errorf("violation of watch: %s: version %d after %d", e.Key, e.Version, before)
		}
		o.versions[e.Key] = e.Version
	default:
	}
	return nil
}

// watch looks on until everything was seen. Now and then it ends, and another client goes on with its token.
func (o *onlooker) watch(ctx context.Context, c *cluster, random *rand.Rand, done func(map[string]uint64) bool) error {
	client := c.dial(ctx, clients.WithPolicy(clients.Policy{StallAfter: 300 * time.Millisecond}))
	w, err := client.Watch(ctx, clients.Prefix("k"), clients.WithState())
	for err == nil && !done(o.versions) {
		patience, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		var e clients.Event
		e, err = w.Next(patience)
		cancel()
		switch {
		case err == nil:
			err = o.see(e)
		case ctx.Err() == nil && clients.IsRetryable(err):
			err = nil
		}
		if err == nil && random.IntN(200) == 0 {
			w, err = client.Watch(ctx, clients.Prefix("k"), clients.FromToken(w.Token()))
		}
	}
	return err
}

// TestWatchersMissNothing: replicas are killed and come back, while some write and some look on.
func TestWatchersMissNothing(t *testing.T) {
	ctx := testContext(t)
	c := startCluster(t, 3)
	c.startAll()
	writing, stop := context.WithTimeout(ctx, 3*time.Second)
	defer stop()
	var writers, watchers sync.WaitGroup
	for i := range 4 {
		client := c.dial(ctx, clients.WithPolicy(clients.Policy{StallAfter: 300 * time.Millisecond}))
		random := rand.New(rand.NewPCG(1, uint64(i)))
		writers.Go(func() {
			for writing.Err() == nil {
				key := fmt.Sprintf("k%d", random.IntN(5))
				switch random.IntN(4) { // whether it takes effect does not matter
				case 0:
					_, _ = client.Delete(writing, key)
				case 1, 2:
					_, _ = client.Add(writing, key, 1)
				default:
					_, _ = client.Put(writing, key, []byte("0"))
				}
			}
		})
	}
	var final atomic.Pointer[map[string]uint64]
	done := func(seen map[string]uint64) bool {
		want := final.Load()
		return want != nil && maps.Equal(seen, *want)
	}
	onlookers := make([]*onlooker, 6)
	for i := range onlookers {
		o := &onlooker{versions: map[string]uint64{}, unsure: map[string]bool{}}
		onlookers[i] = o
		random := rand.New(rand.NewPCG(2, uint64(i)))
		watchers.Go(func() {
			if err := o.watch(ctx, c, random, done); err != nil {
				t.Errorf("onlooker %d: %v, has seen %v", i, err, o.versions)
			}
		})
	}
	random := rand.New(rand.NewPCG(7, 7))
	for writing.Err() == nil {
		victim := random.IntN(3)
		c.servers[victim].Abort()
		rest(writing, time.Duration(100+random.IntN(300))*time.Millisecond)
		c.start(victim)
		rest(writing, time.Second)
	}
	writers.Wait()
	c.settle(ctx)
	client := c.dial(ctx)
	want := map[string]uint64{}
	for i := range 5 { // a put shows the version, and tells everybody that it is the last
		key := fmt.Sprintf("k%d", i)
		want[key] = must(client.Put(ctx, key, nil))(t).Version
	}
	final.Store(&want)
	watchers.Wait()
	for i, o := range onlookers {
		t.Logf("onlooker %d: %d events, %d resyncs", i, o.events, o.resyncs)
	}
}

// Polls are open for long, and must not hold up a replica that drains.
func TestWatchesLeaveADrainingReplica(t *testing.T) {
	ctx := testContext(t)
	c := startCluster(t, 3)
	c.startAll()
	client := c.dial(ctx)
	w := must(client.Watch(ctx, clients.Point("k")))(t)
	told := make(chan string, 1)
	go func() {
		e, err := w.Next(ctx)
		told <- fmt.Sprint(shown(e), err)
	}()
	for open := 0; open == 0; {
		for _, s := range c.servers {
			open += s.Status().Watches
		}
		rest(ctx, 10*time.Millisecond)
	}
	for _, s := range c.servers[:2] {
		draining, cancel := context.WithTimeout(ctx, 5*time.Second)
		if err := s.Drain(draining); err != nil {
			t.Error(err)
		}
		cancel()
	}
	must(client.Put(ctx, "k", []byte("v")))(t)
	if got := <-told; got != "put k=v@1<nil>" {
		t.Errorf("got %s", got)
	}
}
