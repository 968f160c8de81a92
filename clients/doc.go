// Package clients is the Go client of the service.
//
// A Client keeps one connection to every replica of a cluster, measures how far each is, and sends
// operations to the nearest that is well:
//
//	client, err := clients.Dial(ctx, []string{"10.0.0.1:7000"}, clients.WithTLS(config))
//	...
//	defer client.Close()
//	_, err = client.Put(ctx, "colour", []byte("blue"))
//	result, err := client.Get(ctx, "colour")
//
// One endpoint is enough: the replicas tell the others. Get, Put, Range, Txn and their like speak to the
// bundled key-value machine; Do, Query, Submit and Start carry any payload to any other state machine.
//
// # The key-value machine
//
// Operations interfere if they touch a key in common, and not both only read, or both only add (Client.Add).
// A range touches every key in it, whether it exists or not. An operation takes one round trip to the
// nearest quorum if nothing that interferes is under way in another place; otherwise it takes a second, and
// waits for the others.
//
// Each key has a version, which counts its changes and survives deletes. So no version of a key comes twice,
// and a compare by version says that nothing at all has happened to the key since. What that costs for keys
// that are deleted and never used again, Client.Forget gives back.
//
// Keys have up to 4 KiB, values 256 KiB, transactions 128 conditions and 128 operations in each branch. What
// one operation answers is bounded by 512 KiB; ranges beyond it come in pages.
//
// # Promises
//
// Every operation ends, by an answer or by an *Error, at its context's end or deadline (10 s where
// there is none; WithTimeout). An operation that returns no error has been executed by the replica
// that answered, and is durable at a quorum; operations on a key are linearizable.
//
// An error says what became of the effect, which decides whether the caller may try again:
//
//   - NotApplied: there was none and will be none.
//   - Applied: it took effect; only the answer is missing.
//   - Unknown: nobody can tell yet. The connection was lost, or the deadline passed, after the
//     operation had been sent.
//
// The client itself retries, with jittered back-off and on another replica if need be, until the
// deadline: operations it never sent; operations refused as retryable and not applied (an
// overloaded, starting or draining replica); and operations that only read, whatever happened. It
// never repeats an operation that may have taken effect.
//
// # The nearest replica
//
// A probe goes to every replica each WithProbeInterval, ten times as often at first. The client
// leaves a replica that is well only for one that was clearly nearer for several probes in a row
// (Policy), so it does not swing between equals. It leaves at once a replica that closed the
// connection, asked its clients to leave, leaves a probe unanswered, or answers probes but carries
// nothing out, as one does that is cut off from a quorum. Operations that were sent there and may
// change the state stay there: their answer may still come. All of them are probed on, and taken
// back under the same rules when they are well again.
//
// # Members come and go
//
// Replicas tell their clients of each change of the membership, with its epoch. The client connects
// to new members, which the cluster's authority vouches for, and leaves former ones: what it has not
// sent there, or only reads, goes elsewhere at once; what was sent is answered there, done or "not
// applied", and the latter is tried elsewhere. So a change of the membership fails no operation, as long
// as the former member lives to answer. Endpoints given to Dial are remembered as a last resort.
//
// # Threads
//
// All methods are safe for concurrent use. A client runs two goroutines of its own per replica,
// and one more that keeps time. Operations of all callers share one stream per replica
// and go out in batches that grow with the load. Start blocks while WithInFlight operations are
// open, and this is the only back-pressure: nothing is queued beyond it. Close ends all goroutines.
//
// # What is absent
//
// Sessions, and with them exactly-once retries, are not there yet: so unknown outcomes are
// reported and left to the caller. A compare-and-set by a version other than 0 is safe to
// repeat: at most one copy finds that version.
// There are no session, stale or snapshot reads: Get is a command like any other, and learners are
// asked for nothing.
package clients
