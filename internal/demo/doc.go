// Package demo runs a whole cluster and its clients in one process and measures what the clients
// see: replicas with real directories and QUIC over loopback, and below it, unless asked not to,
// an emulated wide-area network.
//
// Every region has a replica and a client program. The program keeps one connection to each
// replica, as clients.Client does, and is shared by the region's clients: each is a closed loop
// that sends its next operation when the one before has ended. The clients of a region are at a
// site of their own, at no distance from the region's replica, so that they outlive it.
//
// A run warms up for a second and then measures. What counts is every operation that begins in the
// measured window; those still open at its end are waited for, never cancelled.
package demo
