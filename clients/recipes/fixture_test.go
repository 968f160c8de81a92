package recipes_test

import (
	"context"
	"errors"
	"log"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/clients/profile"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/server"
)

// replicas is a cluster of real servers on loopback, in this process.
type replicas struct {
	dir     string
	servers []*server.Server
}

func startReplicas(n int) (*replicas, error) {
	dir, err := os.MkdirTemp("", "recipes")
	if err != nil {
		return nil, err
	}
	r := &replicas{dir: dir}
	conns, addrs := make([]net.PacketConn, n), make([]string, n)
	for i := range conns {
		if conns[i], err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
			return nil, err
		}
		addrs[i] = conns[i].LocalAddr().String()
	}
	configs, err := server.Init(filepath.Join(dir, "cluster"), addrs...)
	if err != nil {
		return nil, err
	}
	for i, path := range configs {
		config, err := server.Load(path)
		if err != nil {
			return nil, err
		}
		config.Conn = conns[i]
		s, err := server.Open(config, execution.KV{})
		if err != nil {
			return nil, err
		}
		r.servers = append(r.servers, s)
	}
	return r, nil
}

func (r *replicas) stop() error {
	var errs []error
	for _, s := range r.servers {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(r.dir))...)
}

func (r *replicas) dial(ctx context.Context) (*clients.Client, error) {
	return profile.Dial(ctx, filepath.Join(r.dir, "cluster", "client.yaml"))
}

// one is the cluster of the examples: a single replica, started when the first of them needs it.
var (
	one = sync.OnceValues(func() (cluster *replicas, err error) {
		began = true
		return startReplicas(1)
	})
	began bool
)

// connect is a client of it, for the examples.
func connect(ctx context.Context) *clients.Client {
	cluster, err := one()
	if err != nil {
		log.Fatal(err)
	}
	client, err := cluster.dial(ctx)
	if err != nil {
		log.Fatal(err)
	}
	return client
}

func TestMain(m *testing.M) {
	code := m.Run()
	if began {
		cluster, err := one()
		if err == nil {
			err = cluster.stop()
		}
		if err != nil {
			log.Print(err)
			code = 1
		}
	}
	os.Exit(code)
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
