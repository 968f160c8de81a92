package clients_test

import (
	"context"
	"fmt"
	"log"

	"github.com/264bc8cf/epaxos/clients"
)

// A watch tells the state of some keys, and then each change of them.
func ExampleClient_Watch() {
	client := dial3()
	defer client.Close()
	ctx := context.Background()

	must(client.Put(ctx, "watch/a", []byte("1")))
	watch, err := client.Watch(ctx, clients.Prefix("watch/"), clients.WithState())
	if err != nil {
		log.Fatal(err)
	}
	must(client.Put(ctx, "watch/a", []byte("2")))
	must(client.Add(ctx, "watch/a", 5))
	must(client.Delete(ctx, "watch/a"))
	view := map[string]string{}
	for event, err := range watch.Events(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		switch event.Type {
		case clients.EventResync: // what is told next is all there is
			clear(view)
		case clients.EventState, clients.EventPut:
			view[event.Key] = string(event.Value)
			fmt.Printf("%s is %s, version %d\n", event.Key, event.Value, event.Version)
		case clients.EventCurrent:
			fmt.Printf("these are all: %v\n", view)
		case clients.EventAdd:
			fmt.Printf("%s has changed by %+d\n", event.Key, event.Delta)
		case clients.EventDelete:
			fmt.Printf("%s is gone, version %d\n", event.Key, event.Version)
			return
		}
	}
	// Output:
	// watch/a is 1, version 1
	// these are all: map[watch/a:1]
	// watch/a is 2, version 2
	// watch/a has changed by +5
	// watch/a is gone, version 4
}

// What was told is named by a token, with which any process goes on at any replica.
func ExampleFromToken() {
	first, second := dial3(), dial3()
	defer first.Close()
	defer second.Close()
	ctx := context.Background()

	watch := must(first.Watch(ctx, clients.Point("handed on")))
	must(first.Put(ctx, "handed on", []byte("1")))
	must(first.Put(ctx, "handed on", []byte("2")))
	fmt.Printf("%s\n", must(watch.Next(ctx)).Value)
	saved := watch.Token().String() // beside what was made of the event, in one transaction if need be

	token := must(clients.ParseWatchToken(saved))
	heir := must(second.Watch(ctx, clients.Point("handed on"), clients.FromToken(token)))
	fmt.Printf("%s\n", must(heir.Next(ctx)).Value)
	// Output:
	// 1
	// 2
}
