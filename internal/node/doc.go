// Package node is a whole replica without threads: it composes the protocol core, the executor,
// the state machine and the store, and does nothing by itself. Production feeds it from one
// goroutine; the simulator feeds many of them from one thread on fake time.
//
// A turn is: any number of inputs (Propose, Deliver, Tick, Suspect, Greet), then once
//
//	messages, err := node.Save(now)    // one synced group; only now may messages leave
//	send(messages)
//	answers, err := node.Execute(now)  // what was committed is applied and answered
//
// An error of either is final: the replica must stop, since its memory and its disk no longer
// agree. Going on after a failed sync would promise what a crash can take back.
//
// A node starts on probation: it keeps silent until n-f replicas, itself included, have greeted it
// and none of them remembers more of it than it remembers itself (Greet). A replica whose disk
// was wiped, or restored from a copy, would otherwise break promises it no longer knows of.
package node
