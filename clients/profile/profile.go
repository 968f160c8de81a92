// Package profile connects a client to the cluster that a profile names: the file client.yaml that
// `epaxos init` and server.Init write, with the certificate and key beside it.
//
//	client, err := profile.Dial(ctx, "cluster/client.yaml")
//
// It is apart from package clients so that a program which takes certificates and endpoints from
// elsewhere does not link the reading of files.
package profile

import (
	"context"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/internal/bootstrap"
)

// Dial connects as clients.Dial does, with the endpoints, the identity and the cluster of a profile.
// Options that are given beat those of the profile.
func Dial(ctx context.Context, file string, opts ...clients.Option) (*clients.Client, error) {
	access, err := bootstrap.LoadAccess(file)
	if err != nil {
		return nil, err
	}
	own := []clients.Option{clients.WithTLS(access.TLS), clients.WithCluster(access.Cluster)}
	return clients.Dial(ctx, access.Endpoints, append(own, opts...)...)
}
