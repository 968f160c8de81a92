// Package experiment measures EPaxos* beside the other protocols of the Paxos family, in virtual time or, with a Runner
// such as that of internal/live, on real replicas.
//
// In virtual time what runs is real: the replica that ships (epaxos.Replica with deps.Index and execution.Graph) or a
// core of internal/paxos, the state machine that ships, and encodings. What is emulated is the rest: a network with
// the round trips of a profile, disks that take a constant time to sync, a processor that takes a constant time for
// a message. One run is one goroutine and depends on nothing but its Point, so the same Point gives the same
// numbers, on any machine.
//
// A replica works in turns, as a server does: it takes what has come in, steps the core, saves what must be saved,
// sends, executes, answers; meanwhile the next inputs gather.
package experiment
