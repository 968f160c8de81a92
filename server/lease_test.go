package server_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/server"
)

func mustPut(ctx context.Context, t *testing.T, c *clients.Client, key string, options ...clients.PutOption) clients.Result {
	t.Helper()
	r, err := c.Put(ctx, key, []byte("v"), options...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// awaitAbsent waits until a key is gone, as the cluster sees it.
func awaitAbsent(ctx context.Context, t *testing.T, c *clients.Client, key string) clients.Result {
	t.Helper()
	for {
		r, err := c.Get(ctx, key)
		if err != nil {
			t.Fatalf("key %q stays: %v", key, err)
		}
		if !r.Found {
			return r
		}
		rest(ctx, 20*time.Millisecond)
	}
}

// TestLeaseKeepsItsKeys: keys under a lease stay as long as it is kept alive, and go with it; those that were put
// again under another lease or none, or deleted, do not belong to it any more.
func TestLeaseKeepsItsKeys(t *testing.T) {
	ctx := testContext(t)
	c := startCluster(t, 3)
	c.startAll()
	holder, other := c.dial(ctx), c.dial(ctx)
	lease, err := holder.Grant(ctx, 1500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	lasting, err := other.Grant(ctx, 9*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	under := clients.WithLease(lease.ID())
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		mustPut(ctx, t, holder, key, under)
	}
	_, err = holder.Txn(ctx).If(clients.CompareLease("a", clients.Equal, lease.ID()), clients.CompareLease("z", clients.Equal, clients.LeaseID{})).
		Then(clients.OpPutIfAbsent("f", []byte("1"), under), clients.OpAdd("f", 1)).Commit()
	if err != nil {
		t.Fatal(err)
	}
	mustPut(ctx, t, other, "b")
	mustPut(ctx, t, other, "c", clients.WithLease(lasting.ID()))
	if _, err := other.Delete(ctx, "d"); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Append(ctx, "e", []byte("w")); err != nil {
		t.Fatal(err)
	}
	info, err := other.LeaseInfo(ctx, lease.ID())
	if err != nil || !slices.Equal(info.Keys, []string{"a", "e", "f"}) || info.TTL != lease.TTL() {
		t.Fatalf("the lease is %+v, %v", info, err)
	}
	rest(ctx, 2*lease.TTL())
	if lease.Err() != nil {
		t.Fatalf("a lease that is kept alive ends: %v", lease.Err())
	}
	before, err := other.Get(ctx, "a")
	if err != nil || before.Lease != lease.ID() {
		t.Fatalf("a key under a lease that is kept alive is %+v, %v", before, err)
	}
	lease.Close()
	<-lease.Done()
	if !errors.Is(lease.Err(), clients.ErrLeaseClosed) {
		t.Errorf("a lease that was closed says %v", lease.Err())
	}
	awaitAbsent(ctx, t, other, "a")
	for key, found := range map[string]bool{"b": true, "c": true, "d": false, "e": false, "f": false} {
		if r, err := other.Get(ctx, key); err != nil || r.Found != found {
			t.Errorf("key %q after the end of the lease: %+v, %v, want found %v", key, r, err, found)
		}
	}
	if _, err := holder.Put(ctx, "a", nil, under); !errors.Is(err, clients.ErrLeaseGone) || clients.OutcomeOf(err) != clients.NotApplied {
		t.Errorf("a put under a lease that is gone: %v", err)
	}
	if again := mustPut(ctx, t, other, "a"); again.Version != before.Version+2 {
		t.Errorf("the next life of a key begins with version %d, want %d behind the end of the lease", again.Version, before.Version+2)
	}
	for _, err := range []error{
		second(holder.KeepAliveOnce(ctx, lease.ID())), second(holder.LeaseInfo(ctx, lease.ID())), second(holder.ResumeLease(ctx, lease.ID())),
	} {
		if !errors.Is(err, clients.ErrLeaseGone) {
			t.Errorf("of a lease that is gone: %v", err)
		}
	}
	if err := other.RevokeLease(ctx, lasting.ID()); err != nil {
		t.Fatal(err)
	}
	if r, err := other.Get(ctx, "c"); err != nil || r.Found {
		t.Errorf("a key of a lease that was revoked is %+v, %v", r, err)
	}
	select {
	case <-lasting.Done():
		if !errors.Is(lasting.Err(), clients.ErrLeaseGone) {
			t.Errorf("a lease that others revoked says %v", lasting.Err())
		}
	case <-ctx.Done():
		t.Error("a lease that others revoked does not say so")
	}
	c.settle(ctx)
}

func second[T any](_ T, err error) error { return err }

// TestRevokeAgainstAttach: a lease is revoked while keys are put under it through all replicas. Afterwards each put that
// succeeded is gone with it, and the others say why.
func TestRevokeAgainstAttach(t *testing.T) {
	ctx := testContext(t)
	c := startCluster(t, 3)
	c.startAll()
	client := c.dial(ctx)
	for round := range 5 {
		lease, err := client.Grant(ctx, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var attached, refused int
		var mu sync.Mutex
		for i := range 40 {
			wg.Go(func() {
				_, err := client.Put(ctx, fmt.Sprintf("%d/%d", round, i), nil, clients.WithLease(lease.ID()))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					attached++
				case errors.Is(err, clients.ErrLeaseGone):
					refused++
				default:
					t.Error(err)
				}
			})
			if i == 20 {
				wg.Go(func() {
					if err := lease.Revoke(ctx); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		page, err := client.Range(ctx, clients.Prefix(fmt.Sprintf("%d/", round)))
		if err != nil || page.Count != 0 {
			t.Errorf("violation of once: %d keys outlive their lease: %v", page.Count, err)
		}
		t.Logf("%d attached, %d refused", attached, refused)
	}
	c.settle(ctx)
}

// TestLeaseNeedsItsLevel: a cluster at an older format level refuses what brings leases into its state, and says what to
// do.
func TestLeaseNeedsItsLevel(t *testing.T) {
	ctx := testContext(t)
	c := startCluster(t, 1)
	c.tune = func(config *server.Config) { config.Format = wire.FormatLeases - 1 }
	c.startAll()
	client := c.dial(ctx)
	lease, err := client.Grant(ctx, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"put":     second(client.Put(ctx, "k", nil, clients.WithLease(lease.ID()))),
		"compare": second(client.Txn(ctx).If(clients.CompareLease("k", clients.Equal, lease.ID())).Then(clients.OpGet("k")).Commit()),
		"info":    second(client.LeaseInfo(ctx, lease.ID())),
	} {
		if !errors.Is(err, clients.ErrInvalid) || !strings.Contains(err.Error(), "raise-format") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := lease.Revoke(ctx); err != nil {
		t.Error(err)
	}
}
