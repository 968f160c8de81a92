// Package execution turns committed instances into one order, runs the replicated state machine over
// them, and holds the bundled machine, a key-value store.
//
// # The loop it serves
//
//	graph.Learn(id, command)         // for each epaxos.Learned of a Ready
//	graph.Commit(id, command, deps)  // for each epaxos.Decision
//	for component := graph.Next(); component != nil; component = graph.Next() {
//		for _, v := range component {
//			results, err := state.Apply(machine, v.Command)
//			...
//		}
//	}
//	batch.Writes = state.Take()      // with graph.TakeExecuted(), into the next synced group
//
// A caller may stop between two components, for a budget of bytes; marks and writes then still
// belong together, because a component counts as executed when Next hands it out.
//
// # The order
//
// A dependency vector names every instance of a column up to a slot whose initial command interferes
// with the one that carries it. So a vertex waits for the interfering instances below its vector,
// passes by those that do not interfere, committed or not, and must first learn what an unknown slot
// holds. Committed no-ops are no dependency. What is committed and closed under dependencies executes
// as strongly connected components, in dependency order, ids ascending inside a component.
//
// The graph keeps no edges. A vertex finds its dependencies in lists of the unexecuted vertices of
// each key, column and mode, of which its vector names a prefix. The search (Tarjan's, iterative)
// passes each list once for all vertices of a component, so ten thousand commands on a hot key that
// all depend on each other cost ten thousand steps. Commands with a range or everything access are
// few; they are kept apart and compared one by one.
//
// A search that finds something missing lets all it has on its stack wait for that one thing, be it
// an undecided instance, an unknown slot, or a committed vertex that waits itself. It is tried again
// when that has been executed or become known, never by scanning.
//
// # What always holds
//
//	I1  Two interfering commands execute in the order that their decisions determine, whatever the
//	    order in which commands and decisions arrive (docs/protocol.md, Order).
//	I2  When Next returns nil, exactly the largest committed set that is closed under dependencies
//	    has executed, no instance twice.
//	I3  As long as something is pending, Blocked names what it waits for.
//	I4  Waiting vertices form trees, rooted at something missing or about to be tried.
//	I5  A request reads and writes within its command's footprint, or the replica stops.
//	I6  Writes are readable from the moment they are made: pending, taken or saved.
//
// # What is absent
//
// No clock, goroutine, lock or I/O: reading the store is behind Reader, saving and synced groups are
// the node's. No fetching and no recovery: Blocked only says what is missing. No sessions: State
// gives access to their space beside the machine's keys, and Run applies a single request. No second
// way to execute: a read is a command like any other here.
package execution
