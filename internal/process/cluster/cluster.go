// Package cluster runs replicas as real processes of the program that ships, on loopback: `epaxos
// init` makes their directories, `epaxos serve` runs each, and signals, an emulated network and file
// systems of their own hurt them.
//
// Nothing of the program under test knows that it is tested. Where the network between replicas is
// emulated, each replica is told other addresses of its peers, by the ordinary setting --members,
// and behind each of them stands a relay of the tests (Network).
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/bootstrap"
	"github.com/264bc8cf/epaxos/internal/config"
	"github.com/264bc8cf/epaxos/internal/wan"
)

// Options say which cluster to make.
type Options struct {
	Binary   string // the program under test
	Dir      string // of all that the cluster leaves behind; must exist
	Replicas int
	// Profile, if set, is the network between replicas and to their clients, with one site for each
	// replica; nil is bare loopback. Seed determines its draws.
	Profile *wan.Profile
	Seed    uint64
	Flags   []string // of serve, the same for all replicas
	// OwnDisks gives each replica a small file system of its own. It needs the right to mount one:
	// see ErrCannotMount.
	OwnDisks bool
}

// Cluster is a number of replicas. Its methods are for one goroutine, but for Command and Dial.
type Cluster struct {
	Replicas []*Replica // ascending by id, which counts from 1
	Network  *Network   // nil on bare loopback
	Access   bootstrap.Access

	options Options
	profile string // of its clients
	disks   []*Disk
	deaths  chan error
}

// New makes the directories of a cluster, and its network. No replica runs yet. Close it, also
// after an error of what follows.
func New(ctx context.Context, o Options) (*Cluster, error) {
	c := &Cluster{options: o, deaths: make(chan error, o.Replicas)}
	c.profile = filepath.Join(o.Dir, "cluster", "client.yaml")
	args := []string{"init", "--dir", filepath.Join(o.Dir, "cluster")}
	for range o.Replicas {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		args = append(args, "--addr", addr)
	}
	if ran, err := c.Command(ctx, args...); err != nil || ran.Code != 0 {
		return nil, fmt.Errorf("make a cluster: %w", errors.Join(err, ran.Err()))
	}
	var err error
	if c.Access, err = bootstrap.LoadAccess(c.profile); err != nil {
		return nil, err
	}
	for i := range o.Replicas {
		r, err := c.newReplica(epaxos.ReplicaID(i + 1))
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.Replicas = append(c.Replicas, r)
	}
	if err := c.connect(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cluster) newReplica(id epaxos.ReplicaID) (*Replica, error) {
	dir := filepath.Join(c.options.Dir, "cluster", fmt.Sprintf("n%d", id))
	r := &Replica{ID: id, cluster: c, config: filepath.Join(dir, "config.yaml")}
	settings, err := config.Load(config.Source{File: r.config})
	if err != nil {
		return nil, err
	}
	r.settings, r.Addr, r.Data = settings, settings.Listen, settings.Dir
	r.flags = slices.Clone(c.options.Flags)
	r.LogFile = filepath.Join(c.options.Dir, fmt.Sprintf("replica-%d.log", id))
	if c.options.OwnDisks {
		disk, err := mountDisk(r.Data)
		if err != nil {
			return nil, err
		}
		c.disks = append(c.disks, disk)
		r.Disk, r.flags = disk, append(r.flags, "--storage-reserve-bytes", fmt.Sprint(diskReserve))
	}
	return r, nil
}

// connect puts the emulated network between the replicas.
func (c *Cluster) connect() error {
	if c.options.Profile == nil {
		return nil
	}
	var err error
	if c.Network, err = newNetwork(c.options, c.Replicas); err != nil {
		return err
	}
	for i, r := range c.Replicas {
		r.flags = append(r.flags, "--members", c.Network.members(i, r.settings.Members))
	}
	return nil
}

// Start runs all replicas.
func (c *Cluster) Start(ctx context.Context) error {
	for _, r := range c.Replicas {
		if err := r.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Deaths tells of replicas that ended though nobody asked them to. It holds one error at most for
// each replica.
func (c *Cluster) Deaths() <-chan error { return c.deaths }

// KillAll ends all processes before any of them can notice that another ended.
func (c *Cluster) KillAll() error {
	var errs []error
	for _, r := range c.Replicas {
		errs = append(errs, r.signalEnd(os.Kill))
	}
	for _, r := range c.Replicas {
		errs = append(errs, r.killed())
	}
	return errors.Join(errs...)
}

// Close ends whatever runs, and unmounts. The directory stays.
func (c *Cluster) Close() error {
	var errs []error
	for _, r := range c.Replicas {
		if r.Running() {
			errs = append(errs, r.Kill())
		}
		r.closeLog()
	}
	if c.Network != nil {
		errs = append(errs, c.Network.close())
	}
	for _, disk := range c.disks {
		errs = append(errs, disk.unmount())
	}
	return errors.Join(errs...)
}

// SaveDisks copies what is on the replicas' own disks into the directory of the cluster, from which
// Close will take it.
func (c *Cluster) SaveDisks() error {
	var errs []error
	for i, disk := range c.disks {
		errs = append(errs, disk.save(filepath.Join(c.options.Dir, fmt.Sprintf("disk-%d", i+1))))
	}
	return errors.Join(errs...)
}

// Replica is the one with an id.
func (c *Cluster) Replica(id epaxos.ReplicaID) *Replica { return c.Replicas[id-1] }

// Keep leaves only some replicas to be looked at. The others have ended.
func (c *Cluster) Keep(left []*Replica) { c.Replicas = left }

// Join runs a command that adds one replica (`member add` or `member replace`, with its arguments but the
// address), and starts that replica as an operator would who was told to. It returns when both are done.
func (c *Cluster) Join(ctx context.Context, args ...string) (*Replica, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	id := epaxos.ReplicaID(len(c.Replicas) + 1) //nolint:gosec // a count
	ended := make(chan error, 1)
	go func() {
		ran, err := c.Command(ctx, append(args, "--addr", addr)...)
		ended <- errors.Join(err, ran.Err())
	}()
	made := filepath.Join(c.options.Dir, "cluster", fmt.Sprintf("n%d", id), "config.yaml")
	for {
		if _, err := os.Stat(made); err == nil {
			break
		}
		select {
		case err := <-ended:
			return nil, errors.Join(fmt.Errorf("%v made no directory for replica %d", args, id), err)
		case <-time.After(pollEvery):
		}
	}
	r, err := c.newReplica(id)
	if err != nil {
		return nil, err
	}
	c.Replicas = append(c.Replicas, r)
	if err := r.Start(ctx); err != nil {
		return nil, err
	}
	return r, <-ended
}

// Dial connects a client that lives at the site of a replica: it stays there as long as that
// replica is well.
func (c *Cluster) Dial(ctx context.Context, site epaxos.ReplicaID) (*clients.Client, error) {
	options := []clients.Option{
		clients.WithTLS(c.Access.TLS), clients.WithCluster(c.Access.Cluster), clients.WithName(fmt.Sprintf("site %d", site)),
	}
	endpoints := []string{c.Replica(site).Addr} // the others are learnt from it
	if c.Network != nil {
		// What it learns are addresses of relays, which serve replicas only; so it is told all.
		endpoints = c.Access.Endpoints
		options = append(options, clients.WithPacketConn(c.Network.clientConn(int(site)-1)),
			clients.WithPolicy(clients.Policy{Margin: siteMargin}))
	} else {
		// All are equally near. Without a margin beyond any scheduling delay all clients would flock together.
		options = append(options, clients.WithPolicy(clients.Policy{Margin: loopbackMargin}))
	}
	client, err := clients.Dial(ctx, endpoints, options...)
	if err != nil {
		return nil, fmt.Errorf("connect a client at site %d: %w", site, err)
	}
	return client, nil
}

// members is the value of --members for one replica: itself at its address, the others where it
// reaches them.
func memberFlag(members []config.Member, addr func(i int) string) string {
	entries := make([]string, len(members))
	for i, m := range members {
		entries[i] = fmt.Sprintf("%d=%s#%s#%#x", m.ID, addr(i), m.Fingerprint, m.Incarnation)
	}
	return strings.Join(entries, ",")
}

// Dir is the directory of the cluster, as init made it.
func (c *Cluster) Dir() string { return filepath.Dir(c.profile) }
