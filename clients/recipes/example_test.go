package recipes_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/264bc8cf/epaxos/clients/recipes"
)

// A lock protects something only together with its token: the archive refuses who comes too late.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client := connect(ctx)
	defer client.Close()

	session, err := recipes.NewSession(ctx, client, 10*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close(ctx)

	var archive recipes.Fence // it would be kept with the data
	store := func(report string, token uint64) {
		if err := archive.Write(token); err != nil {
			fmt.Println(report, "refused:", errors.Is(err, recipes.ErrStale))
			return
		}
		fmt.Println(report, "stored")
	}

	lock, err := recipes.NewMutex(session, "example/reports").Lock(ctx)
	if err != nil {
		log.Fatal(err)
	}
	late := lock.Token()
	store("monday", lock.Token())
	if err := lock.Unlock(ctx); err != nil {
		log.Fatal(err)
	}

	lock, err = recipes.NewMutex(session, "example/reports").Lock(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer lock.Unlock(ctx)
	store("tuesday", lock.Token())
	store("monday, once more", late)
	// Output:
	// monday stored
	// tuesday stored
	// monday, once more refused: true
}

// While work goes on under a lock, Lost tells when to stop.
func ExampleLock_Lost() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client := connect(ctx)
	defer client.Close()
	session, err := recipes.NewSession(ctx, client, 10*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	lock, err := recipes.NewMutex(session, "example/work").Lock(ctx)
	if err != nil {
		log.Fatal(err)
	}

	if err := session.Close(ctx); err != nil { // as the loss of the lease would
		log.Fatal(err)
	}
	for step := 1; ; step++ {
		select {
		case <-lock.Lost():
			fmt.Println("stopped before step", step)
			return
		default:
		}
	}
	// Output: stopped before step 1
}

func ExampleRWMutex() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client := connect(ctx)
	defer client.Close()
	session, err := recipes.NewSession(ctx, client, 10*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close(ctx)

	catalogue := recipes.NewRWMutex(session, "example/catalogue")
	ann, err := catalogue.RLock(ctx)
	if err != nil {
		log.Fatal(err)
	}
	bob, err := catalogue.RLock(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("two read")
	for _, reader := range []*recipes.Lock{ann, bob} {
		if err := reader.Unlock(ctx); err != nil {
			log.Fatal(err)
		}
	}
	writer, err := catalogue.Lock(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("one writes, after them:", writer.Token() > ann.Token() && writer.Token() > bob.Token())
	if err := writer.Unlock(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// two read
	// one writes, after them: true
}

func ExampleElection() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client := connect(ctx)
	defer client.Close()
	session, err := recipes.NewSession(ctx, client, 10*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close(ctx)

	leadership, err := recipes.NewElection(session, "example/primary").Campaign(ctx, []byte("10.0.0.7:5432"))
	if err != nil {
		log.Fatal(err)
	}
	// Anybody may watch; it takes no session.
	for leader, err := range recipes.Observe(ctx, client, "example/primary") {
		if err != nil {
			log.Fatal(err)
		}
		if leader.Token == 0 {
			fmt.Println("nobody leads")
			break
		}
		fmt.Printf("%s leads\n", leader.Value)
		if err := leadership.Resign(ctx); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// 10.0.0.7:5432 leads
	// nobody leads
}

func ExampleBarrier() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client := connect(ctx)
	defer client.Close()
	session, err := recipes.NewSession(ctx, client, 10*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close(ctx)

	barrier := recipes.NewBarrier(session, "example/migration")
	hold, err := barrier.Hold(ctx)
	if err != nil {
		log.Fatal(err)
	}
	passed := make(chan error)
	go func() { passed <- barrier.Wait(ctx) }()
	fmt.Println("the tables are changed")
	if err := hold.Open(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("all go on:", <-passed == nil)
	// Output:
	// the tables are changed
	// all go on: true
}

func ExampleQueue() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client := connect(ctx)
	defer client.Close()
	session, err := recipes.NewSession(ctx, client, 10*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close(ctx)

	jobs := recipes.NewQueue(session, "example/jobs")
	for _, job := range []string{"wash", "dry"} {
		if err := jobs.Enqueue(ctx, []byte(job)); err != nil {
			log.Fatal(err)
		}
	}
	for {
		job, err := jobs.TryDequeue(ctx)
		if errors.Is(err, recipes.ErrEmpty) {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(job))
	}
	// Output:
	// wash
	// dry
}

func ExampleCounter() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client := connect(ctx)
	defer client.Close()

	visits := recipes.NewCounter(client, "example/visits")
	for range 3 {
		if err := visits.Add(ctx, 1); err != nil {
			log.Fatal(err)
		}
	}
	total, err := visits.Value(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(total)
	// Output: 3
}
