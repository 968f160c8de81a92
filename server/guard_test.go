package server_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/server"
)

// TestEviction: of four voters one that stays away is left out, and of the three that are left nobody is.
func TestEviction(t *testing.T) {
	ctx := testContext(t)
	c := startCluster(t, 4)
	// By instances: three replicas of four decide nothing unless all of them keep up.
	c.tune = func(config *server.Config) { config.Eviction.Instances = 400 }
	c.startAll()
	client := c.dial(ctx)
	put := func() {
		if _, err := client.Put(ctx, "a", []byte("b")); err != nil {
			t.Fatal(err)
		}
	}
	put()
	c.settle(ctx)
	c.servers[3].Abort()
	c.servers[3] = nil
	for c.servers[0].StatusNow().Members.Epoch == 1 {
		var writers sync.WaitGroup
		for i := range 32 {
			writers.Go(func() {
				for range 10 {
					if _, err := client.Put(ctx, fmt.Sprint(i), []byte("b")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		writers.Wait()
	}
	m := c.servers[0].StatusNow().Members
	if len(m.Voters) != 3 || m.Voters[2].Replica != 3 || m.F != 1 {
		t.Fatalf("after the eviction: %+v", m)
	}
	put()
	config, err := server.Load(c.layout.Configs[3])
	if err != nil {
		t.Fatal(err)
	}
	evicted, err := server.Open(config, execution.KV{})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-evicted.Done():
	case <-ctx.Done():
		t.Error("the evicted replica goes on")
	}
	if err := evicted.Err(); !errors.Is(err, server.ErrRemoved) {
		t.Errorf("the evicted replica ended with %v", err)
	}
}

// TestEvictionKeepsF: whom nobody may leave out, and whose turn it is.
func TestEvictionKeepsF(t *testing.T) {
	members := func(n, f, e int) *wire.Members {
		m := &wire.Members{Epoch: 7, F: f, E: e, Format: 1, NextReplica: epaxos.ReplicaID(n + 1)}
		for i := range n {
			m.Voters = append(m.Voters, wire.Member{Replica: epaxos.ReplicaID(i + 1)})
		}
		return m
	}
	for _, c := range []struct {
		n, f, e       int
		laggard, self epaxos.ReplicaID
		want          string
	}{
		{3, 1, 1, 3, 1, "none"},
		{4, 1, 1, 3, 1, "f=1 e=1 turn 0"},
		{4, 1, 1, 3, 4, "f=1 e=1 turn 2"},
		{5, 2, 2, 1, 5, "f=1 e=1 turn 3"},
		{5, 1, 0, 1, 2, "f=1 e=0 turn 0"},
		{5, 0, 0, 1, 2, "none"},
		{7, 3, 3, 1, 2, "f=2 e=2 turn 0"},
		{5, 2, 2, 1, 1, "none"},
		{5, 2, 2, 9, 1, "none"},
	} {
		got := "none"
		if next, turn := server.WithoutLaggard(members(c.n, c.f, c.e), c.laggard, c.self); next != nil {
			got = fmt.Sprintf("f=%d e=%d turn %d", next.F, next.E, turn)
			if err := next.Validate(); err != nil || next.Epoch != 8 || len(next.Voters) != c.n-1 {
				t.Errorf("%+v: %+v, %v", c, next, err)
			}
		}
		if got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// TestScrubFindsDamage: what is damaged while a replica runs ends it, and the directory is not used again.
func TestScrubFindsDamage(t *testing.T) {
	ctx := testContext(t)
	c := startCluster(t, 1)
	c.tune = func(config *server.Config) { config.ScrubPeriod = time.Millisecond }
	c.startAll()
	s := c.servers[0]
	for s.StatusNow().Scrubs == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	config, err := server.Load(c.layout.Configs[0])
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(config.Dir, "identity")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Done():
	case <-ctx.Done():
		t.Fatal("damage goes unnoticed")
	}
	if err := s.Err(); !errors.Is(err, server.ErrDamaged) {
		t.Errorf("it ended with %v", err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Open(config, execution.KV{}); !errors.Is(err, server.ErrCondemned) {
		t.Errorf("started again: %v", err)
	}
	c.servers[0] = nil
}
