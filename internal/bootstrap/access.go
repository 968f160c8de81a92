package bootstrap

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/264bc8cf/epaxos/internal/config"
	"github.com/264bc8cf/epaxos/internal/identity"
)

// Access is what a client profile opens: pass the parts to clients.Dial, WithTLS and WithCluster.
type Access struct {
	Cluster   [16]byte
	Endpoints []string
	TLS       *tls.Config
}

// LoadAccess reads a client profile and the certificate and key that it names.
func LoadAccess(profile string) (Access, error) {
	p, err := config.LoadProfile(profile)
	if err != nil {
		return Access{}, fmt.Errorf("load the client profile: %w", err)
	}
	credential, err := identity.LoadFiles(identity.Files{CA: p.CA, Cert: p.Cert, Key: p.Key})
	if err != nil {
		return Access{}, fmt.Errorf("load the client profile %s: %w", profile, err)
	}
	name := credential.Name
	if name.IsReplica() || name.Cluster != identity.ClusterID(p.Cluster) {
		return Access{}, fmt.Errorf("load the client profile %s: its certificate is of %s, need a client's of cluster %s",
			profile, name, p.Cluster)
	}
	return Access{Cluster: p.Cluster, Endpoints: p.Endpoints, TLS: credential.ClientConfig()}, nil
}

// SetEndpoints writes a client profile anew with other endpoints, at once or not at all. It reports whether that
// changed anything.
func SetEndpoints(profile string, endpoints []string) (changed bool, err error) {
	p, err := config.LoadProfile(profile)
	if err != nil {
		return false, fmt.Errorf("load the client profile: %w", err)
	}
	if slices.Equal(p.Endpoints, endpoints) {
		return false, nil
	}
	p.Endpoints = endpoints
	next := fmt.Sprintf("%s.%d", profile, os.Getpid())
	if err := config.WriteProfile(next, p); err != nil {
		return false, err
	}
	if err := os.Rename(next, profile); err != nil {
		return false, errors.Join(fmt.Errorf("replace the client profile: %w", err), os.Remove(next))
	}
	return true, syncDir(filepath.Dir(profile))
}
