// Package server runs one replica inside any Go program.
//
//	config, err := server.Load("n1/config.yaml")      // as `epaxos init` wrote it
//	replica, err := server.Open(config, machine)      // any execution.StateMachine
//	defer replica.Close()
//	reply, err := replica.Execute(ctx, payload)       // or any client, over QUIC
//
// Open starts the replica and returns; it takes part as soon as a quorum of its members has
// greeted it. Done is closed when it stops, by Close or because of a fault that Err tells: a disk
// that failed a sync or lost data, or a state machine that broke its contract. A program should end
// then. Nothing is retried on the same directory, since memory and disk no longer agree.
//
// # Threads
//
// One goroutine owns the node (the protocol, the executor, the state machine and the store) and
// runs its turns: take all waiting inputs, step through them, save once, send, execute, answer. All
// others only feed its inbox: the transport's readers with frames, the gateway's readers with
// requests, a ticker with time. Batches are as large as the load makes them; no timer delays one.
package server
