package bootstrap

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/config"
	"github.com/264bc8cf/epaxos/internal/identity"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Defaults of Options.
const (
	HostDefault     = "127.0.0.1"
	BasePortDefault = 7400
)

// Names inside the directory of a cluster.
const (
	authorityDir = "authority"
	clientDir    = "client"
	profileFile  = "client.yaml"
	configFile   = "config.yaml"
	tlsDir       = "tls"
	dataDir      = "data"
)

// Options say which cluster to make.
type Options struct {
	Dir      string   // where; must not exist, or be empty
	Replicas int      // how many; may be left out if Addrs are given
	Host     string   // of all replicas; HostDefault if empty
	BasePort int      // replica i listens at BasePort+i; BasePortDefault if 0
	Addrs    []string // host:port of each replica, instead of Host and BasePort
	Names    []string // site or region of each replica; may be empty
	F        *int     // crashes tolerated; nil is the largest minority
	E        *int     // crashes tolerated on the fast path; nil is the most that F allows
	// Overrides, if set, may change the configuration of each replica before it is written.
	Overrides func(*config.Config)
	// Orphaned, if set, tells Restore what the value of a key becomes in a cluster that does not have its lease.
	Orphaned func(value []byte) (after []byte, err error)

	fill func(config.Config) error // what to do with each data directory once it is made; nil is nothing
}

// Layout tells where everything is. Slices are in the order of the replica ids, which count from 1.
type Layout struct {
	Dir       string
	Cluster   identity.ClusterID
	Authority string // directory of the authority
	Addrs     []string
	Configs   []string // configuration files
	Profile   string   // profile of the client
}

// Init makes a cluster in Options.Dir. It is durable when Init returns nil; with an error nothing
// was made.
func Init(o Options) (Layout, error) {
	addrs, err := o.addresses()
	if err != nil {
		return Layout{}, fmt.Errorf("make a cluster: %w", err)
	}
	dir, err := free(o.Dir)
	if err != nil {
		return Layout{}, fmt.Errorf("make a cluster: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return Layout{}, fmt.Errorf("make a cluster: %w", err)
	}
	// Beside its place and not in the system's temporary directory: a rename is atomic only
	// within one file system.
	building, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+"-*")
	if err != nil {
		return Layout{}, fmt.Errorf("make a cluster: %w", err)
	}
	cluster, err := o.build(building, addrs)
	if err == nil {
		err = install(building, dir)
	}
	if err != nil {
		return Layout{}, errors.Join(fmt.Errorf("make a cluster in %s: %w", dir, err), os.RemoveAll(building))
	}
	return layout(dir, cluster), nil
}

func (o *Options) addresses() ([]string, error) {
	addrs := o.Addrs
	if len(addrs) == 0 {
		addrs = make([]string, max(o.Replicas, 0))
		base := o.BasePort
		if base == 0 {
			base = BasePortDefault
		}
		host := o.Host
		if host == "" {
			host = HostDefault
		}
		for i := range addrs {
			addrs[i] = net.JoinHostPort(host, strconv.Itoa(base+i+1))
		}
	}
	switch n := len(addrs); {
	case o.Dir == "":
		return nil, errors.New("no directory is named")
	case n == 0 || n > epaxos.VotersMax:
		return nil, fmt.Errorf("%d replicas are impossible: between 1 and %d", n, epaxos.VotersMax)
	case o.Replicas != 0 && o.Replicas != n:
		return nil, fmt.Errorf("%d addresses for %d replicas: name each replica's address", n, o.Replicas)
	case len(o.Names) != 0 && len(o.Names) != n:
		return nil, fmt.Errorf("%d names for %d replicas: name all of them or none", len(o.Names), n)
	}
	return addrs, nil
}

// free resolves dir and checks that nothing is in it.
func free(dir string) (string, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return path, nil
	case err != nil:
		return "", fmt.Errorf("%s is in the way: %w", dir, err)
	case len(entries) > 0:
		return "", fmt.Errorf("%s is not empty, it holds %s: a cluster is never overwritten; "+
			"choose another directory, or remove this one if no replica needs it",
			dir, entries[0].Name())
	}
	return filepath.EvalSymlinks(path)
}

func (o *Options) build(dir string, addrs []string) (*identity.Cluster, error) {
	now := time.Now()
	cluster, err := identity.NewCluster(addrs, now)
	if err != nil {
		return nil, err
	}
	if err := cluster.Authority.WriteFiles(filepath.Join(dir, authorityDir)); err != nil {
		return nil, err
	}
	for i := range cluster.Members {
		if err := o.buildReplica(dir, cluster, i); err != nil {
			return nil, err
		}
	}
	if err := buildClient(dir, cluster, now); err != nil {
		return nil, err
	}
	return cluster, syncTree(dir)
}

func (o *Options) buildReplica(dir string, cluster *identity.Cluster, i int) error {
	self := cluster.Members[i]
	home := filepath.Join(dir, replicaDir(self.Replica))
	if err := cluster.Replicas[i].WriteFiles(filepath.Join(home, tlsDir)); err != nil {
		return err
	}
	c := replicaConfig(home)
	c.Cluster = config.ClusterID(cluster.ID)
	c.Replica, c.Incarnation, c.Name = self.Replica, self.Incarnation, o.name(i)
	c.Listen, c.Format = self.Addr, int(wire.Format)
	for j, m := range cluster.Members {
		c.Members = append(c.Members, config.Member{
			ID: m.Replica, Addr: m.Addr, Fingerprint: config.Fingerprint(m.Fingerprint),
			Incarnation: m.Incarnation, Name: o.name(j),
		})
	}
	if o.F != nil {
		c.F = *o.F
	}
	if o.E != nil {
		c.E = *o.E
	}
	if o.Overrides != nil {
		o.Overrides(&c)
	}
	if err := createReplica(home, c); err != nil || o.fill == nil {
		return err
	}
	return o.fill(c)
}

func (o *Options) name(i int) string {
	if len(o.Names) == 0 {
		return ""
	}
	return o.Names[i]
}

func buildClient(dir string, cluster *identity.Cluster, now time.Time) error {
	credential, err := cluster.Authority.IssueClient(clientDir, now)
	if err != nil {
		return err
	}
	home := filepath.Join(dir, clientDir)
	if err := credential.WriteFiles(home); err != nil {
		return err
	}
	profile := config.Profile{
		Cluster: config.ClusterID(cluster.ID),
		CA:      filepath.Join(home, identity.AuthorityCertificateFile),
		Cert:    filepath.Join(home, identity.CertificateFile),
		Key:     filepath.Join(home, identity.KeyFile),
	}
	for _, m := range cluster.Members {
		profile.Endpoints = append(profile.Endpoints, m.Addr)
	}
	return config.WriteProfile(filepath.Join(dir, profileFile), profile)
}

func layout(dir string, cluster *identity.Cluster) Layout {
	l := Layout{
		Dir: dir, Cluster: cluster.ID,
		Authority: filepath.Join(dir, authorityDir), Profile: filepath.Join(dir, profileFile),
	}
	for _, m := range cluster.Members {
		l.Addrs = append(l.Addrs, m.Addr)
		l.Configs = append(l.Configs, filepath.Join(dir, replicaDir(m.Replica), configFile))
	}
	return l
}

func replicaDir(id epaxos.ReplicaID) string { return fmt.Sprintf("n%d", id) }

// install gives the finished directory its name. Whoever was quicker keeps it: neither call
// touches a directory that is not empty.
func install(building, dir string) error {
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("replace the empty directory: %w; choose one that does not exist", err)
	}
	if err := os.Rename(building, dir); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// syncTree syncs every directory of a tree whose files are synced already.
func syncTree(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		return syncDir(path)
	})
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}
