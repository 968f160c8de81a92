package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/264bc8cf/epaxos/epaxos"
)

// ALPN names of the two protocols on a replica's port. The number is the protocol's version.
const (
	PeerProtocol   = "epaxos-peer/1"
	ClientProtocol = "epaxos-client/1"
)

const (
	uriScheme      = "epaxos"
	clientNameMax  = 64
	dnsSuffix      = "epaxos.internal"
	segmentReplica = "replica"
	segmentClient  = "client"
)

// ClusterID tells clusters apart. It is no secret.
type ClusterID [16]byte

// NewClusterID draws a cluster id.
func NewClusterID() (ClusterID, error) {
	var id ClusterID
	if _, err := rand.Read(id[:]); err != nil {
		return ClusterID{}, fmt.Errorf("draw a cluster id: %w", err)
	}
	return id, nil
}

// ParseClusterID reads what String writes.
func ParseClusterID(s string) (ClusterID, error) {
	var id ClusterID
	if err := parseHex(id[:], s); err != nil {
		return ClusterID{}, fmt.Errorf("parse cluster id %q: %w", s, err)
	}
	return id, nil
}

// String is 32 lower-case hex digits.
func (id ClusterID) String() string { return hex.EncodeToString(id[:]) }

// NewIncarnation draws the number that tells one life of a replica's disk from the next. It is
// never zero, so that zero can mean "none known".
func NewIncarnation() (uint64, error) {
	for {
		var b [8]byte
		if _, err := rand.Read(b[:]); err != nil {
			return 0, fmt.Errorf("draw an incarnation: %w", err)
		}
		if n := binary.BigEndian.Uint64(b[:]); n != 0 {
			return n, nil
		}
	}
}

// NewResetKey draws the key of a replica's stateless resets. Persist it: only the same key lets
// peers notice a restart at once instead of after the idle time-out.
func NewResetKey() ([32]byte, error) {
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return [32]byte{}, fmt.Errorf("draw a reset key: %w", err)
	}
	return key, nil
}

// Fingerprint is the SHA-256 of a public key (SubjectPublicKeyInfo, DER). It survives the renewal
// of a certificate, as long as the key stays.
type Fingerprint [32]byte

// PublicKeyFingerprint is the fingerprint of a certificate's key.
func PublicKeyFingerprint(cert *x509.Certificate) [32]byte {
	return sha256.Sum256(cert.RawSubjectPublicKeyInfo)
}

// ParseFingerprint reads what String writes.
func ParseFingerprint(s string) (Fingerprint, error) {
	var f Fingerprint
	if err := parseHex(f[:], s); err != nil {
		return Fingerprint{}, fmt.Errorf("parse key fingerprint %q: %w", s, err)
	}
	return f, nil
}

// String is 64 lower-case hex digits.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

func parseHex(into []byte, s string) error {
	if len(s) != hex.EncodedLen(len(into)) {
		return fmt.Errorf("%d characters: need %d hex digits", len(s), hex.EncodedLen(len(into)))
	}
	_, err := hex.Decode(into, []byte(s))
	return err
}

// Name is what a certificate says about its holder: exactly one of Replica and Client is set.
type Name struct {
	Cluster ClusterID
	Replica epaxos.ReplicaID
	Client  string
}

// IsReplica reports whether the name is a replica's.
func (n Name) IsReplica() bool { return n.Replica != 0 }

// String is the URI of the name.
func (n Name) String() string {
	if n.IsReplica() {
		return fmt.Sprintf("%s://%s/%s/%d", uriScheme, n.Cluster, segmentReplica, n.Replica)
	}
	return fmt.Sprintf("%s://%s/%s/%s", uriScheme, n.Cluster, segmentClient, n.Client)
}

// validate reports why no certificate can carry the name.
func (n Name) validate() error {
	switch {
	case (n.Replica != 0) == (n.Client != ""):
		return fmt.Errorf("name: need either a replica id from 1 on or a client's name")
	case len(n.Client) > clientNameMax:
		return fmt.Errorf("name: client name of %d bytes: at most %d", len(n.Client), clientNameMax)
	case strings.ContainsFunc(n.Client, notNameRune):
		return fmt.Errorf("name: client name %q: only letters, digits, '-', '_' and '.' are possible", n.Client)
	}
	return nil
}

func notNameRune(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	digit := r >= '0' && r <= '9'
	return !letter && !digit && r != '-' && r != '_' && r != '.'
}

// NameOf reads the name in a certificate. It does not verify who signed the certificate.
func NameOf(cert *x509.Certificate) (Name, error) {
	if len(cert.URIs) != 1 {
		return Name{}, fmt.Errorf("certificate of %q: %d URIs: need one %s:// name",
			cert.Subject.CommonName, len(cert.URIs), uriScheme)
	}
	name, err := parseName(cert.URIs[0])
	if err != nil {
		return Name{}, fmt.Errorf("certificate of %q: %w", cert.Subject.CommonName, err)
	}
	return name, nil
}

func parseName(uri *url.URL) (Name, error) {
	malformed := func(why string) error {
		return fmt.Errorf("name %q: %s: need %s://<cluster>/replica/<id> or /client/<name>", uri, why, uriScheme)
	}
	if uri.Scheme != uriScheme {
		return Name{}, malformed("foreign scheme")
	}
	cluster, err := ParseClusterID(uri.Host)
	if err != nil {
		return Name{}, malformed("bad cluster id")
	}
	kind, value, _ := strings.Cut(strings.TrimPrefix(uri.Path, "/"), "/")
	name := Name{Cluster: cluster}
	switch kind {
	case segmentReplica:
		id, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return Name{}, malformed("bad replica id")
		}
		name.Replica = epaxos.ReplicaID(id)
	case segmentClient:
		name.Client = value
	default:
		return Name{}, malformed("unknown kind")
	}
	// Only the form that String writes is a name: two spellings of one name would let a
	// comparison of strings and a comparison of values disagree.
	if err := name.validate(); err != nil || name.String() != uri.String() {
		return Name{}, malformed("not in the one canonical form")
	}
	return name, nil
}

// ServerName is the TLS server name that every replica of a cluster answers to: what a client that
// builds its own tls.Config must put there, whatever address it dials.
func ServerName(cluster ClusterID) string { return cluster.String() + "." + dnsSuffix }

// replicaDNS is the TLS server name under which a peer accepts one replica only.
func replicaDNS(cluster ClusterID, id epaxos.ReplicaID) string {
	return fmt.Sprintf("replica-%d.%s", id, ServerName(cluster))
}
