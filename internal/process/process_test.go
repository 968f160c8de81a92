package process

import (
	"context"
	"strings"
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/process/cluster"
)

// startCluster runs a cluster on bare loopback until the test ends.
func startCluster(tb testing.TB, replicas int, flags ...string) *cluster.Cluster {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	c, err := cluster.New(ctx, cluster.Options{Binary: binary, Dir: tb.TempDir(), Replicas: replicas, Flags: flags})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	if err := c.Start(ctx); err != nil {
		tb.Fatal(err)
	}
	return c
}

// TestExitCodes runs commands against a cluster that loses one replica after another.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	expect := func(code int, says string, args ...string) {
		t.Helper()
		got, err := c.Command(t.Context(), args...)
		if err != nil || got.Code != code || !strings.Contains(got.Stdout+got.Stderr, says) {
			t.Errorf("%v: %+v, %v, want code %d and %q", args, got, err, code, says)
		}
	}
	kill := func(id epaxos.ReplicaID) {
		t.Helper()
		if err := c.Replica(id).Kill(); err != nil {
			t.Fatal(err)
		}
	}
	expect(0, "ok", "put", "colour", "blue")
	expect(0, "blue", "get", "colour", "-o", "raw")
	expect(1, "not found", "get", "flavour")
	expect(1, "not as expected", "cas", "colour", "red", "--absent")
	expect(2, "unknown command", "paint", "colour")
	expect(1, "never overwritten", "init", "--dir", c.Dir())
	kill(1)
	expect(0, "blue", "get", "colour", "--timeout", "20s")
	kill(2)
	// It was sent to the last replica, and may take effect when another comes back.
	expect(3, "outcome unknown", "put", "colour", "red", "--timeout", "1s", "--endpoint", c.Replica(3).Addr)
	expect(4, "not applied", "get", "colour", "--timeout", "1s")
	expect(0, "1 of 3 replicas answer", "status", "--timeout", "1s")
	kill(3)
	expect(4, "no replica answered", "put", "colour", "red", "--timeout", "500ms")
	expect(4, "no replica answered", "status", "--timeout", "500ms")
}
