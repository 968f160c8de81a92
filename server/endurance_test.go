package server_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/server"
)

var (
	endure   = flag.Int("commands", 0, "commands of TestEndurance; 0 is few")
	every    = flag.Int("every", 500_000, "commands between two lines of TestEndurance")
	conflict = flag.Float64("conflict", 2, "percent of the commands of TestEndurance that go to one key")
)

// endurance is one line of TestEndurance: what has happened, and what it takes to remember it.
type endurance struct {
	Commands  int64   `json:"commands"`
	Seconds   float64 `json:"seconds"`
	HeapBytes uint64  `json:"heap_bytes"` // of all replicas, in use after a collection
	DiskBytes uint64  `json:"disk_bytes"` // of the largest data directory
	LogBytes  uint64  `json:"log_bytes"`  // of the longest log
	Groups    uint64  `json:"groups"`     // that were saved by the replica with most,
	Kept      uint64  `json:"kept"`       // and that some replica keeps at most
	Fast      float64 `json:"fast"`       // share of the instances
}

func (c *cluster) endurance(commands int64, since time.Time) endurance {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	e := endurance{Commands: commands, Seconds: time.Since(since).Seconds(), HeapBytes: m.HeapAlloc}
	var fast, led uint64
	for _, s := range c.servers {
		status := s.StatusNow()
		e.DiskBytes, e.LogBytes = max(e.DiskBytes, status.DiskBytes), max(e.LogBytes, status.LogBytes)
		e.Groups, e.Kept = max(e.Groups, status.Groups), max(e.Kept, status.Groups+1-status.GroupFirst)
		fast += status.Fast
		led += status.Fast + status.Slow
	}
	e.Fast = float64(fast) / float64(max(led, 1))
	return e
}

// TestEndurance writes for as long as it is told, and prints what memory and disk that takes. However long
// that was, at rest the replicas have forgotten it all, and one that crashes comes back on what is kept.
func TestEndurance(t *testing.T) {
	commands := *endure
	if commands == 0 {
		commands = 20_000
		if testing.Short() {
			commands = 5000
		}
	}
	c := startCluster(t, 3)
	c.startAll()
	c.write(t, commands)

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c.settle(ctx)
	c.forgotten(ctx, t)
	c.servers[1].Abort()
	c.start(1)
	c.write(t, 500)
	c.settle(ctx)
	for i, s := range c.servers {
		if status := s.StatusNow(); status.Malformed > 0 {
			t.Errorf("replica %d called %d messages malformed", i+1, status.Malformed)
		}
	}
}

// write has many writers at each replica.
func (c *cluster) write(t *testing.T, commands int) {
	const writers, keys = 200, 10_000
	var done atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for i := range writers * len(c.servers) {
		s := c.servers[i%len(c.servers)]
		all.Go(func() {
			draw := rand.New(rand.NewPCG(uint64(i), 1)) //nolint:gosec // reproducible
			value := make([]byte, 64)
			for {
				n := done.Add(1)
				if n > int64(commands) {
					return
				}
				key := fmt.Sprintf("k%d", draw.IntN(keys))
				if draw.Float64()*100 < *conflict {
					key = "hot"
				}
				op := wire.Op{Kind: wire.OpPut, Key: []byte(key), Value: value}
				if !c.put(t, s, wire.AppendOp(nil, &op)) {
					return
				}
				if n%int64(*every) == 0 {
					line, err := json.Marshal(c.endurance(n, began))
					if err != nil {
						t.Error(err)
					}
					fmt.Println(string(line))
				}
			}
		})
	}
	all.Wait()
	line, _ := json.Marshal(c.endurance(int64(commands), began)) //nolint:errcheck // numbers
	t.Logf("%s", line)
}

// put tries again where the replica is still to hear from a quorum.
func (c *cluster) put(t *testing.T, s *server.Server, payload []byte) bool {
	for t.Context().Err() == nil {
		reply, err := s.Execute(t.Context(), payload)
		if err == nil {
			return true
		}
		if reply.Outcome != server.NotApplied {
			t.Error(err)
			return false
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

// forgotten waits until nothing is left of what was executed, but for less than is worth a deletion.
func (c *cluster) forgotten(ctx context.Context, t *testing.T) {
	const keptMax = 500
	for {
		pending := ""
		for i, s := range c.servers {
			status := s.StatusNow()
			kept := status.Groups + 1 - status.GroupFirst
			if fmt.Sprint(status.Truncated) != fmt.Sprint(status.Tops) || status.Held > 0 || kept > keptMax {
				pending += fmt.Sprintf("replica %d: truncated %v of %v, %d groups kept, held back by %d\n", i+1,
					status.Truncated, status.Tops, kept, status.HeldBy)
			}
		}
		if pending == "" {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(pending)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
