// Package process holds tests of real processes: the program as it ships, sockets, disks and
// signals. They kill replicas without warning while clients write, start them again, and look for
// everything that was acknowledged.
package process
