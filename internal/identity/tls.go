package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
)

// RefusedFunc hears of each connection that a server refused, and why. The far end learns only
// that its certificate was bad. remote is the address it came from. It must not block.
type RefusedFunc func(remote net.Addr, err error)

// ServerConfig is the TLS configuration of a replica's port, shared by peers and clients. The far
// end must hold a certificate of the cluster's authority: under PeerProtocol a replica's, under
// ClientProtocol a client's. Whether the replica is a member is not asked here but by Members.Verify
// once the handshake is over: TLS could not tell a joining or a removed replica why it is refused.
// refused may be nil.
func (c *Credential) ServerConfig(refused RefusedFunc) *tls.Config {
	base := c.baseConfig()
	base.NextProtos = []string{PeerProtocol, ClientProtocol}
	// The chain is verified in VerifyConnection, with everything else, so that whoever runs the
	// cluster hears of a foreign authority too: a failure inside crypto/tls is told to nobody.
	base.ClientAuth = tls.RequireAnyClientCert
	base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		var remote net.Addr
		if hello.Conn != nil {
			remote = hello.Conn.RemoteAddr()
		}
		config := base.Clone()
		config.GetConfigForClient = nil
		config.VerifyConnection = func(state tls.ConnectionState) error {
			err := c.verifyCaller(state)
			if err != nil && refused != nil {
				refused(remote, err)
			}
			return err
		}
		return config, nil
	}
	return base
}

// PeerConfig is the TLS configuration with which a replica dials one member. Whoever answers must
// be that member, with the member's key.
func (c *Credential) PeerConfig(to Member) *tls.Config {
	config := c.baseConfig()
	config.NextProtos = []string{PeerProtocol}
	config.ServerName = replicaDNS(c.Name.Cluster, to.Replica)
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if state.NegotiatedProtocol != PeerProtocol {
			return fmt.Errorf("replica %d does not speak %s", to.Replica, PeerProtocol)
		}
		leaf := state.PeerCertificates[0]
		name, err := replicaName(leaf, c.Name.Cluster)
		if err != nil {
			return err
		}
		if name.Replica != to.Replica {
			return fmt.Errorf("replica %d answered where replica %d should: correct the address of one of them",
				name.Replica, to.Replica)
		}
		return to.check(leaf)
	}
	return config
}

// ClientConfig is the TLS configuration with which a client dials any replica of its cluster.
// A client does not know the membership, so the authority's signature must do.
func (c *Credential) ClientConfig() *tls.Config {
	config := c.baseConfig()
	config.NextProtos = []string{ClientProtocol}
	config.ServerName = ServerName(c.Name.Cluster)
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if state.NegotiatedProtocol != ClientProtocol {
			return fmt.Errorf("the replica does not speak %s", ClientProtocol)
		}
		name, err := NameOf(state.PeerCertificates[0])
		if err != nil {
			return err
		}
		if name.Cluster != c.Name.Cluster || !name.IsReplica() {
			return fmt.Errorf("%s answered: need a replica of cluster %s", name, c.Name.Cluster)
		}
		return nil
	}
	return config
}

func (c *Credential) baseConfig() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{c.tlsCertificate()},
		RootCAs:                c.roots(),
		SessionTicketsDisabled: true,
	}
}

func (c *Credential) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.authority)
	return pool
}

// verifyCaller is everything that a connection to the shared port must pass.
func (c *Credential) verifyCaller(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("no certificate shown")
	}
	leaf := state.PeerCertificates[0]
	name, err := NameOf(leaf)
	if err != nil {
		return err
	}
	if _, err := leaf.Verify(x509.VerifyOptions{
		Roots:     c.roots(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err != nil {
		return fmt.Errorf("%s: the certificate is not one of this cluster's authority (%s): %w",
			name, c.Name.Cluster, err)
	}
	switch state.NegotiatedProtocol {
	case PeerProtocol:
		_, err := replicaName(leaf, c.Name.Cluster)
		return err
	case ClientProtocol:
		if name.Cluster != c.Name.Cluster || name.IsReplica() {
			return fmt.Errorf("%s may not speak %s: need a client's certificate of cluster %s",
				name, ClientProtocol, c.Name.Cluster)
		}
		return nil
	default:
		return fmt.Errorf("%s speaks protocol %q: need %s or %s",
			name, state.NegotiatedProtocol, PeerProtocol, ClientProtocol)
	}
}
