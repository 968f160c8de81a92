// Package sim runs a whole cluster of nodes in one thread on fake time: the shipped core, executor,
// state machine, encodings and turn, over a seeded network and seeded disks. One seed is one run,
// byte for byte; Report.Trace proves it.
//
//	report, err := sim.Run(sim.Options{Seed: 7})
//
// What is checked, and where: agreement and durability in watch.go, at every save and every message;
// equal results of every command in every life of every replica, likewise; linearizability,
// progress and equal states at the end, in check.go. Every invariant names its number in design
// terms in the error it gives.
//
// Faults: loss, duplication, delay and reordering of frames, cut links one way or both, replicas that
// crash between any two steps of a turn and lose every unsynced byte, replicas that pause, disks
// that fill up. They end after Options.Faults; then everything must finish.
package sim
