// Package bootstrap makes everything that a new cluster needs, in one directory and at once:
//
//	D/authority/           certificate and key of the cluster's authority; keep the key off the replicas
//	D/n<ID>/config.yaml    configuration of a replica
//	D/n<ID>/tls/           its certificate, its key, and the authority's certificate
//	D/n<ID>/data/          its data directory, which nobody but this incarnation may use
//	D/client.yaml          profile of a client, with the endpoints of all replicas
//	D/client/              certificate and key of that client
//
// Each n<ID> and the pair client.yaml, client/ may be moved to another machine as they are: all
// paths inside are relative. `epaxos init`, `epaxos demo` and server.Init use the same code.
//
// Either the whole cluster appears under its name or nothing does; what exists is never changed.
package bootstrap
