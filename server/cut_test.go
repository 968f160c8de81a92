package server_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/server"
)

// wantScan expects every key of the report to have one value, wherever it is read.
func wantScan(ctx context.Context, t *testing.T, cut *clients.Cut, value string, options ...clients.RangeOption) {
	t.Helper()
	count := 0
	for pair, err := range cut.Scan(ctx, clients.Prefix("report/"), append(options, clients.Limit(7))...) {
		if err != nil || string(pair.Value) != value {
			t.Fatalf("violation of linearizability: key %q is %q, %v, want %q", pair.Key, pair.Value, err, value)
		}
		count++
	}
	if count != 30 {
		t.Fatalf("violation of linearizability: %d keys, want 30", count)
	}
}

// TestCuts: a report is read in pages at one moment, from any replica and any client, while it changes.
func TestCuts(t *testing.T) {
	ctx := testContext(t)
	c := startCluster(t, 3)
	c.startAll()
	client := c.dial(ctx)
	write := func(value string) {
		for i := range 30 {
			if _, err := client.Put(ctx, fmt.Sprintf("report/%02d", i), []byte(value)); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("old")
	cut, err := client.Cut(ctx, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	write("new")
	if _, err := client.DeleteRange(ctx, clients.Prefix("report/2")); err != nil {
		t.Fatal(err)
	}
	id, err := clients.ParseCutID(cut.ID().String())
	if err != nil {
		t.Fatal(err)
	}
	other := c.dial(ctx).OpenCut(id)
	wantScan(ctx, t, other, "old")
	for id := range epaxos.ReplicaID(3) {
		wantScan(ctx, t, other, "old", clients.At(id+1))
	}
	if r, err := other.Get(ctx, "report/25"); err != nil || string(r.Value) != "old" {
		t.Errorf("violation of linearizability: a key is %q, %v", r.Value, err)
	}
	txn, err := other.Txn(ctx).If(clients.CompareCount(clients.Prefix("report/"), clients.Equal, 30)).
		Then(clients.OpGet("report/00")).Commit()
	if err != nil || !txn.Succeeded || string(txn.Results[0].Value) != "old" {
		t.Errorf("violation of linearizability: a transaction reads %+v, %v", txn, err)
	}
	if _, err := other.Txn(ctx).Then(clients.OpPut("report/00", nil)).Commit(); !errors.Is(err, clients.ErrInvalid) {
		t.Errorf("a write at a cut: %v", err)
	}
	count, err := other.Query(ctx, wire.AppendOp(nil, &wire.Op{Kind: wire.OpRange, Options: wire.RangeCount}))
	if err != nil || count.Fast {
		t.Errorf("a query: %+v, %v", count, err)
	}
	for i := range c.servers {
		if s := c.servers[i].StatusNow().Cuts; len(s) != 1 || s[0].ID != cut.ID().String() || s[0].Left <= 0 {
			t.Errorf("replica %d tells %+v", i+1, s)
		}
	}
	c.endCuts(ctx, cut)
}

// endCuts restarts replicas until none holds a cut.
func (c *cluster) endCuts(ctx context.Context, cut *clients.Cut) {
	c.tb.Helper()
	c.servers[0].Abort()
	c.start(0)
	if _, err := cut.Get(ctx, "report/00"); err != nil {
		c.tb.Errorf("one replica was restarted: %v", err)
	}
	if err := cut.Release(ctx); err != nil {
		c.tb.Errorf("release: %v", err)
	}
	began := time.Now()
	_, err := cut.Get(ctx, "report/00")
	if !errors.Is(err, clients.ErrCutGone) || clients.OutcomeOf(err) != clients.NotApplied || clients.IsRetryable(err) {
		c.tb.Errorf("after its release: %v", err)
	}
	c.tb.Logf("%v, after %v", err, time.Since(began))
}

// TestCutsNeedTheirLevel: a cluster whose level is older names no cuts.
func TestCutsNeedTheirLevel(t *testing.T) {
	ctx := testContext(t)
	c := startCluster(t, 1)
	c.tune = func(config *server.Config) { config.Format = wire.FormatCuts - 1 }
	c.startAll()
	client := c.dial(ctx)
	if _, err := client.Cut(ctx, time.Minute); !errors.Is(err, clients.ErrInvalid) {
		t.Errorf("a cut at level %d: %v", wire.FormatCuts-1, err)
	}
	for _, ttl := range []time.Duration{0, clients.CutTTLMax + time.Second} {
		if _, err := client.Cut(ctx, ttl); !errors.Is(err, clients.ErrInvalid) {
			t.Errorf("a cut of %v: %v", ttl, err)
		}
	}
}
