package server_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/bootstrap"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/server"
)

// cluster is a real one on loopback, in this process.
type cluster struct {
	tb      testing.TB
	layout  bootstrap.Layout
	servers []*server.Server
	tune    func(*server.Config) // of every replica; nil is as it is
}

func startCluster(tb testing.TB, replicas int) *cluster {
	tb.Helper()
	addrs := make([]string, replicas)
	for i := range addrs {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		addrs[i] = conn.LocalAddr().String()
		defer conn.Close() //nolint:errcheck // held only to make the ports distinct
	}
	layout, err := bootstrap.Init(bootstrap.Options{Dir: filepath.Join(tb.TempDir(), "cluster"), Addrs: addrs})
	if err != nil {
		tb.Fatal(err)
	}
	return &cluster{tb: tb, layout: layout, servers: make([]*server.Server, replicas)}
}

func (c *cluster) startAll() {
	for i := range c.servers {
		c.start(i)
	}
	c.tb.Cleanup(func() {
		for _, s := range c.servers {
			if s != nil {
				s.Close() //nolint:errcheck // the test has judged it already
			}
		}
	})
}

func (c *cluster) start(i int) {
	c.tb.Helper()
	config, err := server.Load(c.layout.Configs[i])
	if err != nil {
		c.tb.Fatal(err)
	}
	if c.tune != nil {
		c.tune(&config)
	}
	if c.servers[i], err = server.Open(config, execution.KV{}); err != nil {
		c.tb.Fatal(err)
	}
}

func (c *cluster) dial(ctx context.Context, options ...clients.Option) *clients.Client {
	c.tb.Helper()
	access, err := bootstrap.LoadAccess(c.layout.Profile)
	if err != nil {
		c.tb.Fatal(err)
	}
	options = append([]clients.Option{clients.WithTLS(access.TLS), clients.WithCluster(access.Cluster)}, options...)
	client, err := clients.Dial(ctx, access.Endpoints, options...)
	if err != nil {
		c.tb.Fatal(err)
	}
	c.tb.Cleanup(func() { client.Close() }) //nolint:errcheck // nothing is open any more
	return client
}

// settle waits until all replicas have executed the same and nothing is open, and compares their states.
func (c *cluster) settle(ctx context.Context) {
	c.tb.Helper()
	for {
		digests := make([]server.Digest, len(c.servers))
		equal := true
		for i, s := range c.servers {
			d, err := s.Digest()
			if err != nil {
				c.tb.Fatal(err)
			}
			digests[i] = d
			equal = equal && d.Idle && fmt.Sprint(d.Executed) == fmt.Sprint(digests[0].Executed)
		}
		if equal {
			for i := range digests {
				if digests[i].State != digests[0].State {
					c.tb.Fatalf("replica %d has another state than replica 1", i+1)
				}
			}
			return
		}
		select {
		case <-ctx.Done():
			c.tb.Fatalf("the replicas do not come to rest: %+v", digests)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestClusterSurvivesAbort: a replica stops as in a crash and comes back; all that was answered is there.
func TestClusterSurvivesAbort(t *testing.T) {
	ctx := testContext(t)
	c := startCluster(t, 3)
	c.startAll()
	client := c.dial(ctx)
	put := func(from, to int) {
		for i := from; i < to; i++ {
			if _, err := client.Put(ctx, fmt.Sprintf("k%d", i), fmt.Appendf(nil, "v%d", i)); err != nil {
				t.Fatalf("put %d: %v", i, err)
			}
		}
	}
	put(0, 100)
	c.servers[2].Abort()
	put(100, 200)
	c.start(2)
	put(200, 300)
	c.settle(ctx)
	for i := range c.servers {
		c.servers[i].Abort()
	}
	for i := range c.servers {
		c.start(i)
	}
	for i := range 300 {
		r, err := client.Get(ctx, fmt.Sprintf("k%d", i))
		if err != nil || string(r.Value) != fmt.Sprintf("v%d", i) {
			t.Fatalf("get %d: %q, %v", i, r.Value, err)
		}
	}
	c.settle(ctx)
}

// TestEmbeddedExecute: a program that embeds a replica needs no client.
func TestEmbeddedExecute(t *testing.T) {
	ctx := testContext(t)
	c := startCluster(t, 1)
	c.startAll()
	op := wire.Op{Kind: wire.OpIncrement, Key: []byte("n"), Delta: 41}
	for {
		reply, err := c.servers[0].Execute(ctx, wire.AppendOp(nil, &op))
		if err != nil {
			t.Fatal(err)
		}
		result, err := wire.DecodeResult(reply.Result)
		if err != nil || string(result.Value) != "41" || reply.Outcome != server.Applied {
			t.Fatalf("result %+v, outcome %v, %v", result, reply.Outcome, err)
		}
		break
	}
	if _, err := c.servers[0].Execute(ctx, []byte("garbage")); err == nil {
		t.Error("garbage was executed")
	}
}

// TestWipedDirectory: an empty directory is refused, and one whose replica peers have heard of stops
// instead of voting.
func TestWipedDirectory(t *testing.T) {
	ctx := testContext(t)
	c := startCluster(t, 3)
	c.startAll()
	client := c.dial(ctx)
	if _, err := client.Put(ctx, "a", []byte("b")); err != nil {
		t.Fatal(err)
	}
	c.settle(ctx)
	c.servers[1].Abort()
	config, err := server.Load(c.layout.Configs[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(config.Dir); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Open(config, execution.KV{}); err == nil {
		t.Fatal("a replica started on no directory")
	}
}

func BenchmarkPut(b *testing.B) {
	for _, replicas := range []int{3, 5} {
		b.Run(fmt.Sprintf("replicas=%d", replicas), func(b *testing.B) { benchmarkPut(b, replicas, 128) })
		b.Run(fmt.Sprintf("replicas=%d/unnamed", replicas), func(b *testing.B) {
			benchmarkPut(b, replicas, 128, clients.WithoutSession())
		})
	}
}

// benchmarkPut keeps inFlight puts open at each replica, each through a client of its own.
func benchmarkPut(b *testing.B, replicas, inFlight int, options ...clients.Option) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	c := startCluster(b, replicas)
	c.startAll()
	value := make([]byte, 64)
	done := make(chan error, replicas*inFlight)
	var all []*clients.Client
	for range replicas {
		all = append(all, c.dial(ctx, options...))
	}
	if _, err := all[0].Put(ctx, "warm", value); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	began := cpuSeconds()
	for i, client := range all {
		for j := range inFlight {
			go func() {
				var err error
				key := fmt.Sprintf("c%d-%d", i, j)
				share := b.N / (replicas * inFlight)
				for n := 0; n < max(1, share) && err == nil; n++ {
					payload := wire.AppendOp(nil, &wire.Op{Kind: wire.OpPut, Key: []byte(key), Value: value})
					_, err = client.Start(ctx, clients.Request{Payload: payload, Replica: epaxos.ReplicaID(i + 1)}).Wait()
				}
				done <- err
			}()
		}
	}
	for range replicas * inFlight {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric((cpuSeconds()-began)*1e6/float64(b.N), "cpu-us/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	groups := uint64(0)
	for _, s := range c.servers {
		groups += s.Status().Groups
	}
	b.ReportMetric(float64(b.N)*float64(replicas)/float64(groups), "ops/group")
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

// BenchmarkRest tells what three replicas at rest in one process cost, as a share of one core.
func BenchmarkRest(b *testing.B) {
	c := startCluster(b, 3)
	c.startAll()
	time.Sleep(2 * time.Second)
	for b.Loop() {
		began, cpu := time.Now(), cpuSeconds()
		time.Sleep(10 * time.Second)
		b.ReportMetric(100*(cpuSeconds()-cpu)/time.Since(began).Seconds(), "%core")
	}
}

// TestAFaultFallsSilent: a replica that a fault stops leaves the network by itself, so that its peers
// suspect it and clients go elsewhere.
func TestAFaultFallsSilent(t *testing.T) {
	ctx := testContext(t)
	c := startCluster(t, 3)
	c.startAll()
	client := c.dial(ctx)
	if _, err := client.Put(ctx, "a", []byte("b")); err != nil {
		t.Fatal(err)
	}
	c.servers[0].Fault()
	<-c.servers[0].Done()
	for silent := false; !silent; {
		for _, p := range c.servers[1].Status().Peers {
			silent = silent || p.Replica == 1 && (p.Suspected || !p.Up)
		}
		select {
		case <-ctx.Done():
			t.Fatal("the peers still hear the replica that stopped")
		case <-time.After(20 * time.Millisecond):
		}
	}
	if r, err := client.Get(ctx, "a"); err != nil || string(r.Value) != "b" || r.Replica == 1 {
		t.Errorf("get after the fault: %+v, %v", r, err)
	}
	config, err := server.Load(c.layout.Configs[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Open(config, execution.KV{}); !errors.Is(err, server.ErrCondemned) {
		t.Errorf("started again on a directory that has forgotten: %v", err)
	}
}
