package clients_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/clients/gateway"
)

// serveTable runs one replica of a key-value machine for the examples.
func serveTable() (endpoint string, stop func()) {
	listener, err := quic.ListenAddr("127.0.0.1:0", serverTLS, nil)
	if err != nil {
		log.Fatal(err)
	}
	g := gateway.New(gateway.Config{Proposer: newMachine(), Cluster: cluster, Replica: 1})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept(context.Background())
			if err != nil {
				return
			}
			go g.Serve(conn)
		}
	}()
	return listener.Addr().String(), func() {
		g.Close()
		listener.Close()
		<-done
	}
}

func Example() {
	endpoint, stop := serveTable()
	defer stop()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := clients.Dial(ctx, []string{endpoint}, clients.WithTLS(clientTLS))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	if _, err := client.Put(ctx, "colour", []byte("blue")); err != nil {
		log.Fatal(err)
	}
	got, err := client.Get(ctx, "colour")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, version %d\n", got.Value, got.Version)
	// Output: blue, version 1
}

func ExampleClient_Txn() {
	endpoint, stop := serveTable()
	defer stop()
	ctx := context.Background()
	client, err := clients.Dial(ctx, []string{endpoint}, clients.WithTLS(clientTLS))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	// Take the lock if nobody has it, and count how often it was taken.
	take := func(owner string) {
		result, err := client.Txn(ctx).
			If(clients.CompareVersion("lock", clients.Equal, 0)).
			Then(clients.OpPut("lock", []byte(owner)), clients.OpIncrement("taken", 1)).
			Else(clients.OpGet("lock")).
			Commit()
		switch {
		case err != nil:
			log.Fatal(err)
		case result.Succeeded:
			fmt.Printf("%s has the lock\n", owner)
		default:
			fmt.Printf("%s must wait for %s\n", owner, result.Results[0].Value)
		}
	}
	take("ann")
	take("bob")
	// Output:
	// ann has the lock
	// bob must wait for ann
}

// A compare-and-set by version may be repeated after an unknown outcome: of all copies with one
// version at most one succeeds.
func ExampleClient_CompareVersionAndSet() {
	endpoint, stop := serveTable()
	defer stop()
	ctx := context.Background()
	client, err := clients.Dial(ctx, []string{endpoint}, clients.WithTLS(clientTLS))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	now, err := client.Get(ctx, "greeting")
	if err != nil {
		log.Fatal(err)
	}
	next := append(now.Value, "hello"...)
	result, err := client.CompareVersionAndSet(ctx, "greeting", now.Version, next)
	for errors.Is(err, clients.ErrOutcomeUnknown) {
		result, err = client.CompareVersionAndSet(ctx, "greeting", now.Version, next)
	}
	switch {
	case err != nil:
		log.Fatal(err)
	case result.Succeeded, result.Version == now.Version+1 && bytes.Equal(result.Value, next):
		fmt.Println("version", result.Version) // the second case: an earlier copy did it
	default:
		fmt.Println("somebody else was faster")
	}
	// Output: version 1
}

// Submit keeps many operations under way from one goroutine.
func ExampleClient_Submit() {
	endpoint, stop := serveTable()
	defer stop()
	ctx := context.Background()
	client, err := clients.Dial(ctx, []string{endpoint}, clients.WithTLS(clientTLS))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	var futures []*clients.Future
	for range 128 {
		futures = append(futures, client.Submit(ctx, []byte("any payload")))
	}
	refused := 0
	for _, f := range futures {
		if _, err := f.Wait(); errors.Is(err, clients.ErrInvalid) {
			refused++
		}
	}
	fmt.Println(refused, "refused: the key-value machine does not know such a payload")
	// Output: 128 refused: the key-value machine does not know such a payload
}
