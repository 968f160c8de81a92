// Package live plays the points of an experiment with real replicas: QUIC on loopback with certificates, Badger, the
// server and the Go client that ship, in this process. Emulated are the round trips between the sites, and what goes
// wrong between them; time is the clock on the wall. EPaxos* and the protocols of internal/paxos run on the same node.
//
// A probe stands around each replica's core and orderer. It sees when a command becomes known as decided, which no
// client can, and counts messages; it changes nothing.
package live
