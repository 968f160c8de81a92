package process

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/process/cluster"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// BenchmarkServe puts 64-byte values on uniform keys through three real processes, in a closed loop of
// 1 and of 256 clients spread over them, and reports the processor time of the servers for 1,000 puts
// beside the rate and the latency.
func BenchmarkServe(b *testing.B) {
	for _, load := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("clients=%d", load), func(b *testing.B) {
			c := startCluster(b, 3)
			client, err := c.Dial(b.Context(), 1)
			if err != nil {
				b.Fatal(err)
			}
			defer client.Close()       //nolint:errcheck // every answer is here
			puts(b, client, load, 200) // warm-up
			before := processorTime(b, c)
			b.ResetTimer()
			latencies := puts(b, client, load, b.N)
			b.StopTimer()
			slices.Sort(latencies)
			b.ReportMetric((processorTime(b, c)-before)/float64(b.N)*1000, "server-cpu-s/1000")
			b.ReportMetric(float64(latencies[len(latencies)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(latencies[len(latencies)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
		})
	}
}

// puts shares n puts among the clients of a closed loop and returns how long each took.
func puts(b *testing.B, client *clients.Client, load, n int) []time.Duration {
	b.Helper()
	var mu sync.Mutex
	var all []time.Duration
	var group sync.WaitGroup
	for i := range load {
		group.Go(func() {
			replica := epaxos.ReplicaID(i%3 + 1)
			value := make([]byte, 64)
			var own []time.Duration
			for range max(1, n/load) {
				put := wire.Op{Kind: wire.OpPut, Key: fmt.Appendf(nil, "k%07d", rand.IntN(100_000)), Value: value}
				began := time.Now()
				request := clients.Request{Payload: wire.AppendOp(nil, &put), Replica: replica}
				if _, err := client.Start(b.Context(), request).Wait(); err != nil {
					b.Error(err)
					return
				}
				own = append(own, time.Since(began))
			}
			mu.Lock()
			all = append(all, own...)
			mu.Unlock()
		})
	}
	group.Wait()
	return all
}

// processorTime is what the servers have used, in seconds.
func processorTime(b *testing.B, c *cluster.Cluster) (sum float64) {
	for _, r := range c.Replicas {
		used, err := r.CPU()
		if err != nil {
			b.Skip("the processor time of processes is read from /proc: ", err)
		}
		sum += used
	}
	return sum
}
