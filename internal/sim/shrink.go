package sim

import (
	"fmt"
	"slices"
	"strings"
)

// Shrunk is a small run in which the same invariant is violated.
type Shrunk struct {
	Options  Options
	Found    *Violation
	Attempts int
}

// shrinker looks for a smaller run. Runs are cheap and streams independent, so plain search does.
type shrinker struct {
	best     Options
	found    *Violation
	attempts int
	most     int
}

// Shrink makes a run that failed smaller, in at most so many attempts: fewer replicas, fewer requests,
// fewer faults. What is smaller and breaks another invariant is another failure, and not taken.
func Shrink(options Options, found *Violation, attempts int) Shrunk {
	s := &shrinker{best: options, found: found, most: attempts}
	s.best.draw()
	s.best.Log = false
	if s.best.Keep == nil {
		s.best.Keep = everyFault(s.best)
	}
	s.epochs()
	s.replicas()
	s.requests()
	s.faults()
	s.requests()
	return Shrunk{Options: s.best, Found: s.found, Attempts: s.attempts}
}

func everyFault(o Options) []int {
	setup := o.draw()
	keep := make([]int, len(drawPlan(o, &setup)))
	for i := range keep {
		keep[i] = i
	}
	return keep
}

// try takes a candidate if it fails in the same way.
func (s *shrinker) try(candidate Options) bool {
	if s.attempts >= s.most {
		return false
	}
	s.attempts++
	_, err := Run(candidate)
	found, failed := err.(*Violation) //nolint:errorlint // Run wraps nothing
	if !failed || found.Invariant != s.found.Invariant {
		return false
	}
	s.best, s.found = candidate, found
	return true
}

// epochs looks whether it takes a change of the membership at all. Its faults come last in a plan.
func (s *shrinker) epochs() {
	candidate := s.best
	if setup := candidate.draw(); !setup.epochs {
		return
	}
	candidate.Epochs = EpochsOne
	all := len(everyFault(candidate))
	candidate.Keep = slices.DeleteFunc(slices.Clone(candidate.Keep), func(i int) bool { return i >= all })
	if s.try(candidate) {
		return
	}
	s.best.Epochs = EpochsMany
}

func (s *shrinker) replicas() {
	for n := 1; n < s.best.Replicas; n++ {
		candidate := s.best
		candidate.Replicas = n
		if s.try(candidate) {
			return
		}
	}
}

func (s *shrinker) requests() {
	for step := s.best.Commands / 2; step > 0; step /= 2 {
		for s.best.Commands > step {
			candidate := s.best
			candidate.Commands -= step
			if !s.try(candidate) {
				break
			}
		}
	}
}

// faults is delta debugging: leave out ever smaller parts of the plan.
func (s *shrinker) faults() {
	for size := len(s.best.Keep); size > 0; size /= 2 {
		for from := 0; from < len(s.best.Keep); {
			candidate := s.best
			candidate.Keep = slices.Delete(slices.Clone(s.best.Keep), from, min(from+size, len(s.best.Keep)))
			if !s.try(candidate) {
				from += size
			}
		}
	}
}

// Replay is the command that runs options again.
func (o Options) Replay() string {
	what := "'TestSeeds$' ./internal/sim -args -runs=1"
	if o.Counting {
		what = "TestCounting ./internal/sim -args -increments=1"
	}
	if o.Watching {
		what = "TestWatching ./internal/sim -args -reconnects=1"
	}
	command := fmt.Sprintf("go test -count=1 -v -run %s -seed=%d", what, o.Seed)
	if o.Replicas > 0 {
		command += fmt.Sprintf(" -replicas=%d", o.Replicas)
	}
	if o.Commands > 0 {
		command += fmt.Sprintf(" -commands=%d", o.Commands)
	}
	switch o.Epochs {
	case EpochsMany:
		command += " -epochs=many"
	case EpochsOne:
		command += " -epochs=one"
	}
	if o.Keep != nil {
		command += " -keep=" + FormatKeep(o.Keep)
	}
	return command
}

// FormatKeep is indices of faults as -keep takes them.
func FormatKeep(keep []int) string {
	if len(keep) == 0 {
		return "none"
	}
	return strings.Trim(strings.Join(strings.Fields(fmt.Sprint(keep)), ","), "[]")
}
