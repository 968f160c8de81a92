package clients_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/264bc8cf/epaxos/clients"
)

// dialTable returns a client of a replica that runs the key-value machine.
func dialTable() (*clients.Client, func()) {
	endpoint, stop := serveTable()
	client, err := clients.Dial(context.Background(), []string{endpoint}, clients.WithTLS(clientTLS))
	if err != nil {
		log.Fatal(err)
	}
	return client, func() {
		client.Close()
		stop()
	}
}

// must is for examples only.
func must[T any](result T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return result
}

func ExampleClient_PutIfAbsent() {
	client, stop := dialTable()
	defer stop()
	ctx := context.Background()

	for _, name := range []string{"ann", "bob"} {
		result := must(client.PutIfAbsent(ctx, "captain", []byte(name)))
		fmt.Printf("%s: %t, version %d\n", name, result.Succeeded, result.Version)
	}
	fmt.Printf("%s\n", must(client.Get(ctx, "captain")).Value)
	// Output:
	// ann: true, version 1
	// bob: false, version 1
	// ann
}

func ExampleClient_Append() {
	client, stop := dialTable()
	defer stop()
	ctx := context.Background()

	must(client.Append(ctx, "log", []byte("started\n")))
	must(client.Append(ctx, "log", []byte("stopped\n")))
	fmt.Printf("%s", must(client.Get(ctx, "log")).Value)
	// Output:
	// started
	// stopped
}

func ExampleClient_Swap() {
	client, stop := dialTable()
	defer stop()
	ctx := context.Background()

	must(client.Put(ctx, "shift", []byte("ann")))
	old := must(client.Swap(ctx, "shift", []byte("bob")))
	fmt.Printf("bob takes over from %s\n", old.Value)
	// Output: bob takes over from ann
}

func ExampleClient_Take() {
	client, stop := dialTable()
	defer stop()
	ctx := context.Background()

	must(client.Put(ctx, "letter", []byte("hello")))
	for range 2 {
		letter := must(client.Take(ctx, "letter"))
		fmt.Printf("%t %q\n", letter.Found, letter.Value)
	}
	// Output:
	// true "hello"
	// false ""
}

// Many add, from everywhere at once, and wait for nobody. Who reads waits for those that came before.
func ExampleClient_Add() {
	client, stop := dialTable()
	defer stop()
	ctx := context.Background()

	for range 10 {
		must(client.Add(ctx, "visits", 1))
	}
	visits := must(client.Get(ctx, "visits"))
	fmt.Printf("%s visits, version %d\n", visits.Value, visits.Version)
	// Output: 10 visits, version 10
}

func ExampleClient_Range() {
	client, stop := dialTable()
	defer stop()
	ctx := context.Background()

	for _, key := range []string{"fruit/apple", "fruit/pear", "fruit/plum", "tree/oak"} {
		must(client.Put(ctx, key, nil))
	}
	page := must(client.Range(ctx, clients.Prefix("fruit/"), clients.Limit(2)))
	for _, pair := range page.Pairs {
		fmt.Println(pair.Key)
	}
	fmt.Println("goes on at", page.Next)
	fmt.Println(must(client.Range(ctx, clients.Span{}, clients.CountOnly())).Count, "keys in all")
	// Output:
	// fruit/apple
	// fruit/pear
	// goes on at fruit/plum
	// 4 keys in all
}

// Scan turns the pages by itself.
func ExampleClient_Scan() {
	client, stop := dialTable()
	defer stop()
	ctx := context.Background()

	for i := range 5 {
		must(client.Put(ctx, fmt.Sprintf("job/%d", i), nil))
	}
	for pair, err := range client.Scan(ctx, clients.Prefix("job/"), clients.Limit(3)) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(pair.Key)
	}
	// Output:
	// job/0
	// job/1
	// job/2
	// job/3
	// job/4
}

func ExampleClient_DeleteRange() {
	client, stop := dialTable()
	defer stop()
	ctx := context.Background()

	for i := range 5 {
		must(client.Put(ctx, fmt.Sprintf("job/%d", i), nil))
	}
	deleted := must(client.DeleteRange(ctx, clients.Span{From: "job/", End: "job/3"}))
	fmt.Println(deleted.Count, "deleted, more to do:", deleted.More())
	// Output: 3 deleted, more to do: false
}

// Keys that are used once leave their versions behind, until they are forgotten.
func ExampleClient_Forget() {
	client, stop := dialTable()
	defer stop()
	ctx := context.Background()

	must(client.Put(ctx, "job/1", nil))
	must(client.Delete(ctx, "job/1"))
	fmt.Println("put again, version", must(client.Put(ctx, "job/1", nil)).Version)
	must(client.Delete(ctx, "job/1"))
	fmt.Println(must(client.Forget(ctx, clients.Prefix("job/"))).Count, "forgotten")
	fmt.Println("put again, version", must(client.Put(ctx, "job/1", nil)).Version)
	// Output:
	// put again, version 3
	// 1 forgotten
	// put again, version 1
}

// A range can be a condition: here nobody becomes leader while there is one.
func ExampleEmpty() {
	client, stop := dialTable()
	defer stop()
	ctx := context.Background()

	leaders := clients.Prefix("leader/")
	for _, name := range []string{"ann", "bob"} {
		result := must(client.Txn(ctx).
			If(clients.Empty(leaders)).
			Then(clients.OpPut("leader/"+name, nil), clients.OpAdd("terms", 1)).
			Else(clients.OpRange(leaders, clients.KeysOnly())).
			Commit())
		if result.Succeeded {
			fmt.Println(name, "leads")
		} else {
			fmt.Println(name, "sees", result.Results[0].Page.Pairs[0].Key)
		}
	}
	// Output:
	// ann leads
	// bob sees leader/ann
}

// A worker says that it is there, by a key that goes when it does.
func ExampleClient_Grant() {
	client, stop := dialTable()
	defer stop()
	ctx := context.Background()

	lease := must(client.Grant(ctx, 10*time.Second)) // and it is kept alive
	must(client.Put(ctx, "workers/7", []byte("here"), clients.WithLease(lease.ID())))
	fmt.Println(must(client.LeaseInfo(ctx, lease.ID())).Keys)

	if err := lease.Revoke(ctx); err != nil { // or the process dies, and ten seconds pass
		log.Fatal(err)
	}
	<-lease.Done()
	fmt.Println(lease.Err())
	fmt.Println(must(client.Get(ctx, "workers/7")).Found)
	// Output:
	// [workers/7]
	// the lease was closed here
	// false
}
