package bootstrap

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/config"
	"github.com/264bc8cf/epaxos/internal/identity"
	"github.com/264bc8cf/epaxos/storage"
)

// Joiner says which replica to make for a cluster that runs.
type Joiner struct {
	Dir      string // of the cluster, as Init made it: its authority issues the certificate
	Out      string // directory of the replica; n<ID> in Dir if empty
	Cluster  identity.ClusterID
	ID       epaxos.ReplicaID // one that no replica of the cluster ever had
	Addr     string           // host:port
	Name     string           // site or region, may be empty
	Contacts []config.Member  // whom it asks
}

// Joined is what Join made.
type Joined struct {
	Dir    string
	Config string        // the configuration file
	Member config.Member // what the cluster has to know of it
	Made   bool          // now, and not before
}

// Join makes the directory of a replica that is to join a cluster: configuration, key, certificate, data. The
// cluster knows nothing of it yet. It is durable when Join returns nil; with an error nothing was made. A
// directory that an earlier call made for the same replica and address is taken as it is.
func Join(j Joiner) (Joined, error) {
	if j.Out == "" {
		j.Out = filepath.Join(j.Dir, replicaDir(j.ID))
	}
	if made, err := j.made(); err != nil || made.Dir != "" {
		return made, err
	}
	joined, err := j.make()
	if err != nil {
		return Joined{}, fmt.Errorf("make replica %d: %w", j.ID, err)
	}
	return joined, nil
}

// made looks for what an earlier call left.
func (j *Joiner) made() (Joined, error) {
	path := filepath.Join(j.Out, configFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return Joined{}, nil
	}
	c, err := config.Load(config.Source{File: path})
	if err != nil {
		return Joined{}, fmt.Errorf("%s is in the way: %w", j.Out, err)
	}
	if c.Replica != j.ID || identity.ClusterID(c.Cluster) != j.Cluster || !c.Join || c.Listen != j.Addr {
		return Joined{}, fmt.Errorf("%s is in the way: it is of replica %d of cluster %s at %s; remove it if that "+
			"replica was never added, or name another directory", j.Out, c.Replica, c.Cluster, c.Listen)
	}
	credential, err := identity.LoadFiles(identity.Files{CA: c.TLS.CA, Cert: c.TLS.Cert, Key: c.TLS.Key})
	if err != nil {
		return Joined{}, err
	}
	return Joined{Dir: j.Out, Config: path, Member: config.Member{
		ID: j.ID, Addr: j.Addr, Name: c.Name, Incarnation: c.Incarnation,
		Fingerprint: config.Fingerprint(credential.Fingerprint()),
	}}, nil
}

func (j *Joiner) make() (Joined, error) {
	authority, err := identity.LoadAuthority(filepath.Join(j.Dir, authorityDir))
	if err != nil {
		return Joined{}, err
	}
	if authority.Cluster != j.Cluster {
		return Joined{}, fmt.Errorf("the authority in %s is of cluster %s, that of the replicas is %s: name the "+
			"directory that init made for it", j.Dir, authority.Cluster, j.Cluster)
	}
	dir, err := free(j.Out)
	if err != nil {
		return Joined{}, err
	}
	building, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+"-*")
	if err != nil {
		return Joined{}, err
	}
	member, err := j.build(building, authority)
	if err == nil {
		err = install(building, dir)
	}
	if err != nil {
		return Joined{}, errors.Join(err, os.RemoveAll(building))
	}
	return Joined{Dir: j.Out, Config: filepath.Join(j.Out, configFile), Member: member, Made: true}, nil
}

func (j *Joiner) build(home string, authority *identity.Authority) (config.Member, error) {
	credential, err := authority.IssueReplica(j.ID, time.Now())
	if err != nil {
		return config.Member{}, err
	}
	if err := credential.WriteFiles(filepath.Join(home, tlsDir)); err != nil {
		return config.Member{}, err
	}
	incarnation, err := identity.NewIncarnation()
	if err != nil {
		return config.Member{}, err
	}
	c := replicaConfig(home)
	c.Cluster, c.Replica, c.Incarnation, c.Name = config.ClusterID(j.Cluster), j.ID, incarnation, j.Name
	c.Listen, c.Members, c.Join = j.Addr, j.Contacts, true
	if err := createReplica(home, c); err != nil {
		return config.Member{}, err
	}
	return config.Member{
		ID: j.ID, Addr: j.Addr, Name: j.Name, Incarnation: incarnation,
		Fingerprint: config.Fingerprint(credential.Fingerprint()),
	}, syncTree(home)
}

// replicaConfig is a configuration with the paths inside a replica's directory.
func replicaConfig(home string) config.Config {
	c := config.Default()
	c.Dir = filepath.Join(home, dataDir)
	c.TLS = config.TLS{
		CA:   filepath.Join(home, tlsDir, identity.AuthorityCertificateFile),
		Cert: filepath.Join(home, tlsDir, identity.CertificateFile),
		Key:  filepath.Join(home, tlsDir, identity.KeyFile),
	}
	return c
}

// createReplica writes the configuration, which validates it, and makes the data directory.
func createReplica(home string, c config.Config) error {
	if err := config.Write(filepath.Join(home, configFile), c); err != nil {
		return err
	}
	return storage.Create(storage.Options{
		Dir: c.Dir,
		Identity: storage.Identity{
			Cluster: c.Cluster, Replica: uint32(c.Replica), Incarnation: c.Incarnation,
		},
	})
}
