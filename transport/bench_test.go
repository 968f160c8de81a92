package transport

import (
	"bytes"
	"encoding/binary"
	"sync/atomic"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// BenchmarkPingPong is the round trip of a 100-byte body between two replicas, one in flight.
func BenchmarkPingPong(b *testing.B) {
	bed := newBed(b, 2)
	pong := make(chan struct{}, 1)
	var two *replica
	ready := make(chan struct{})
	two = bed.start(2, func(c *Config) {
		c.Receive = func(from epaxos.ReplicaID, body []byte) {
			<-ready
			two.Send(from, 0, body)
		}
	})
	close(ready)
	one := bed.start(1, func(c *Config) {
		c.Receive = func(epaxos.ReplicaID, []byte) { pong <- struct{}{} }
	})
	next(b, one.ups, "peer")
	next(b, two.ups, "peer")
	body := make([]byte, 100)
	b.ResetTimer()
	for b.Loop() {
		one.Send(2, 0, body)
		<-pong
	}
}

// BenchmarkFlood is the cost of a 150-byte message when a turn gathers 64 of them in one body.
// One operation is one message.
func BenchmarkFlood(b *testing.B) {
	const messages, messageBytes = 64, 150
	bed := newBed(b, 2)
	var received atomic.Uint64
	bed.start(2, func(c *Config) {
		c.Receive = func(_ epaxos.ReplicaID, body []byte) { received.Add(uint64(len(body) / messageBytes)) }
	})
	one := bed.start(1, nil)
	next(b, one.ups, "peer")
	body := bytes.Repeat(binary.BigEndian.AppendUint16(nil, 0xabcd), messages*messageBytes/2)
	b.SetBytes(messageBytes)
	b.ReportAllocs()
	b.ResetTimer()
	start := time.Now()
	for sent := 0; sent < b.N; sent += messages {
		for !one.Send(2, 0, body) {
			time.Sleep(50 * time.Microsecond)
		}
	}
	for received.Load() < uint64(b.N) {
		time.Sleep(50 * time.Microsecond)
	}
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "msgs/s")
}
