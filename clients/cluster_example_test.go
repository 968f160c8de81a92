package clients_test

import (
	"context"
	"crypto/tls"
	"errors"
	"expvar"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/bootstrap"
	"github.com/264bc8cf/epaxos/server"
)

// exampleCluster is three replicas in this process, over QUIC on loopback, with disks: those that the examples speak
// to. It starts with the first that does.
var exampleCluster struct {
	once     sync.Once
	replicas []*server.Server
	dir      string
	access   bootstrap.Access
}

// cluster3 returns the endpoints of the examples' cluster, and how to be let in.
func cluster3() (endpoints []string, config *tls.Config) {
	c := &exampleCluster
	c.once.Do(func() {
		var addrs []string
		var conns []net.PacketConn
		for range 3 {
			conn := must(net.ListenPacket("udp", "127.0.0.1:0"))
			conns, addrs = append(conns, conn), append(addrs, conn.LocalAddr().String())
		}
		c.dir = must(os.MkdirTemp("", "epaxos-examples-*"))
		for i, file := range must(server.Init(filepath.Join(c.dir, "cluster"), addrs...)) {
			config := must(server.Load(file))
			config.Conn = conns[i]
			c.replicas = append(c.replicas, must(server.Open(config, execution.KV{})))
		}
		c.access = must(bootstrap.LoadAccess(filepath.Join(c.dir, "cluster", "client.yaml")))
	})
	return c.access.Endpoints, c.access.TLS
}

// withExamples runs the tests and then ends what the examples have left running, so that a goroutine which is there
// afterwards is one too many.
type withExamples struct{ *testing.M }

func (w withExamples) Run() int {
	code := w.M.Run()
	for _, r := range exampleCluster.replicas {
		if err := r.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "close a replica:", err)
			code = 1
		}
	}
	if exampleCluster.dir != "" {
		_ = os.RemoveAll(exampleCluster.dir) // what stays is in a directory for temporary files
	}
	return code
}

// dial3 connects to the examples' cluster.
func dial3(options ...clients.Option) *clients.Client {
	endpoints, config := cluster3()
	return must(clients.Dial(context.Background(), endpoints, append(options, clients.WithTLS(config))...))
}

// One endpoint is enough; the replicas tell the others.
func ExampleDial() {
	endpoints, config := cluster3() // the addresses of replicas; the client's certificate and the cluster's authority
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := clients.Dial(ctx, endpoints[:1],
		clients.WithTLS(config), clients.WithName("example"), clients.WithTimeout(5*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	if _, err := client.Put(ctx, "dialled", []byte("yes")); err != nil {
		log.Fatal(err)
	}
	for _, replica := range client.Replicas() {
		if replica.Current {
			fmt.Println("one of the replicas serves this client: the nearest")
		}
	}
	// Output: one of the replicas serves this client: the nearest
}

// The operations of a batch go out together and end one by one, in no order; where all or none are to take effect, use
// Txn.
func ExampleClient_Batch() {
	client := dial3()
	defer client.Close()

	results, err := client.Batch(context.Background()).
		Add(clients.OpPut("batch/a", []byte("1")), clients.OpPut("batch/b", []byte("x"))).
		Add(clients.OpAdd("batch/n", 5), clients.OpIncrement("batch/none", 1)).
		Do()
	if err != nil {
		log.Fatal(err) // of the first that failed; each result has its own
	}
	fmt.Printf("%d results, the last is %s\n", len(results), results[3].Value)
	// Output: 4 results, the last is 1
}

// Begin returns at once, unless as many operations as WithInFlight allows are open: then it waits until one ends. So one
// goroutine keeps many under way, and is slowed down to what the cluster can do.
func ExampleClient_Begin() {
	client := dial3(clients.WithInFlight(16))
	defer client.Close()
	ctx := context.Background()

	var under []*clients.Pending
	for range 100 {
		under = append(under, client.Begin(ctx, clients.OpAdd("begun", 1)))
	}
	for _, p := range under {
		if _, err := p.Wait(); err != nil { // or select on p.Done()
			log.Fatal(err)
		}
	}
	fmt.Printf("%s\n", must(client.Get(ctx, "begun")).Value)
	// Output: 100
}

// A client shows what it has written and read itself, at any replica. What others did it shows by their token.
func ExampleClient_Token() {
	writer, reader := dial3(), dial3()
	defer writer.Close()
	defer reader.Close()
	ctx := context.Background()

	must(writer.Put(ctx, "token/colour", []byte("blue")))
	text := must(writer.Token().MarshalText()) // into a cookie, a message, a file

	var token clients.Token
	if err := token.UnmarshalText(text); err != nil {
		log.Fatal(err)
	}
	for replica := clients.ReplicaID(1); replica <= 3; replica++ {
		colour := must(reader.Get(ctx, "token/colour", token, clients.At(replica)))
		fmt.Printf("replica %d: %s\n", colour.Replica, colour.Value)
	}
	reader.Observe(token) // from here on, all session reads of this client show it
	fmt.Printf("%s\n", must(reader.Get(ctx, "token/colour", clients.Session)).Value)
	// Output:
	// replica 1: blue
	// replica 2: blue
	// replica 3: blue
	// blue
}

// Each read may choose what it has to show; less takes less time.
func ExampleConsistency() {
	client := dial3()
	defer client.Close()
	ctx := context.Background()

	must(client.Put(ctx, "choice", []byte("made")))
	for _, how := range []clients.ReadOption{clients.Linearizable, clients.Session} {
		fmt.Printf("%s\n", must(client.Get(ctx, "choice", how)).Value)
	}
	// A stale read may lack what this client has written. It shows all that was answered anywhere before its age, which
	// is negative where the replica cannot tell.
	if result := must(client.Get(ctx, "choice", clients.Stale)); result.Age > time.Minute {
		fmt.Println("too old")
	}
	page := must(client.Range(ctx, clients.Prefix("choice"), clients.Session))
	fmt.Println(page.Count, "key")
	// Output:
	// made
	// made
	// 1 key
}

// A name makes a change take effect once, though the program that makes it crashes and starts again.
func ExampleNamedRequest() {
	client := dial3()
	defer client.Close()
	ctx := context.Background()

	session := must(client.OpenSession(ctx, time.Minute)) // write it down before the first change
	payDay := clients.RequestID{Session: session, Number: 1}
	for range 3 { // each time the program starts
		salary := must(client.Increment(clients.NamedRequest(ctx, payDay), "named/salary", 100))
		fmt.Printf("%s\n", salary.Value)
	}
	// Output:
	// 100
	// 100
	// 100
}

// Whoever knows the name of a request finds out what became of it, and that stays so: here, the request is not on its
// way any more, or never was.
func ExampleClient_Outcome() {
	client := dial3()
	defer client.Close()
	ctx := context.Background()

	session := must(client.OpenSession(ctx, time.Minute))
	first, second := clients.RequestID{Session: session, Number: 1}, clients.RequestID{Session: session, Number: 2}
	must(client.Increment(clients.NamedRequest(ctx, first), "outcome/n", 1))

	for _, id := range []clients.RequestID{first, second} {
		resolution, err := client.Outcome(ctx, id)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("request %d: %v\n", id.Number, resolution.Outcome)
	}
	_, err := client.Increment(clients.NamedRequest(ctx, second), "outcome/n", 1)
	fmt.Println("sent after all:", clients.OutcomeOf(err))
	fmt.Printf("%s\n", must(client.Get(ctx, "outcome/n")).Value)
	// Output:
	// request 1: applied
	// request 2: not applied
	// sent after all: not applied
	// 1
}

// An error says what became of the operation.
func ExampleOutcomeOf() {
	client := dial3()
	defer client.Close()
	ctx := context.Background()

	must(client.Put(ctx, "word", []byte("blue")))
	_, err := client.Increment(ctx, "word", 1)
	switch clients.OutcomeOf(err) {
	case clients.Applied: // err is nil, or only the answer is missing
	case clients.NotApplied:
		fmt.Println("not applied; no number:", errors.Is(err, clients.ErrWrongType))
	case clients.Unknown: // Client.Outcome tells
	}
	// Output: not applied; no number: true
}

// Counters and times of all operations, for anything that reads expvar.
func ExampleWithObserver() {
	operations := new(expvar.Map) // expvar.NewMap("epaxos") where a server publishes it
	observer := func(context.Context, clients.Kind) func(clients.Report) {
		return func(r clients.Report) {
			operations.Add(r.Kind.String(), 1)
			operations.AddFloat(r.Kind.String()+"_seconds", r.Took.Seconds())
			if r.Err != nil {
				operations.Add(r.Kind.String()+"_failed", 1)
			}
			operations.Add("retries", int64(max(r.Copies-1, 0)))
		}
	}
	client := dial3(clients.WithObserver(observer), clients.WithoutSession())
	ctx := context.Background()
	for range 3 {
		must(client.Put(ctx, "observed", []byte("x")))
	}
	must(client.Get(ctx, "observed"))
	hurried, cancel := context.WithCancel(ctx)
	cancel()
	_, _ = client.Put(hurried, "observed", []byte("y"))
	client.Close()
	fmt.Println(operations.Get("command"), "commands,", operations.Get("command_failed"), "failed")
	fmt.Println(operations.Get("read"), "read")
	// Output:
	// 4 commands, 1 failed
	// 1 read
}

// span and tracer have the shape of OpenTelemetry's: tracer.Start(ctx, name) and span.End().
type span struct {
	name       string
	attributes []string
}

func (s *span) SetAttributes(all ...string) { s.attributes = append(s.attributes, all...) }

func (s *span) End() { fmt.Println(s.name, strings.Join(s.attributes, " ")) }

type parentKey struct{}

func startSpan(ctx context.Context, name string) *span {
	parent, _ := ctx.Value(parentKey{}).(string)
	return &span{name: parent + "/" + name}
}

// A span for each operation, below the one that its context carries, without a library that the client knows of.
func ExampleWithObserver_tracing() {
	observer := func(ctx context.Context, kind clients.Kind) func(clients.Report) {
		span := startSpan(ctx, "epaxos."+kind.String())
		return func(r clients.Report) {
			span.SetAttributes(fmt.Sprintf("sent=%t", r.Copies > 0)) // Reply.Fast, Reply.Replica, Took …
			if r.Err != nil {
				span.SetAttributes("error=" + r.Err.Error())
			}
			span.End()
		}
	}
	client := dial3(clients.WithObserver(observer), clients.WithoutSession())
	defer client.Close()
	ctx := context.WithValue(context.Background(), parentKey{}, "request 17")
	must(client.Put(ctx, "traced", []byte("x")))
	must(client.Get(ctx, "traced"))
	// Output:
	// request 17/epaxos.command sent=true
	// request 17/epaxos.read sent=true
}
