package server_test

import (
	"context"
	"fmt"
	"testing"

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
