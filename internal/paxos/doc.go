// Package paxos holds the protocols that the experiments compare EPaxos* with, as machines of values:
// Basic Paxos, Multi-Paxos, Flexible Paxos and Fast Paxos. They never serve clients in production.
//
// They are meant to be as good as the textbook allows, not straw men. All of them pack the requests of
// one turn together, send to all replicas at once, save only what a vote or a promise needs, retransmit, elect,
// catch up after a restart, and execute each request once though it may have been decided twice.
//
// # The forms
//
// All four decide one log of slots, which every replica executes in order.
//
//   - Basic: no distinguished proposer ("Paxos Made Simple", section 2). A replica with requests runs both
//     phases at the first slot that it does not know to be decided, for all its waiting requests at once. It
//     completes what it finds there, backs off at random when it meets a higher ballot, and goes on
//     to the next slot. Replicas that want to write at the same time duel.
//   - Multi: one leader does phase 1 once for all slots. Others forward their requests to it, and hear of decisions
//     from it. A leader that is suspected is succeeded by the next in the order of succession that lives.
//   - Flexible: Multi with phase-2 quorums below a majority, and phase-1 quorums that meet each of them
//     (Howard, Malkhi, Spiegelman, OPODIS 2016).
//   - Fast: every replica sends its requests to all. Each gives them the next free slots of a fast round and
//     tells all its votes; ⌈3n/4⌉ equal votes decide. If they differ, the coordinator takes them for answers to
//     phase 1 of the classic half of its round and proposes what may have been decided; if nothing may, all that
//     was voted for (coordinated recovery; Lamport, "Fast Paxos", Distributed Computing 2006). A command that lost
//     its slot all the same is voted for in a later one.
//
// # On a node
//
// A Core is a machine of values with types of its own, which the experiments run in virtual time. Seat and Order put it
// into internal/node, in the place of epaxos.Replica and execution.Graph: the same store, transport, executor and
// clients, crashes and restarts included (docs/decisions/0022).
//
// # Absent, on purpose
//
// Compaction of the log, snapshots, membership changes, leases of leaders and reads without the log: an experiment is
// over before it needs them, and none of them makes a command quicker.
package paxos
