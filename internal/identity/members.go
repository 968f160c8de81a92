package identity

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Member is one replica of the membership, as the transport knows it.
type Member struct {
	Replica     epaxos.ReplicaID
	Fingerprint Fingerprint // of the only key that may speak for Replica
	Incarnation uint64      // checked in the hello, by the server
	Addr        string      // host:port
}

// Members is the present membership: the one place that says which key speaks for which replica.
type Members struct {
	cluster ClusterID
	members atomic.Pointer[[]Member] // ascending by replica; never changed once stored
}

// NewMembers checks and holds a membership. Replica ids, keys and addresses must be distinct.
func NewMembers(cluster ClusterID, members []Member) (*Members, error) {
	m := &Members{cluster: cluster}
	if err := m.Replace(members); err != nil {
		return nil, err
	}
	return m, nil
}

// Replace installs the next membership. It does not touch connections that are already open.
func (m *Members) Replace(members []Member) error {
	next := slices.Clone(members)
	slices.SortFunc(next, func(a, b Member) int { return cmp.Compare(a.Replica, b.Replica) })
	for i, a := range next {
		if a.Replica == 0 || a.Addr == "" || a.Fingerprint == (Fingerprint{}) {
			return fmt.Errorf("members: replica %d: id, address and key fingerprint are all needed", a.Replica)
		}
		for _, b := range next[:i] {
			switch {
			case a.Replica == b.Replica:
				return fmt.Errorf("members: replica %d stands twice", a.Replica)
			case a.Fingerprint == b.Fingerprint:
				return fmt.Errorf("members: replicas %d and %d have one key: issue each a key of its own",
					b.Replica, a.Replica)
			case a.Addr == b.Addr:
				return fmt.Errorf("members: replicas %d and %d have one address %s", b.Replica, a.Replica, a.Addr)
			}
		}
	}
	m.members.Store(&next)
	return nil
}

// Cluster is the cluster of the membership.
func (m *Members) Cluster() ClusterID { return m.cluster }

// All is the membership, ascending by replica id. The caller must not change it.
func (m *Members) All() []Member { return *m.members.Load() }

// Lookup finds a member.
func (m *Members) Lookup(id epaxos.ReplicaID) (Member, bool) {
	all := m.All()
	i, found := slices.BinarySearchFunc(all, id, func(a Member, id epaxos.ReplicaID) int {
		return cmp.Compare(a.Replica, id)
	})
	if !found {
		return Member{}, false
	}
	return all[i], true
}

// Verify finds the member that a replica's certificate speaks for, or says why it speaks for none.
// It does not verify who signed the certificate; the TLS configurations of this package do.
func (m *Members) Verify(cert *x509.Certificate) (Member, error) {
	name, err := NameOf(cert)
	if err != nil {
		return Member{}, err
	}
	if name.Cluster != m.cluster {
		return Member{}, fmt.Errorf("%s belongs to another cluster: this is %s", name, m.cluster)
	}
	if !name.IsReplica() {
		return Member{}, fmt.Errorf("%s is a client: only replicas may speak %s", name, PeerProtocol)
	}
	member, found := m.Lookup(name.Replica)
	if !found {
		return Member{}, fmt.Errorf("%s is no member: add it by a membership change first", name)
	}
	if got := Fingerprint(PublicKeyFingerprint(cert)); got != member.Fingerprint {
		return Member{}, fmt.Errorf("%s shows key %s, but the membership binds the replica to key %s",
			name, got, member.Fingerprint)
	}
	return member, nil
}
