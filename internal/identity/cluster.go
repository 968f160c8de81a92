package identity

import (
	"fmt"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Cluster is everything secret that a new cluster needs. It lives in memory: `init` writes it to
// files, `demo` uses it as it is.
type Cluster struct {
	ID        ClusterID
	Authority *Authority
	Replicas  []*Credential // of the replicas 1 to n, in order
	Members   []Member      // the first membership, in the same order, incarnations included
}

// NewCluster mints a cluster whose replicas 1 to n listen at the n addresses (host:port).
func NewCluster(addrs []string, now time.Time) (*Cluster, error) {
	if len(addrs) == 0 || len(addrs) > epaxos.VotersMax {
		return nil, fmt.Errorf("make a cluster: %d addresses: between 1 and %d replicas are possible",
			len(addrs), epaxos.VotersMax)
	}
	id, err := NewClusterID()
	if err != nil {
		return nil, err
	}
	authority, err := NewAuthority(id, now)
	if err != nil {
		return nil, err
	}
	cluster := &Cluster{ID: id, Authority: authority}
	for i, addr := range addrs {
		if err := cluster.add(epaxos.ReplicaID(i+1), addr, now); err != nil {
			return nil, err
		}
	}
	if _, err := NewMembers(id, cluster.Members); err != nil {
		return nil, fmt.Errorf("make a cluster: %w", err)
	}
	return cluster, nil
}

func (c *Cluster) add(id epaxos.ReplicaID, addr string, now time.Time) error {
	credential, err := c.Authority.IssueReplica(id, now)
	if err != nil {
		return err
	}
	incarnation, err := NewIncarnation()
	if err != nil {
		return err
	}
	c.Replicas = append(c.Replicas, credential)
	c.Members = append(c.Members, Member{
		Replica:     id,
		Fingerprint: credential.Fingerprint(),
		Incarnation: incarnation,
		Addr:        addr,
	})
	return nil
}
