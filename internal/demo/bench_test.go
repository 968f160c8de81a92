package demo

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/internal/loopback"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// BenchmarkCluster is the throughput of replicas and clients together in one process, over QUIC on
// loopback, with every replica's saves synced to disk: puts of 64 bytes to distinct keys, 128 in
// flight at each replica.
func BenchmarkCluster(b *testing.B) {
	for _, replicas := range []int{3, 5} {
		b.Run(fmt.Sprintf("replicas=%d", replicas), func(b *testing.B) {
			benchmarkCluster(b, replicas, 128, put, clients.WithoutSession())
		})
	}
}

// BenchmarkWays compares, in the same manner, what writes with and without a name cost, and reads of one key by each
// consistency and as commands.
func BenchmarkWays(b *testing.B) {
	for _, replicas := range []int{3, 5} {
		for _, way := range []struct {
			name    string
			make    func(key, value []byte) clients.Request
			options []clients.Option
		}{
			{"put/once", put, nil},
			{"put/unnamed", put, []clients.Option{clients.WithoutSession()}},
			{"get/command", getByCommand, []clients.Option{clients.WithoutSession()}},
			{"get/linearizable", get(clients.Linearizable), nil},
			{"get/session", get(clients.Session), nil},
			{"get/stale", get(clients.Stale), nil},
		} {
			b.Run(fmt.Sprintf("replicas=%d/%s", replicas, way.name), func(b *testing.B) {
				benchmarkCluster(b, replicas, 128, way.make, way.options...)
			})
		}
	}
}

func put(key, value []byte) clients.Request {
	return clients.Request{Payload: wire.AppendOp(nil, &wire.Op{Kind: wire.OpPut, Key: key, Value: value})}
}

// getByCommand does not tell that it only reads.
func getByCommand(key, _ []byte) clients.Request {
	return clients.Request{Payload: wire.AppendOp(nil, &wire.Op{Kind: wire.OpGet, Key: key})}
}

func get(consistency clients.Consistency) func(key, value []byte) clients.Request {
	return func(key, value []byte) clients.Request {
		request := getByCommand(key, value)
		request.ReadOnly, request.Consistency = true, consistency
		return request
	}
}

func benchmarkCluster(
	b *testing.B, replicas, inFlight int, op func(key, value []byte) clients.Request, options ...clients.Option,
) {
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	c, err := newCluster(&Options{Replicas: replicas, RTT: RTTNone, Out: io.Discard}, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // the figures are taken
	if err := c.Meet(ctx); err != nil {
		b.Fatal(err)
	}
	programs := make([]*clients.Client, replicas)
	for i := range programs {
		if programs[i], err = dial(ctx, c, i, inFlight, options...); err != nil {
			b.Fatal(err)
		}
		defer programs[i].Close() //nolint:errcheck // likewise
		if err := c.Settle(ctx, i, programs[i]); err != nil {
			b.Fatal(err)
		}
	}
	var left, failed atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	before := loopback.CPUTime()
	var wg sync.WaitGroup
	for i, program := range programs {
		wg.Go(func() { pump(program, pumping{id: i, inFlight: inFlight, op: op}, &left, &failed) })
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(loopback.CPUTime()-before)/1e3/float64(b.N), "cpu-us/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
	if n := failed.Load(); n > 0 {
		b.Errorf("%d puts failed", n)
	}
}

// pumping says which operations, and how many at a time.
type pumping struct {
	id, inFlight int
	op           func(key, value []byte) clients.Request
}

// pump keeps a number of operations in flight until none are left.
func pump(program *clients.Client, p pumping, left, failed *atomic.Int64) {
	id, inFlight := p.id, p.inFlight
	slots := make(chan struct{}, inFlight)
	done := func(_ clients.Reply, err error) {
		if err != nil {
			failed.Add(1)
		}
		<-slots
	}
	value := make([]byte, valueBytes)
	// Twice as many keys as operations in flight, so that none meets its predecessor on a key.
	for i := 0; left.Add(-1) >= 0; i++ {
		slots <- struct{}{}
		request := p.op(fmt.Appendf(nil, "client %d key %d", id, i%(2*inFlight)), value)
		request.Done = done
		program.Start(context.Background(), request)
	}
	for range inFlight {
		slots <- struct{}{}
	}
}

// BenchmarkReadLatency is the median of what reads of one key take in five regions, by each consistency and as
// commands, while nobody writes the key, and while all regions do.
func BenchmarkReadLatency(b *testing.B) {
	for _, contended := range []bool{false, true} {
		b.Run(fmt.Sprintf("contended=%v", contended), func(b *testing.B) { benchmarkReads(b, contended) })
	}
}

func benchmarkReads(b *testing.B, contended bool) {
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	c, err := newCluster(&Options{Replicas: 5, RTT: RTTDefault, Out: io.Discard}, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // the figures are taken
	if err := c.Meet(ctx); err != nil {
		b.Fatal(err)
	}
	programs := make([]*clients.Client, 5)
	for i := range programs {
		if programs[i], err = dial(ctx, c, i, 16); err != nil {
			b.Fatal(err)
		}
		defer programs[i].Close() //nolint:errcheck // likewise
		if err := c.Settle(ctx, i, programs[i]); err != nil {
			b.Fatal(err)
		}
	}
	writing, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for _, program := range programs {
		if contended {
			wg.Go(func() {
				for writing.Err() == nil {
					program.Put(writing, "key", []byte("value")) //nolint:errcheck // it ends so
				}
			})
		}
	}
	ways := []struct {
		name string
		make func(key, value []byte) clients.Request
	}{
		{"command", getByCommand}, {"linearizable", get(clients.Linearizable)},
		{"session", get(clients.Session)}, {"stale", get(clients.Stale)},
	}
	took := make([][]time.Duration, len(ways)*len(programs))
	for b.Loop() {
		var each sync.WaitGroup
		for i, program := range programs {
			each.Go(func() {
				for j, way := range ways {
					began := time.Now()
					if _, err := program.Start(ctx, way.make([]byte("key"), nil)).Wait(); err != nil {
						b.Error(err)
					}
					took[i*len(ways)+j] = append(took[i*len(ways)+j], time.Since(began))
				}
			})
		}
		each.Wait()
	}
	stop()
	wg.Wait()
	for j, way := range ways {
		medians := ""
		for i := range programs {
			all := took[i*len(ways)+j]
			slices.Sort(all)
			medians += fmt.Sprintf("  %s %v", c.Region(i), all[len(all)/2].Round(time.Millisecond))
		}
		b.Logf("%-12s%s", way.name, medians)
	}
}
