// Package config turns a file, flags and environment variables into one typed, validated Config.
//
// All settings stand in one table (Keys): the name in the file, the default, the help. Flags,
// environment variables, the commented file that Write produces and docs/configuration.md all
// derive from it, so they cannot drift apart. A flag beats an environment variable, which beats the
// file, which beats the default.
//
// The package is strict, because a replica that runs with other settings than its operator believes
// is worse than one that does not start: unknown and repeated keys, durations without a unit, values
// of the wrong type and impossible combinations are refused, each by its key and the place it comes
// from, all of them at once.
//
// It is the only home of viper. Nothing is watched or reloaded: settings of consensus must not
// change under a running replica. What viper lets through (weak typing, lower-cased keys, octal
// numbers) never reaches it: every text is checked here, in its source, before viper merges the
// sources.
package config
