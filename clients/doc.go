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
// One endpoint is enough: the replicas tell the others. Package profile dials by the file that init wrote. Get, Put,
// Range, Txn and their like speak to the bundled key-value machine; Do, Query, Submit and Start carry any payload to
// any other state machine.
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
// Batch sends independent operations together; Begin starts one and gives a Pending to wait for; Txn makes several one.
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
// What may change the state takes effect once. The client opens a session at the cluster with its first write,
// which takes one round trip more for that, and numbers its requests. When an answer is lost, or a replica does not
// answer, it sends a copy to another; the cluster carries out the first copy and answers the others alike. It
// goes on so until the deadline.
//
// An error says what became of the effect, which decides whether the caller may try again:
//
//   - NotApplied: there was none and will be none.
//   - Applied: it took effect; only the answer is missing.
//   - Unknown: nobody has told in time. Error.Request names the operation, and Client.Outcome finds out what became
//     of it and sees to it that it stays so; any client may ask, also in another process.
//
// A client that the cluster does not hear for WithSessionTTL loses its session, and what was under way in
// it ends as ErrSessionExpired, unless it is certain to have had no effect. The client tells that it lives by itself.
// The next write opens another session.
//
// Named writes cost: a record on disk until the next checkpoint, and at saturation, with small values, some 1.4 times
// the CPU of unnamed ones. WithoutSession leaves them unnamed: then the client retries only operations it never
// sent, or that were refused as retryable and not applied, and never repeats one that may have taken effect.
//
// # Leases
//
// Client.Grant makes a lease and keeps it alive. Keys that are put under it (WithLease, in Put, PutIfAbsent, Swap,
// the compare-and-sets and their likes in transactions) are deleted when it ends, all in one moment: when it was
// not kept alive for its time to live, or is revoked. Lease.Done is closed when it is lost, or when it is no longer
// certain to live, by the clock of this process and early enough that no replica has ended it before. A holder that was
// paused can still be late; what it must not do then is guarded by the version of a leased key, which grows with
// each holder: package recipes hands it out as fencing token. The cluster must be at format level 3.
//
// # Consistency of reads
//
// Linearizable, the default, shows all that was answered anywhere before the read began. Get takes one round
// trip from its replica to the nearest majority, neither disk nor instance, and waits only for writes of the key that
// are under way; Range and transactions that read are commands.
//
// Session shows all that this client has written and read, in a round trip to its replica: after a move to another
// replica it waits until that has caught up. Client.Token names what the client has seen; as an option of a read, or by
// Client.Observe, it makes another client see as much.
//
// Stale shows what the nearest replica has, a learner perhaps. Reply.Age and Result.Age tell how old that may be: all
// that was answered before then is shown. A replica finds that out as long as it is asked for stale reads, so the first
// answer cannot tell; a learner never can.
//
// A Cut shows one moment: Client.Cut names it, all replicas keep its state for a while, and reads at it show the same
// wherever and however often they are made, in pages too, in any process that has its id. They wait for nobody
// and nobody waits for them. What was answered before the cut was asked for is in it, and nothing that was asked for
// after it was answered. When no replica has it any more, they fail with ErrCutGone.
//
// None of them reads what is not decided, or will be undone.
//
// # Watches
//
// Client.Watch tells each change of a span of keys: those of each key in their order, each once, whatever happens to
// connections, replicas and members. Watch.Token names what was told; FromToken goes on from there, in this process or
// another, at any replica. There is no revision of the whole store, and no order between the changes of different keys
// by different commands: such commands do not interfere, so replicas execute them in different orders, and an
// agreement about one is just what they save. A consumer that is so slow that all replicas have forgotten what comes
// next is told so, by EventResync, and then the state. A Watch has no goroutine: while nobody is in Next, nothing is
// asked, and nothing is kept anywhere.
//
// # Leases
//
// Client.Grant makes a Lease, which keeps itself alive until it is closed, revoked or lost. Keys that are put under it
// (WithLease) go when it ends, all in one moment. Lease.Done tells, by the clock of this process, that it may have
// ended. Package recipes builds locks, elections, barriers and queues on leases and watches, each with a fencing token:
// a holder that slept through the end of its lease is refused by whatever compares tokens.
//
// # The nearest replica
//
// A probe goes to every replica each WithProbeInterval, ten times as often at first. The client
// leaves a replica that is well only for one that was clearly nearer for several probes in a row
// (Policy), so it does not swing between equals. It leaves at once a replica that closed the
// connection, asked its clients to leave, leaves a probe unanswered, or answers probes but carries
// nothing out, as one does that is cut off from a quorum. Operations that were sent there go
// elsewhere too, if copies do no harm. All of them are probed on, and taken
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
// one more that keeps time, one that looks after its session, and one for each Lease. Operations of all
// callers share one stream per replica and go out in batches that grow with the load. Start and Begin block while
// WithInFlight operations are open, and this is the only back-pressure: nothing is queued beyond it. Close ends all
// goroutines.
//
// # Hooks
//
// WithObserver calls a function at the begin and the end of each operation; a tracer or a meter is some ten
// lines, see its examples. Nothing is logged unless WithLogger is given.
//
// # What is absent
//
// Metrics of its own: see WithObserver.
package clients
