// Package sim runs a whole cluster of nodes in one thread on fake time: the shipped core, executor,
// state machine, encodings and turn, over a seeded network, seeded clocks and seeded disks. One seed is
// one run, byte for byte; Report.Trace, a fingerprint of every frame, save and answer, proves it.
//
//	report, err := sim.Run(sim.Options{Seed: 7})
//	if err != nil {
//		fmt.Println(sim.Explain(sim.Options{Seed: 7}, report, err, false))
//	}
//
// # What goes wrong
//
// All faults of a run are drawn before it begins, as a plan (plan.go): what, when, to whom, for how
// long. Half of the seeds get ordinary trouble of a few kinds, half are made for recovery: each command
// known to some replicas only, leaders that die around their commit, several commands recovered at
// once. Plan, requests, every link and every replica draw from streams of their own (setup.go), so
// that leaving out one fault leaves the rest as it was. After Options.Faults everything is healed, and
// then everything must finish.
//
// In a third of the seeds the membership changes (change.go, ambush.go): machines join, learn, vote and
// leave, two changes race, replicas die around the group that begins an epoch and while a state is handed
// over. These draw from streams of their own as well, and come last in the plan.
//
// Of each epoch that still matters at most f voters are lost for good: a machine that never comes back, or a
// disk with a changed group, on which the replica must refuse to start. A group that was torn by a crash
// reads like one that was never written, so that CrashUnsynced, which takes it or leaves it, is both.
//
// Most clients have sessions, and do with them what real ones do (account.go): copies, failovers, restarts.
//
// # What is checked
//
// Every save, message, decision and result, as it happens (watch.go and the checkers it calls), each epoch by
// its own quorums, and what passes from one to the next (books.go); the histories of all keys, the states of
// all replicas and that nothing is left undone, at the end (check.go). A panic is a violation, too.
//
// # When it fails
//
// Explain runs it again, shrinks it (shrink.go) and shows the part of its trace that matters.
package sim
