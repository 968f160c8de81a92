package process

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/264bc8cf/epaxos/internal/process/cluster"
	"github.com/264bc8cf/epaxos/internal/process/traffic"
	"github.com/264bc8cf/epaxos/internal/process/validate"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// TestRollingUpgrade restarts the replicas of a cluster one at a time under load, from programs that know format
// level 1 to programs that know all, and raises the level. What stayed behind is refused by name.
func TestRollingUpgrade(t *testing.T) {
	if testing.Short() {
		t.Skip("starts nine processes")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	first, old := "--format=1", "--format-max=1"
	c := startCluster(t, 3, first, old)
	load, err := traffic.Start(ctx, c, traffic.Followers, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(load.Close(), validate.Logs(c)); err != nil {
			t.Error(err)
		}
	})
	expect := func(code int, says string, args ...string) {
		t.Helper()
		got, err := c.Command(ctx, args...)
		if err != nil || got.Code != code || !strings.Contains(got.Stdout+got.Stderr, says) {
			t.Fatalf("%v: %+v, %v, want code %d and %q", args, got, err, code, says)
		}
	}
	restart := func(r *cluster.Replica, flags ...string) {
		t.Helper()
		if code, err := r.Terminate(ctx); err != nil || code != 0 {
			t.Fatalf("replica %d was told to end, and exited with %d: %v", r.ID, code, err)
		}
		r.SetFlags(flags...)
		if err := errors.Join(r.Start(ctx), load.Await(ctx, 300)); err != nil {
			t.Fatal(err)
		}
	}
	if err := load.Await(ctx, 100); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "a.snapshot")
	expect(1, "the cluster is at format level 1, and this needs 2", "snapshot", "save", file)
	for _, r := range c.Replicas {
		expect(0, "the format level is 1 already, the highest that all members know", "member", "raise-format")
		restart(r, first)
	}
	expect(1, "the cluster is at format level 1, and this needs 2", "snapshot", "save", file)
	expect(1, "the cluster is at format level 1, and this needs 3", "put", "leased", "v", "--lease", "9.9")

	// One that is down when the level is raised, and comes back as it was, is behind by a level.
	last := c.Replicas[2]
	restart(last, first, old)
	if code, err := last.Terminate(ctx); err != nil || code != 0 {
		t.Fatal(code, err)
	}
	expect(1, "replica 3 does not answer", "member", "raise-format")
	expect(0, fmt.Sprintf("format level %d from epoch 2 on", wire.Format), "member", "raise-format", "--force")
	expect(0, "is sound", "snapshot", "save", file)
	expect(1, "the lease is gone", "put", "leased", "v", "--lease", "9.9")
	if err := last.Launch(); err != nil {
		t.Fatal(err)
	}
	for {
		log, err := last.Log()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(log, fmt.Sprintf("knows format levels 1 to 1, and the cluster is at level %d", wire.Format)) {
			break
		}
		if !cluster.Sleep(ctx) {
			t.Fatalf("nobody refuses a program that is too old:\n%s", log)
		}
	}
	restart(last, first)
	if unknown, refused := load.Unknown(), load.Refused(); unknown+refused > 0 {
		t.Errorf("violation of progress: %d requests failed, and the outcome of %d is unknown", refused, unknown)
	}

	// And one whose own state is of the new level does not start at all.
	if err := load.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := c.AwaitEqual(ctx); err != nil {
		t.Error(err)
	}
	if code, err := last.Terminate(ctx); err != nil || code != 0 {
		t.Fatal(code, err)
	}
	last.SetFlags(first, old)
	if err := last.Launch(); err != nil {
		t.Fatal(err)
	}
	code, err := last.Wait(ctx)
	log, unread := last.Log()
	if err != nil || unread != nil || code != 1 ||
		!strings.Contains(log, fmt.Sprintf("is at format level %d, and this program knows 1 to 1", wire.Format)) {
		t.Errorf("a program that is too old ended with %d, %v:\n%s", code, errors.Join(err, unread), log)
	}
	if _, err := validate.History(load.Operations()); err != nil {
		t.Error(err)
	}
}
