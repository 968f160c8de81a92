package clients_test

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/clients/gateway"
)

// loopback serves one replica on a real socket, and returns a client of it.
func loopback(t testing.TB, p gateway.Proposer, opts ...clients.Option) *clients.Client {
	t.Helper()
	packets, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(listen(t, packets, gateway.New(gateway.Config{Proposer: p, Cluster: cluster, Replica: 1})))
	opts = append([]clients.Option{clients.WithTLS(clientTLS), clients.WithoutSession()}, opts...)
	c, err := clients.Dial(context.Background(), []string{packets.LocalAddr().String()}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// instant answers every request within Propose.
type instant struct{}

func (instant) Propose(request gateway.Request, done func(gateway.Answer)) { echo(request, done) }

func TestOnARealSocket(t *testing.T) {
	c := loopback(t, instant{})
	for i := range 100 {
		payload := fmt.Appendf(nil, "command %d", i)
		reply, err := c.Do(t.Context(), payload)
		if err != nil || string(reply.Result) != string(payload) {
			t.Fatalf("%q, %v", reply.Result, err)
		}
	}
}

// BenchmarkEcho measures client, gateway and two QUIC stacks in one process, over loopback, with a
// proposer that costs nothing.
func BenchmarkEcho(b *testing.B) {
	for _, inFlight := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("inflight=%d", inFlight), func(b *testing.B) {
			c := loopback(b, instant{}, clients.WithInFlight(inFlight))
			payload := make([]byte, 100)
			var failed atomic.Int64
			slots := make(chan struct{}, inFlight)
			done := func(_ clients.Reply, err error) {
				if err != nil {
					failed.Add(1)
				}
				<-slots
			}
			b.ReportAllocs()
			for b.Loop() {
				slots <- struct{}{}
				c.Start(b.Context(), clients.Request{Payload: payload, Done: done})
			}
			for range inFlight {
				slots <- struct{}{}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
			if n := failed.Load(); n > 0 {
				b.Errorf("%d requests failed", n)
			}
		})
	}
}
