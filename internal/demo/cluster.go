package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/bootstrap"
	"github.com/264bc8cf/epaxos/internal/wan"
	"github.com/264bc8cf/epaxos/server"
)

const loopback = "127.0.0.1:0"

// cluster is the replicas and the network between them.
type cluster struct {
	dir      string // temporary
	layout   bootstrap.Layout
	access   bootstrap.Access
	profile  *wan.Profile  // of the regions; nil without emulator
	emulator *wan.Emulator // of two sites for each region; nil with bare sockets
	replicas []*server.Server
	suspect  time.Duration // after which a silent replica counts as dead
	tracer   *tracer       // nil is none

	mu     sync.Mutex
	killed int // index; -1 is none
}

// newCluster makes directories and starts the replicas. They need not have met when it returns.
func newCluster(o *Options, trace *tracer) (*cluster, error) {
	c := &cluster{killed: -1, tracer: trace}
	var err error
	if c.profile, err = o.profile(); err != nil {
		return nil, err
	}
	if c.profile != nil {
		if c.emulator, err = wan.New(doubled(c.profile), o.Seed); err != nil {
			return nil, err
		}
	}
	if c.dir, err = os.MkdirTemp("", "epaxos-demo-*"); err != nil {
		return nil, fmt.Errorf("make a directory for the replicas: %w", err)
	}
	if err := c.open(o.Replicas); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// doubled gives the clients of a region a site of their own, at no distance from its replica. Site
// i is the replica's, site n+i that of the clients.
func doubled(p *wan.Profile) wan.Profile {
	n := len(p.Sites)
	twice := wan.Profile{Name: p.Name}
	for i := range 2 * n {
		site := p.Sites[i%n]
		if i >= n {
			site += " clients"
		}
		twice.Sites = append(twice.Sites, site)
		twice.RTT = append(twice.RTT, append(append([]float64(nil), p.RTT[i%n]...), p.RTT[i%n]...))
	}
	return twice
}

func (c *cluster) open(replicas int) error {
	conns := make([]net.PacketConn, 0, replicas)
	defer func() {
		for _, conn := range conns { // those that no replica has taken over
			conn.Close() //nolint:errcheck // nothing was sent
		}
	}()
	var addrs, names []string
	for i := range replicas {
		conn, err := c.listen(i)
		if err != nil {
			return fmt.Errorf("open a socket for replica %d: %w", i+1, err)
		}
		conns = append(conns, conn)
		addrs, names = append(addrs, conn.LocalAddr().String()), append(names, c.region(i))
	}
	var err error
	c.layout, err = bootstrap.Init(bootstrap.Options{
		Dir: filepath.Join(c.dir, "cluster"), Replicas: replicas, Addrs: addrs, Names: names,
	})
	if err != nil {
		return err
	}
	if c.access, err = bootstrap.LoadAccess(c.layout.Profile); err != nil {
		return err
	}
	for _, path := range c.layout.Configs {
		config, err := server.Load(path)
		if err != nil {
			return err
		}
		config.Conn, conns = conns[0], conns[1:]
		if c.tracer != nil {
			config.Trace = c.tracer.line
		}
		c.suspect = config.Timing.Suspect
		replica, err := server.Open(config, execution.KV{})
		if err != nil {
			return fmt.Errorf("start replica %d: %w", config.Replica, errors.Join(err, ignoreClosed(config.Conn.Close())))
		}
		c.replicas = append(c.replicas, replica)
	}
	return nil
}

// listen opens a socket at a site of the emulator, or a bare one.
func (c *cluster) listen(site int) (net.PacketConn, error) {
	if c.emulator != nil {
		return c.emulator.Listen(site, "udp", loopback)
	}
	return net.ListenPacket("udp", loopback)
}

// region is the name of region i.
func (c *cluster) region(i int) string {
	if c.profile == nil {
		return fmt.Sprintf("R%d", i+1)
	}
	return c.profile.Sites[i]
}

// dial starts the client program of region i. Its own replica is the one it meets first.
func (c *cluster) dial(ctx context.Context, i, inFlight int, more ...clients.Option) (*clients.Client, error) {
	options := []clients.Option{
		clients.WithTLS(c.access.TLS), clients.WithCluster(c.access.Cluster), clients.WithName(c.region(i)),
		clients.WithTimeout(operationTimeout), clients.WithInFlight(max(inFlight, 16)),
	}
	if c.emulator != nil {
		options = append(options, clients.WithPacketConn(func() (net.PacketConn, error) {
			return c.emulator.Listen(len(c.profile.Sites)+i, "udp", loopback)
		}))
	} else {
		// On bare sockets all replicas are equally near; without a margin beyond any scheduling delay
		// a loaded machine would make the regions flock together.
		options = append(options, clients.WithPolicy(clients.Policy{Margin: time.Second}))
	}
	client, err := clients.Dial(ctx, c.layout.Addrs[i:i+1], append(options, more...)...)
	if err != nil {
		return nil, fmt.Errorf("connect the clients of %s: %w", c.region(i), err)
	}
	return client, nil
}

// meet waits until every replica takes part and is connected to all others.
func (c *cluster) meet(ctx context.Context) error {
	return poll(ctx, "the replicas did not find each other", func() (bool, error) {
		for _, replica := range c.replicas {
			if err := replica.Err(); err != nil {
				return false, err
			}
			status := replica.Status()
			if !status.Admitted {
				return false, nil
			}
			for _, peer := range status.Peers {
				if !peer.Up {
					return false, nil
				}
			}
		}
		return true, nil
	})
}

// settle waits until the clients of region i are connected to all replicas and use their own.
func (c *cluster) settle(ctx context.Context, i int, client *clients.Client) error {
	return poll(ctx, fmt.Sprintf("the clients of %s did not find their replica", c.region(i)), func() (bool, error) {
		infos := client.Replicas()
		if len(infos) < len(c.replicas) {
			return false, nil
		}
		for _, info := range infos {
			if info.Current {
				return int(info.Replica) == i+1, nil
			}
		}
		return false, nil
	})
}

// poll asks until the answer is yes or an error, or the context ends.
func poll(ctx context.Context, failure string, ask func() (bool, error)) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		if done, err := ask(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", failure, ctx.Err())
		case <-ticker.C:
		}
	}
}

// kill crashes a replica: its socket goes first, and what is under way to it and from it is lost.
func (c *cluster) kill(id epaxos.ReplicaID) error {
	i := int(id) - 1
	c.mu.Lock()
	c.killed = i
	c.mu.Unlock()
	if c.emulator != nil {
		if err := c.emulator.SetDown(i, true); err != nil {
			return err
		}
	}
	c.replicas[i].Abort()
	return nil
}

// alive lists the replicas that were not killed.
func (c *cluster) alive() []*server.Server {
	c.mu.Lock()
	defer c.mu.Unlock()
	var alive []*server.Server
	for i, replica := range c.replicas {
		if i != c.killed {
			alive = append(alive, replica)
		}
	}
	return alive
}

// fault is why a replica stopped that was not killed, or nil.
func (c *cluster) fault() error {
	for _, replica := range c.alive() {
		if err := replica.Err(); err != nil {
			return fmt.Errorf("replica %d stopped: %w", replica.Status().Replica, err)
		}
	}
	return nil
}

// close stops what still runs and removes the directory.
func (c *cluster) close() error {
	errs := make([]error, len(c.replicas)+1)
	var wg sync.WaitGroup
	for i, replica := range c.replicas {
		wg.Go(func() {
			if err := replica.Close(); err != nil {
				errs[i] = fmt.Errorf("stop replica %d: %w", i+1, err)
			}
		})
	}
	wg.Wait()
	if err := os.RemoveAll(c.dir); err != nil {
		errs[len(c.replicas)] = fmt.Errorf("remove the directory of the replicas: %w", err)
	}
	return errors.Join(errs...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
