// Command embed runs a state machine of its own, replicated: a ledger of accounts on three replicas
// in this process. It opens accounts, transfers money through all replicas at once, crashes one of
// them and starts it again, and shows that no money was made or lost.
//
//	go run .
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/264bc8cf/epaxos/clients/profile"
	"github.com/264bc8cf/epaxos/server"
)

const (
	replicaCount = 3
	accountCount = 10
	opening      = 100 // money in each account at the beginning
	transfers    = 200 // through each replica
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "ledger-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bank{dir: filepath.Join(dir, "cluster")}
	if err := b.create(); err != nil {
		return err
	}
	defer b.close()

	for i := range accountCount {
		if _, err := b.execute(ctx, i, request{Deposit: &deposit{account(i), opening}}); err != nil {
			return err
		}
	}
	fmt.Printf("%d accounts of %d each, on %d replicas\n", accountCount, opening, replicaCount)
	began := time.Now()
	if err := b.transfer(ctx); err != nil {
		return err
	}
	fmt.Printf("%d transfers through all replicas at once in %v: %d done, %d refused for lack of money\n",
		replicaCount*transfers, time.Since(began).Round(time.Millisecond), b.done.Load(), b.refused.Load())
	fmt.Printf("%.0f %% of them were decided in one round trip\n",
		100*float64(b.fast.Load())/float64(replicaCount*transfers))

	b.replicas[2].Abort()
	fmt.Println("replica 3 crashed")
	if _, err := b.execute(ctx, 0, request{Deposit: &deposit{account(0), 50}}); err != nil {
		return err
	}
	fmt.Println("the others accepted a deposit of 50 without it")
	if err := b.open(2); err != nil {
		return err
	}
	sum, err := b.execute(ctx, 2, everything())
	if err != nil {
		return err
	}
	remote, err := b.ask(ctx, everything())
	if err != nil {
		return err
	}
	fmt.Printf("replica 3 is back; it counts %d in all accounts, a client from outside %d, and both should count %d\n",
		sum.Balance, remote.Balance, accountCount*opening+50)
	if sum != remote || sum.Balance != accountCount*opening+50 {
		return fmt.Errorf("money was made or lost")
	}
	return nil
}

// everything asks for the sum of all accounts.
func everything() request {
	all := make([]string, accountCount)
	for i := range all {
		all[i] = account(i)
	}
	return request{Sum: all}
}

func account(i int) string { return fmt.Sprintf("account-%d", i%accountCount) }

// bank is the cluster, all of it in one process.
type bank struct {
	dir                 string
	configs             []string
	addrs               []string
	replicas            []*server.Server
	done, refused, fast atomic.Int64
}

// create makes the directory of a new cluster and starts its replicas.
func (b *bank) create() error {
	for range replicaCount {
		addr, err := freeAddr()
		if err != nil {
			return err
		}
		b.addrs = append(b.addrs, addr)
	}
	var err error
	if b.configs, err = server.Init(b.dir, b.addrs...); err != nil {
		return err
	}
	b.replicas = make([]*server.Server, replicaCount)
	for i := range b.replicas {
		if err := b.open(i); err != nil {
			return err
		}
	}
	return nil
}

// freeAddr finds a port that is free now. A real cluster has addresses that stay.
func freeAddr() (string, error) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return conn.LocalAddr().String(), conn.Close()
}

// open starts a replica on its directory, for the first time or again.
func (b *bank) open(i int) error {
	config, err := server.Load(b.configs[i])
	if err != nil {
		return err
	}
	b.replicas[i], err = server.Open(config, ledger{})
	return err
}

func (b *bank) close() {
	for _, replica := range b.replicas {
		if replica != nil {
			if err := replica.Close(); err != nil {
				log.Print(err)
			}
		}
	}
}

// execute replicates one request through one of the replicas.
func (b *bank) execute(ctx context.Context, replica int, r request) (answer, error) {
	replica %= replicaCount
	for {
		reply, err := b.replicas[replica].Execute(ctx, r.encode())
		switch {
		case err == nil:
			if reply.Fast {
				b.fast.Add(1)
			}
			return decodeAnswer(reply.Result)
		// A replica that has just started takes requests once a quorum has greeted it. It is safe
		// to ask again, because this one was certainly not carried out.
		case reply.Outcome == server.NotApplied && ctx.Err() == nil:
			time.Sleep(10 * time.Millisecond)
		default:
			return answer{}, fmt.Errorf("outcome %v: %w", reply.Outcome, err)
		}
	}
}

// transfer moves money between all accounts, through every replica at the same time.
func (b *bank) transfer(ctx context.Context) error {
	b.fast.Store(0)
	var tasks sync.WaitGroup
	faults := make(chan error, replicaCount)
	for replica := range replicaCount {
		tasks.Go(func() {
			for i := range transfers {
				t := transfer{From: account(i), To: account(i + 1 + replica), Amount: 10 + int64(i*7%90)}
				a, err := b.execute(ctx, replica, request{Transfer: &t})
				if err != nil {
					faults <- err
					return
				}
				if a.Refused {
					b.refused.Add(1)
				} else {
					b.done.Add(1)
				}
			}
		})
	}
	tasks.Wait()
	close(faults)
	return <-faults // nil if there was none
}

// ask sends a request that only reads over the network, as any other program would.
func (b *bank) ask(ctx context.Context, r request) (answer, error) {
	client, err := profile.Dial(ctx, filepath.Join(b.dir, "client.yaml"))
	if err != nil {
		return answer{}, err
	}
	defer client.Close()
	reply, err := client.Query(ctx, r.encode())
	if err != nil {
		return answer{}, err
	}
	return decodeAnswer(reply.Result)
}
