// Package epaxos is the protocol: Egalitarian Paxos in its corrected form, EPaxos* (Ryabinin,
// Gotsman, Sutra, "Making Democracy Work", OPODIS 2025), as a machine of values.
//
// # The loop
//
// A Replica takes inputs and says what is to be done about them. It does no I/O, reads no clock,
// starts no goroutine and iterates no map; given the same inputs it does the same, byte for byte.
//
//	replica.Propose(now, proposal, request, footprint) // a client's request
//	replica.Step(now, envelope)                        // a peer's message
//	replica.Tick(now)                                  // time has passed
//	ready := replica.Ready()
//	save(ready.Records)                                // one group, synced if ready.MustSync
//	send(ready.Messages)                               // only now
//	executor.Learn(ready.Learned)
//	executor.Commit(ready.Committed)                   // what executes comes back through Executed
//
// The caller saves before it sends, without exception: the quorums count on every vote surviving
// a crash. After a restart it replays the records with Restore, calls Restored, and goes on.
//
// # Vocabulary
//
// A replica is the command leader of the instances in its own column. A client's command is
// pre-accepted with the dependencies its leader knows (initial), and voters answer with what they
// know (PreAcceptReply). If a fast quorum answers just the initial dependencies the instance is
// committed in one round trip: the fast path. Otherwise the union is accepted by a slow quorum: the
// slow path. If the leader dies, any voter recovers the instance at a higher ballot: it asks what a
// quorum knows (Recover), asks whether the initial proposal can have been committed (Validate),
// perhaps waits for instances that stand against it (Waiting), and proposes the command or a no-op.
//
// Each file holds one phase, both sides of it: preaccept.go, accept.go, commit.go, recovery.go,
// validate.go; propose.go is admission, liveness.go what drives progress, catchup.go what fills gaps,
// watermark.go what is forgotten, read.go reads without an instance, epoch.go the end of an epoch.
//
// # Invariants
//
//  1. Agreement: no two replicas commit an instance with different commands or dependencies.
//  2. Visibility: of two committed interfering commands, neither a no-op, one is in the other's
//     dependencies, unless every replica had executed one before the other was decided.
//  3. Promise: a promise never decreases and is never below the accepted ballot, across crashes too.
//  4. Durability: nothing that counts in a quorum is sent in a turn that does not save it first.
//
// # Where this differs from the papers
//
//   - From EPaxos (SOSP 2013): two ballots per instance, as one for promise and vote lets two values
//     be chosen (Sutra 2019); no sequence numbers; no TryPreAccept, whose deferrals can deadlock;
//     the fast path compares with the initial dependencies, not the answers with one another.
//   - Dependencies are a vector that stands for all interfering instances up to a slot, not sets and
//     not the latest instance: a chain through the latest is cut when an instance becomes a no-op.
//   - From EPaxos*: a commit is accepted at any promise; whoever knows a decision answers anything
//     with it; a commit reported by anyone ends a recovery.
//   - The rules of the baseline protocol are used where n >= 2e+f+1.
//   - Commands are answered after execution. The papers answer at commit, which is not linearizable
//     without sequence numbers.
//
// # Absent, on purpose
//
// Execution order (package execution), encodings, timers, connections, disks, and all that lies between two
// epochs: a Replica is of one.
package epaxos
