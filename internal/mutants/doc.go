// Command mutants breaks the product on purpose and asks its checkers whether they notice. A rule that can be
// left out without anyone noticing is a rule that nothing holds.
//
// Each file of catalogue is one planted fault: what it leaves out, where such a fault has happened, which
// lines of the product it changes, and who is to hunt for it. The product is compiled with those lines
// changed, by the overlay of the go command, so nothing in the tree is touched. Then the hunters run, in the
// order of the file: random schedules of the bare core, simulations of whole nodes, exhaustive exploration,
// scripts. A fault is killed by a checker of an invariant alone: the output must hold "violation of", and a
// name that is in the list of invariants. A panic, a time-out, or an expected text that differs, is no kill.
//
// In the end each hunter that killed runs once more on the product as it is, with as many seeds, and must be
// silent.
//
//	go run ./internal/mutants                  # all; the exit code is 1 if a fault survives
//	go run ./internal/mutants -run 'R2|W4' -v  # some, with what was found
//	go run ./internal/mutants -short           # the few that show that all of this works
package main
