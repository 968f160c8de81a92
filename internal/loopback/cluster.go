package loopback

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

// Options say what a cluster is like.
type Options struct {
	Replicas int
	Profile  *wan.Profile         // a site for each replica; nil is bare sockets
	Seed     uint64               // of what the network draws
	F, E     *int                 // nil is the default
	Prepare  func(*server.Config) // may change the configuration of a replica before it starts; nil does not
}

// Cluster is the replicas and the network between them. Its methods are safe for concurrent use.
type Cluster struct {
	Profile  *wan.Profile  // of the regions; nil without emulator
	Emulator *wan.Emulator // of two sites for each region, see Doubled; nil with bare sockets
	Layout   bootstrap.Layout
	Replicas []*server.Server
	Suspect  time.Duration // after which a silent replica counts as dead

	dir     string // temporary
	access  bootstrap.Access
	options Options

	mu     sync.Mutex
	killed int // index; -1 is none
}

// New makes directories and starts the replicas. They need not have met when it returns. Close removes all of it.
func New(o Options) (*Cluster, error) {
	c := &Cluster{killed: -1, Profile: o.Profile, options: o}
	var err error
	if c.Profile != nil {
		if c.Emulator, err = wan.New(Doubled(c.Profile), o.Seed); err != nil {
			return nil, err
		}
	}
	if c.dir, err = os.MkdirTemp("", "epaxos-loopback-*"); err != nil {
		return nil, fmt.Errorf("make a directory for the replicas: %w", err)
	}
	if err := c.open(o.Replicas); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Doubled gives the clients of a region a site of their own, at no distance from its replica. Site
// i is the replica's, site n+i that of the clients.
func Doubled(p *wan.Profile) wan.Profile {
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

func (c *Cluster) open(replicas int) error {
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
		addrs, names = append(addrs, conn.LocalAddr().String()), append(names, c.Region(i))
	}
	var err error
	c.Layout, err = bootstrap.Init(bootstrap.Options{
		Dir: filepath.Join(c.dir, "cluster"), Replicas: replicas, Addrs: addrs, Names: names,
		F: c.options.F, E: c.options.E,
	})
	if err != nil {
		return err
	}
	if c.access, err = bootstrap.LoadAccess(c.Layout.Profile); err != nil {
		return err
	}
	for _, path := range c.Layout.Configs {
		config, err := server.Load(path)
		if err != nil {
			return err
		}
		config.Conn, conns = conns[0], conns[1:]
		c.Suspect = config.Timing.Suspect
		if c.options.Prepare != nil {
			c.options.Prepare(&config)
		}
		replica, err := server.Open(config, execution.KV{})
		if err != nil {
			return fmt.Errorf("start replica %d: %w", config.Replica, errors.Join(err, ignoreClosed(config.Conn.Close())))
		}
		c.Replicas = append(c.Replicas, replica)
	}
	return nil
}

// listen opens a socket at a site of the emulator, or a bare one.
func (c *Cluster) listen(site int) (net.PacketConn, error) {
	if c.Emulator != nil {
		return c.Emulator.Listen(site, "udp", loopback)
	}
	return net.ListenPacket("udp", loopback)
}

// Region is the name of region i.
func (c *Cluster) Region(i int) string {
	if c.Profile == nil {
		return fmt.Sprintf("R%d", i+1)
	}
	return c.Profile.Sites[i]
}

// Dial starts the client program of region i. Its own replica is the one it meets first.
func (c *Cluster) Dial(ctx context.Context, i int, more ...clients.Option) (*clients.Client, error) {
	options := []clients.Option{
		clients.WithTLS(c.access.TLS), clients.WithCluster(c.access.Cluster), clients.WithName(c.Region(i)),
	}
	if c.Emulator != nil {
		options = append(options, clients.WithPacketConn(func() (net.PacketConn, error) {
			return c.Emulator.Listen(len(c.Profile.Sites)+i, "udp", loopback)
		}))
	} else {
		// On bare sockets all replicas are equally near; without a margin beyond any scheduling delay
		// a loaded machine would make the regions flock together.
		options = append(options, clients.WithPolicy(clients.Policy{Margin: time.Second}))
	}
	client, err := clients.Dial(ctx, c.Layout.Addrs[i:i+1], append(options, more...)...)
	if err != nil {
		return nil, fmt.Errorf("connect the clients of %s: %w", c.Region(i), err)
	}
	return client, nil
}

// Meet waits until every replica takes part and is connected to all others.
func (c *Cluster) Meet(ctx context.Context) error {
	return Poll(ctx, "the replicas did not find each other", func() (bool, error) {
		for _, replica := range c.Replicas {
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

// Settle waits until the clients of region i are connected to all replicas and use their own.
func (c *Cluster) Settle(ctx context.Context, i int, client *clients.Client) error {
	return Poll(ctx, fmt.Sprintf("the clients of %s did not find their replica", c.Region(i)), func() (bool, error) {
		infos := client.Replicas()
		if len(infos) < len(c.Replicas) {
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

// Poll asks until the answer is yes or an error, or the context ends.
func Poll(ctx context.Context, failure string, ask func() (bool, error)) error {
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

// Kill crashes a replica: its socket goes first, and what is under way to it and from it is lost.
func (c *Cluster) Kill(id epaxos.ReplicaID) error {
	i := int(id) - 1
	c.mu.Lock()
	c.killed = i
	c.mu.Unlock()
	if c.Emulator != nil {
		if err := c.Emulator.SetDown(i, true); err != nil {
			return err
		}
	}
	c.Replicas[i].Abort()
	return nil
}

// Alive lists the replicas that were not killed.
func (c *Cluster) Alive() []*server.Server {
	c.mu.Lock()
	defer c.mu.Unlock()
	var alive []*server.Server
	for i, replica := range c.Replicas {
		if i != c.killed {
			alive = append(alive, replica)
		}
	}
	return alive
}

// Fault is why a replica stopped that was not killed, or nil.
func (c *Cluster) Fault() error {
	for _, replica := range c.Alive() {
		if err := replica.Err(); err != nil {
			return fmt.Errorf("replica %d stopped: %w", replica.Status().Replica, err)
		}
	}
	return nil
}

// Close stops what still runs and removes the directory.
func (c *Cluster) Close() error {
	errs := make([]error, len(c.Replicas)+1)
	var wg sync.WaitGroup
	for i, replica := range c.Replicas {
		wg.Go(func() {
			if err := replica.Close(); err != nil {
				errs[i] = fmt.Errorf("stop replica %d: %w", i+1, err)
			}
		})
	}
	wg.Wait()
	if err := os.RemoveAll(c.dir); err != nil {
		errs[len(c.Replicas)] = fmt.Errorf("remove the directory of the replicas: %w", err)
	}
	return errors.Join(errs...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
