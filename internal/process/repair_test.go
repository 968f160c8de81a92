package process

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/process/cluster"
	"github.com/264bc8cf/epaxos/internal/process/traffic"
	"github.com/264bc8cf/epaxos/internal/process/validate"
)

// awaitGroups waits until a replica takes part and has saved more groups than that. It returns how many it has.
func awaitGroups(ctx context.Context, c *cluster.Cluster, id epaxos.ReplicaID, above uint64) (uint64, error) {
	for {
		all, err := c.Status(ctx)
		if err != nil {
			return 0, err
		}
		for i := range all {
			if s := &all[i].Status; all[i].Replica == id && all[i].Reachable && s.Admitted && s.Groups > above {
				return s.Groups, nil
			}
		}
		if !cluster.Sleep(ctx) {
			return 0, context.Cause(ctx)
		}
	}
}

// TestRepair gives a replica an old copy of its disk: its peers tell it, from then on it refuses its directory
// whatever is in it, and one command puts a new replica in its place, all under load.
func TestRepair(t *testing.T) {
	if testing.Short() {
		t.Skip("starts five processes")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := startCluster(t, 3)
	load, err := traffic.Start(ctx, c, traffic.Followers, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(load.Close(), validate.Logs(c)); err != nil {
			t.Error(err)
		}
	})
	must := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	victim := c.Replicas[2]
	must(load.Await(ctx, 200))
	code, err := victim.Terminate(ctx)
	must(err)
	if code != 0 {
		t.Fatalf("the victim ended with %d", code)
	}
	must(victim.CopyData("old"), victim.Start(ctx))
	began, err := awaitGroups(ctx, c, 3, 0)
	must(err)
	_, err = awaitGroups(ctx, c, 3, began+20) // it has voted: without that the copy would lack nothing
	must(err, victim.Kill(), victim.CopyData("sound"), victim.Restore("old"))
	refuses := func(says string) {
		t.Helper()
		before, err := victim.Log()
		must(err, victim.Launch())
		code, err := victim.Wait(ctx)
		must(err)
		after, err := victim.Log()
		must(err)
		if said := after[len(before):]; code != cluster.Retired || !strings.Contains(said, says) ||
			!strings.Contains(said, "epaxos member replace") {
			t.Fatalf("it ended with %d and does not say %q:\n%s", code, says, said)
		}
	}
	refuses("has lost")
	refuses("condemned")
	must(load.Await(ctx, 200))
	_, err = c.Join(ctx, "member", "replace", "3")
	must(err, load.Await(ctx, 500), load.Stop())

	c.Keep([]*cluster.Replica{c.Replicas[0], c.Replicas[1], c.Replicas[3]})
	must(load.ReadSome(ctx))
	_, err = c.AwaitEqual(ctx)
	must(err)
	_, err = validate.States(ctx, c)
	must(err)
	report, err := validate.History(load.Operations())
	must(err)
	if unknown, refused := load.Unknown(), load.Refused(); unknown+refused > 0 {
		t.Errorf("violation of progress: %d requests failed, and the outcome of %d is unknown", refused, unknown)
	}
	t.Logf("%s; %d operations on %d keys: %v", load.Describe(), report.Operations, report.Keys, report.Verdict)
}
