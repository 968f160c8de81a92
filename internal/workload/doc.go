// Package workload says what clients ask for: how much, which keys, which operations. The experiments in virtual time,
// those on real sockets and the bench of a running cluster draw from the same definitions, so that their figures can be
// laid side by side.
//
// A Spec is the definition; a Source draws from it for the clients of one region. Two sources of equal arguments draw
// the same. Nothing here knows time or a network: whoever drives a Source decides what its waits mean.
package workload
