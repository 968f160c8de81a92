package clients_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

const ms = time.Millisecond

// wantReplica sends one command and checks who answered it.
func wantReplica(t *testing.T, do func(context.Context, []byte) (epaxos.ReplicaID, error), want epaxos.ReplicaID) {
	t.Helper()
	got, err := do(t.Context(), []byte("command"))
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Fatalf("replica %d answered, want %d", got, want)
	}
}

func TestSettlesOnTheNearest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 80*ms, 10*ms, 40*ms)
		c := w.dial()
		time.Sleep(time.Second)
		if got := len(c.Replicas()); got != 3 {
			t.Fatalf("connected to %d replicas, want all 3", got)
		}
		if got := nearest(c); got != 2 {
			t.Fatalf("replica %d serves, want 2: %+v", got, c.Replicas())
		}
		reply, err := c.Do(t.Context(), []byte("command"))
		if err != nil || reply.Replica != 2 || !reply.Fast || string(reply.Result) != "command" {
			t.Fatalf("reply %+v, %v", reply, err)
		}
	})
}
