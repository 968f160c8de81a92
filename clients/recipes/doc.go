// Package recipes builds locks, elections, barriers, queues and counters out of what the client offers:
// transactions, leases and watches.
//
//	session, err := recipes.NewSession(ctx, client, 10*time.Second)
//	...
//	defer session.Close(ctx)
//	lock, err := recipes.NewMutex(session, "reports").Lock(ctx)
//	...
//	defer lock.Unlock(ctx)
//	err = archive.Store(report, lock.Token()) // refuses tokens smaller than it has seen
//
// A Session is a lease. What is taken under it is held as long as the process keeps the lease alive, and goes to
// others when it dies. Mutex, RWMutex, Election, Barrier and Queue belong to a session; one session serves any
// number of them. A Counter needs none.
//
// # What a lock promises, and what it cannot
//
// At the cluster, at most one holds a Mutex at each place in the order of commands: one key decides, which is
// written only where it is absent. Clocks decide nothing there. They decide when a lease is over, and a process
// learns of that late if it was paused, swapped out or cut off: it goes on as if it held the lock while another
// does. No lock service can prevent that, since whatever it tells a process may be stale when the process acts on
// it. So there are two lines:
//
//   - Lock.Lost is closed no later than the cluster may give the lock to another, as long as clocks go at about the
//     same rate and the process runs. A process that is not paused has stopped when the next begins.
//   - Lock.Token is the fencing token: it grows with each holder. A resource that refuses tokens smaller than it
//     has seen (Fence) is never changed by one who lost the lock after one who got it. This rests on no clock,
//     and on nothing that the process believes.
//
// So use Lost to stop early and Token to be safe. Where the resource cannot compare tokens, a lock saves work that
// would be done twice; it does not make it impossible.
//
// A token is the version of a key. Versions survive deletes and never repeat, unless the key is forgotten: do not
// call Client.Forget on keys of recipes, nor delete and forget the keys that their docs call never deleted.
//
// # When things go wrong
//
//   - The process is paused: its lease expires, the next one holds. It finds Lost closed when it wakes up; until
//     then its token is too small for every resource that the next has used.
//   - The process dies: the same, after the time to live. With its lease go its places in queues.
//   - The network parts: who cannot reach a quorum loses its lease, and is told when it can no longer know that it
//     lives. The others go on after the time to live, if they are a quorum.
//   - The clock of a replica jumps: leases may end early, which is told when the process next hears of its lease;
//     until then the token is what protects.
//   - The outcome of a step is unknown: the recipe finds out what became of it, and sees to it that it cannot
//     happen later (Client.Outcome), before it does anything else. Each step is written such that a second copy
//     of it sees what the first has done. A client without a session at the cluster (clients.WithoutSession) has
//     no name for its writes: there an unknown outcome costs the lease, since what is on its way then finds no
//     lease to write under.
//   - A context ends, while the caller waits or while a step is under way: the caller returns at once with the
//     error of its context; the session settles the step and removes what it wrote, in the background, as long as
//     its lease lasts.
//
// A session that is lost stays lost. Open another: nothing is held under it.
//
// # Waiting
//
// Who has to wait takes a ticket and stands in a queue of leased keys, one behind the other. It watches the key
// of the one before it, and the first watches the holder; so the end of one wakes one, and not all. The queue is
// for fairness alone: nobody holds anything because of its place.
//
// # Keys
//
// Each recipe lives in the keys that begin with its name and a slash; their docs tell what they hold, and any
// client may read them. The values of holders and waiters are identities, the id of the lease and a number:
// "epaxos lease show" tells more of the process. Deleted keys of waiters, readers and items are forgotten now and
// then by those who come later.
//
// # Cost
//
// A lock that is free takes one command to take and one to give back, in any region, on the fast path if nobody
// else wants it at the same time. Under contention a waiter takes two or three commands and a watch. The lease
// takes one command every third of its time to live, for everything held under it. A lease has at most 512 keys.
//
// # What is absent
//
// Locks that one holder takes several times, upgrades from reading to writing, and deadlock detection. A queue
// hands an item to one taker, which may die with it: where that must not be, let the taker hold a Mutex for the
// item, and remove it when it is done.
package recipes
