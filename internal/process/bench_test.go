package process

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// BenchmarkServe puts 64-byte values on uniform keys through three real processes, in a closed loop of
// 1 and of 256 clients spread over them, and reports the processor time of the servers for 1,000 puts
// beside the rate and the latency.
func BenchmarkServe(b *testing.B) {
	for _, load := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("clients=%d", load), func(b *testing.B) {
			c := newCluster(b, 3)
			c.ctx = b.Context()
			for _, r := range c.replicas {
				r.start()
			}
			client := c.dial()
			puts(b, client, load, 200) // warm-up
			before := c.cpu()
			b.ResetTimer()
			latencies := puts(b, client, load, b.N)
			b.StopTimer()
			slices.Sort(latencies)
			b.ReportMetric((c.cpu()-before)/float64(b.N)*1000, "server-cpu-s/1000")
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
				if _, err := start(b.Context(), client, replica, &put).wait(); err != nil {
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

// cpu is the processor time that the servers have used, in seconds.
func (c *cluster) cpu() float64 {
	ticks := 0
	for _, r := range c.replicas {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.cmd.Process.Pid))
		if err != nil {
			c.t.Skip("the processor time of processes is read from /proc: ", err)
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		for _, field := range fields[11:13] { // utime and stime, in hundredths of a second
			n, err := strconv.Atoi(field)
			if err != nil {
				c.t.Fatal(err)
			}
			ticks += n
		}
	}
	return float64(ticks) / 100
}
