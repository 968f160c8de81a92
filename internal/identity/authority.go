package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

const (
	authorityValidity = 20 * 365 * 24 * time.Hour
	leafValidity      = 10 * 365 * 24 * time.Hour
	// clockSkew is how far the clock of a machine that checks a fresh certificate may lag.
	clockSkew = time.Hour
)

// Authority signs the certificates of one cluster. Whoever holds it can issue client
// certificates, so it is kept apart from the replicas, which need Certificate only.
type Authority struct {
	Cluster     ClusterID
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// Credential is a key, its certificate, and the authority that the other end must be of.
type Credential struct {
	Name        Name
	Certificate *x509.Certificate
	authority   *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes the authority of a cluster, valid for 20 years from now.
func NewAuthority(cluster ClusterID, now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate the authority's key: %w", err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "epaxos cluster " + cluster.String()},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(authorityValidity),
		IsCA:                  true,
		MaxPathLenZero:        true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
		URIs:                  []*url.URL{{Scheme: uriScheme, Host: cluster.String()}},
	}
	cert, err := sign(template, template, key, key)
	if err != nil {
		return nil, fmt.Errorf("sign the authority's certificate: %w", err)
	}
	return &Authority{Cluster: cluster, Certificate: cert, key: key}, nil
}

// IssueReplica makes a key and a certificate for a replica. It becomes a member only when a
// membership names the fingerprint of that key.
func (a *Authority) IssueReplica(id epaxos.ReplicaID, now time.Time) (*Credential, error) {
	name := Name{Cluster: a.Cluster, Replica: id}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: fmt.Sprintf("epaxos replica %d", id)},
		DNSNames:    []string{replicaDNS(a.Cluster, id), ServerName(a.Cluster)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	return a.issue(name, template, now)
}

// IssueClient makes a key and a certificate for a client. The certificate cannot serve: a client
// that poses as a replica is refused by clients and replicas alike.
func (a *Authority) IssueClient(client string, now time.Time) (*Credential, error) {
	name := Name{Cluster: a.Cluster, Client: client}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "epaxos client " + client},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	return a.issue(name, template, now)
}

func (a *Authority) issue(name Name, template *x509.Certificate, now time.Time) (*Credential, error) {
	if err := name.validate(); err != nil {
		return nil, fmt.Errorf("issue a certificate: %w", err)
	}
	uri, err := url.Parse(name.String())
	if err != nil {
		return nil, fmt.Errorf("issue a certificate for %s: %w", name, err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate the key of %s: %w", name, err)
	}
	template.URIs = []*url.URL{uri}
	template.NotBefore = now.Add(-clockSkew)
	template.NotAfter = now.Add(leafValidity)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.BasicConstraintsValid = true
	cert, err := sign(template, a.Certificate, key, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate of %s: %w", name, err)
	}
	return &Credential{Name: name, Certificate: cert, authority: a.Certificate, key: key}, nil
}

// sign makes the certificate of key that template describes.
func sign(template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial.Add(serial, big.NewInt(1))
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// Fingerprint is the fingerprint of the credential's key, for the membership.
func (c *Credential) Fingerprint() Fingerprint { return PublicKeyFingerprint(c.Certificate) }

func (c *Credential) tlsCertificate() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{c.Certificate.Raw}, PrivateKey: c.key, Leaf: c.Certificate}
}
