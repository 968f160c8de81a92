// Package watch keeps what the commands of a replica have changed, in the order in which it executed them, and finds
// in it what clients have not been told yet (docs/protocol.md, H).
//
// A client that watches a span of keys asks again and again, wherever it likes. All that it needs to go on is in its
// token: the set of the instances whose changes it was told. Two replicas execute interfering commands in the same
// order and others in any, so what is missing from the set and in the journal of a replica, in the order of that
// journal, is what comes next for each key.
//
//	watches.Executed(replica, slot, changes)    // for each instance, in the order of execution
//	watches.Open(watch.Poll{...})               // a client asks
//	answers, err := watches.Serve(site)         // after all that can execute has
//
// The package is pure: no clock, no I/O, no goroutine. Nothing in it is safe for concurrent use.
package watch
