// Package bench puts a workload on a cluster and measures what its clients see.
//
// An open loop sends at the times of a Poisson process, whether or not earlier requests were answered, and counts
// latency from the time at which a request was due: a cluster that stands still delays all requests that fall due
// meanwhile, and none is left out (no coordinated omission). A closed loop has a number of clients, each of which sends
// the next request when the last was answered.
//
// What an operation without an answer has done is told apart: it had no effect, or nobody knows. Of those the clients
// ask the cluster when the load has ended, if it knows their names.
package bench
