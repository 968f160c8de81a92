// Package lint is the architecture of this module as a test. It knows which package may import
// which, where each library lives, what the pure packages must not do, how long things may get, and
// that the rules of docs/protocol.md which code cites exist. Each finding names file, line and rule,
// and what to do instead.
//
// It reads source with the standard library alone, so it guards the shape wherever Go runs:
//
//	go test ./internal/lint
//
// A ban that is wrong is changed in the table here, with its reason, in the commit that needs it.
package lint
