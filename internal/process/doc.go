// Package process holds tests of real processes: the program as it ships, sockets, disks and signals.
//
// TestScenarios runs a table of them, each a cluster, a load and a failure. Its packages are the steps
// of the method:
//
//	cluster   runs the replicas, and what stands between them
//	traffic   clients that read and write, and record what they see
//	failure   hurts the cluster, and heals it
//	validate  decides whether what was seen and what is left could have come from a correct cluster
//	report    keeps all of it, if not
//
// A run that does nothing, or in which nothing is hurt, fails.
package process
