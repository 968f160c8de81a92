// Package loopback runs a whole cluster in this process: real replicas with certificates, directories and QUIC
// sockets of their own on loopback, and client programs beside them. Between the sockets lies nothing, or the
// wide-area network that internal/wan emulates. What runs is what `epaxos serve` runs; the directories are temporary.
package loopback
