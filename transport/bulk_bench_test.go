package transport

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// chunkBytes is a chunk of a state in transfer.
const chunkBytes = 256 << 10

// BenchmarkBesideBulk is the round trip of a 100-byte body between two replicas, one in flight, while one
// of them sends the other chunks as fast as it can, or as one that asks for the next when it has one.
// Compare p50 and p99 with those of "alone".
func BenchmarkBesideBulk(b *testing.B) {
	for _, c := range []struct {
		name   string
		window int64 // chunks under way
		rate   int   // bytes per second; 0 is the default
	}{
		{"alone", 0, 0}, {"asked one by one", 1, 0}, {"flood", 1 << 30, 0}, {"flood, not paced", 1 << 30, 1 << 40},
	} {
		b.Run(c.name, func(b *testing.B) { besideBulk(b, c.window, c.rate) })
	}
}

func besideBulk(b *testing.B, window int64, rate int) {
	bed := newBed(b, 2)
	pong := make(chan struct{}, 1)
	var chunks atomic.Int64
	var two *replica
	ready := make(chan struct{})
	two = bed.start(2, func(c *Config) {
		c.Receive = func(from epaxos.ReplicaID, body []byte) {
			if len(body) == chunkBytes {
				chunks.Add(1)
				return
			}
			<-ready
			two.Send(from, 0, body)
		}
	})
	close(ready)
	one := bed.start(1, func(c *Config) {
		c.BulkBytesPerSecond = rate
		c.Receive = func(epaxos.ReplicaID, []byte) { pong <- struct{}{} }
	})
	next(b, one.ups, "peer")
	next(b, two.ups, "peer")
	done := make(chan struct{})
	var sender sync.WaitGroup
	sender.Go(func() { sendChunks(one.Host, &chunks, window, done) })
	body := make([]byte, 100)
	times := make([]time.Duration, 0, 1<<16)
	begun, before := time.Now(), chunks.Load()
	b.ResetTimer()
	for b.Loop() {
		start := time.Now()
		one.Send(2, 0, body)
		<-pong
		times = append(times, time.Since(start))
	}
	took := time.Since(begun)
	close(done)
	sender.Wait()
	slices.Sort(times)
	for _, percent := range []int{50, 99} {
		b.ReportMetric(float64(times[len(times)*percent/100].Microseconds()), fmt.Sprintf("p%d-µs", percent))
	}
	b.ReportMetric(float64((chunks.Load()-before)*chunkBytes)/1e6/took.Seconds(), "bulk-MB/s")
	b.ReportMetric(0, "ns/op")
}

// sendChunks keeps at most window chunks under way.
func sendChunks(one *Host, arrived *atomic.Int64, window int64, done <-chan struct{}) {
	chunk := make([]byte, chunkBytes)
	for sent := int64(0); window > 0; {
		select {
		case <-done:
			return
		default:
		}
		if sent-arrived.Load() < window && one.SendBulk(2, chunk) {
			sent++
		} else {
			time.Sleep(100 * time.Microsecond)
		}
	}
}
