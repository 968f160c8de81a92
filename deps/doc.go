// Package deps answers one question of the protocol: which known instances interfere with this
// command? It implements epaxos.ConflictIndex.
//
// # The loop it serves
//
// A command leader that proposes, and a replica that receives a pre-accept, do the same two steps:
//
//	index.Raise(footprint, into)           // what must be ordered against the command
//	index.Insert(column, slot, footprint)  // and from now on the command itself
//
// Validation during recovery asks for the instances one by one, above what a vector already names:
//
//	for _, p := range index.Above(footprint, initialDeps) { ... }
//
// # How it is built
//
// Every key that was touched has an entry: for each (column, mode) the slots of the instances that
// touched it, ascending. The last of them is the row maximum that Raise reports, and the others are
// what Above enumerates. A point query is one map look-up, whatever the size of the index. The latest
// entry is remembered, since Raise and Insert of one command come together.
//
// A range that was touched has an entry of the same kind. Points and ranges meet through ordered
// chunks of entries, each chunk with the maxima of its members: a range query reads the maxima of
// chunks that lie inside and looks at single entries only at its two ends. The ordered form of the
// points is built when the first range shows up and kept from then on, so that whoever uses no range
// pays nothing for it. Commands that interfere with everything have one entry for all, and all
// instances together are a list of runs of slots.
//
// Cost, for k keys, r distinct ranges and c columns: Insert and Raise of a point O(c), of a point
// where ranges are in use O(c + log k + r/256 + matches); Raise of a range O(c * k/256) at worst;
// Above the same plus the size of its answer, never of the history below the floor.
//
// # What always holds
//
//	I1  Raise and Above agree with epaxos.Footprint.Interferes over everything inserted and not
//	    forgotten: no interfering instance is missed, and none that does not interfere is named.
//	I2  The order and the repetition of Insert change no answer.
//	I3  Nothing leaves the index but through Forget.
//
// # What is absent
//
// The index knows no phases, ballots or outcomes. An instance decided as a no-op stays, since an
// index that drops it breaks agreement (docs/protocol.md, rule D4). It has no lock and no clock: one
// goroutine uses it, the one that runs the protocol.
package deps
