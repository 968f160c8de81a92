package demo

import (
	"context"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/internal/loopback"
	"github.com/264bc8cf/epaxos/server"
)

// newCluster starts the replicas. They need not have met when it returns.
func newCluster(o *Options, trace *tracer) (*loopback.Cluster, error) {
	profile, err := o.profile()
	if err != nil {
		return nil, err
	}
	return loopback.New(loopback.Options{
		Replicas: o.Replicas, Profile: profile, Seed: o.Seed,
		Prepare: func(c *server.Config) {
			if trace != nil {
				c.Trace = trace.line
			}
		},
	})
}

// dial starts the client program of region i.
func dial(
	ctx context.Context, c *loopback.Cluster, i, inFlight int, more ...clients.Option,
) (*clients.Client, error) {
	return c.Dial(ctx, i, append([]clients.Option{
		clients.WithTimeout(operationTimeout), clients.WithInFlight(max(inFlight, 16)),
	}, more...)...)
}
