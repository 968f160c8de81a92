package identity

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Member is one replica of a membership, voter or learner, as the transport knows it.
type Member struct {
	Replica     epaxos.ReplicaID
	Fingerprint Fingerprint // of the only key that may speak for Replica
	Incarnation uint64      // checked in the hello, by the server
	Addr        string      // host:port
}

// Members is one membership: it says which key speaks for which replica. It is a value that never
// changes; the next membership is another one. A nil *Members has no cluster and no members.
type Members struct {
	cluster ClusterID
	epoch   epaxos.Epoch
	next    epaxos.ReplicaID // ids below were given away; 0 is unknown
	members []Member         // ascending by replica
}

// Sentinels for errors.Is, about certificates of the cluster whose key is no member's.
var (
	// ErrUnknownMember matches them all: not a member yet, not one any more, or an impostor.
	ErrUnknownMember = errors.New("no member of this cluster has this key")
	// ErrFormerMember matches, as well, where the replica has been a member.
	ErrFormerMember = errors.New("the replica was removed")
)

// NewMembers checks and holds a membership. Replica ids, keys and addresses must be distinct.
func NewMembers(cluster ClusterID, members []Member) (*Members, error) {
	own := slices.Clone(members)
	slices.SortFunc(own, func(a, b Member) int { return cmp.Compare(a.Replica, b.Replica) })
	for i, a := range own {
		if a.Replica == 0 || a.Addr == "" || a.Fingerprint == (Fingerprint{}) {
			return nil, fmt.Errorf("members: replica %d: id, address and key fingerprint are all needed", a.Replica)
		}
		for _, b := range own[:i] {
			switch {
			case a.Replica == b.Replica:
				return nil, fmt.Errorf("members: replica %d stands twice", a.Replica)
			case a.Fingerprint == b.Fingerprint:
				return nil, fmt.Errorf("members: replicas %d and %d have one key: issue each a key of its own",
					b.Replica, a.Replica)
			case a.Addr == b.Addr:
				return nil, fmt.Errorf("members: replicas %d and %d have one address %s", b.Replica, a.Replica, a.Addr)
			}
		}
	}
	return &Members{cluster: cluster, members: own}, nil
}

// InEpoch is the same membership, known to be that of an epoch. Replica ids below next were given
// away at some time, so that those who are no members any more can be told so; 0 is unknown.
func (m *Members) InEpoch(epoch epaxos.Epoch, next epaxos.ReplicaID) *Members {
	return &Members{cluster: m.cluster, epoch: epoch, next: next, members: m.members}
}

// Cluster is the cluster of the membership.
func (m *Members) Cluster() ClusterID {
	if m == nil {
		return ClusterID{}
	}
	return m.cluster
}

// Epoch is the epoch of the membership, 0 if unknown.
func (m *Members) Epoch() epaxos.Epoch {
	if m == nil {
		return 0
	}
	return m.epoch
}

// All is the membership, ascending by replica id. The caller must not change it.
func (m *Members) All() []Member {
	if m == nil {
		return nil
	}
	return m.members
}

// Lookup finds a member by its id.
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

// ByFingerprint finds a member by its key.
func (m *Members) ByFingerprint(key Fingerprint) (Member, bool) {
	all := m.All()
	i := slices.IndexFunc(all, func(a Member) bool { return a.Fingerprint == key })
	if i < 0 {
		return Member{}, false
	}
	return all[i], true
}

// Verify finds the member that a replica's certificate speaks for, or says why it speaks for none:
// the error is ErrUnknownMember if the certificate is one of a replica of this cluster. It does not
// verify who signed the certificate; the TLS configurations of this package do.
func (m *Members) Verify(cert *x509.Certificate) (Member, error) {
	name, err := replicaName(cert, m.Cluster())
	if err != nil {
		return Member{}, err
	}
	member, found := m.Lookup(name.Replica)
	if !found {
		return Member{}, m.stranger(name.Replica)
	}
	if err := member.check(cert); err != nil {
		return Member{}, err
	}
	return member, nil
}

// unknownMember is the reason why a certificate of the cluster is no member's.
type unknownMember struct {
	reason string
	former bool
}

func (u unknownMember) Error() string { return u.reason }

// Is makes errors.Is find the sentinels of this package.
func (u unknownMember) Is(target error) bool {
	return target == ErrUnknownMember || u.former && target == ErrFormerMember
}

// stranger says why a replica is no member.
func (m *Members) stranger(id epaxos.ReplicaID) error {
	switch {
	case id < m.next:
		return unknownMember{fmt.Sprintf("replica %d was removed: epoch %d does not have it any more", id, m.epoch), true}
	case m.epoch != 0:
		return unknownMember{reason: fmt.Sprintf("replica %d is not a member (yet): epoch %d does not have it; "+
			"add it by a membership change", id, m.epoch)}
	default:
		return unknownMember{reason: fmt.Sprintf("replica %d is not a member (yet): add it by a membership change", id)}
	}
}

// check says whether a certificate, of the member's id, shows the member's key.
func (m Member) check(cert *x509.Certificate) error {
	if got := Fingerprint(PublicKeyFingerprint(cert)); got != m.Fingerprint {
		return unknownMember{reason: fmt.Sprintf("replica %d shows key %s, but the membership binds the replica to key %s",
			m.Replica, got, m.Fingerprint)}
	}
	return nil
}

// replicaName is the name of a certificate that must be of a replica of a cluster.
func replicaName(cert *x509.Certificate, cluster ClusterID) (Name, error) {
	name, err := NameOf(cert)
	switch {
	case err != nil:
		return Name{}, err
	case name.Cluster != cluster:
		return Name{}, fmt.Errorf("%s belongs to another cluster: this is %s", name, cluster)
	case !name.IsReplica():
		return Name{}, fmt.Errorf("%s is a client: only replicas may speak %s", name, PeerProtocol)
	}
	return name, nil
}
