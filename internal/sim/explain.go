package sim

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Explain makes a text of a run that failed: what is violated, the smallest run found that violates the
// same, how to run it again, and the part of its trace that matters; all of it with whole.
// A run that does not fail again is not deterministic, and that is the text.
func Explain(options Options, first Report, failed error, whole bool) string {
	var found *Violation
	if !errors.As(failed, &found) {
		return failed.Error()
	}
	if again, err := Run(options); err == nil || again.Trace != first.Trace {
		return fmt.Sprintf("seed %d: violation of integrity: the run is not deterministic: first %x and %v, then %x and %v",
			options.Seed, first.Trace, failed, again.Trace, err)
	}
	small := Shrunk{Options: options, Found: found}
	if !whole {
		small = Shrink(options, found, shrinkAttempts)
	}
	logged := small.Options
	logged.Log = true
	_, err := Run(logged)
	if !errors.As(err, &small.Found) {
		return fmt.Sprintf("%v\nits smaller run passes with a trace: %s", failed, small.Options.Replay())
	}
	lines := small.Found.Trace
	if !whole {
		lines = useful(lines, small.Found.Text)
	}
	return fmt.Sprintf("%v\nreplay: %s\nsmaller, after %d attempts: %v\nreplay: %s\n%s", failed, options.Replay(),
		small.Attempts, small.Found, small.Options.Replay(), strings.Join(lines, "\n"))
}

const (
	shrinkAttempts = 300
	lastLines      = 60
)

var instancePattern = regexp.MustCompile(`\b\d+\.\d+\b`)

// useful keeps the lines about the instances that a violation names, about lives and faults, and the
// last ones.
func useful(lines []string, violation string) []string {
	about := map[string]bool{}
	for _, id := range instancePattern.FindAllString(violation, -1) {
		about[id] = true
	}
	var kept []string
	for i, line := range lines {
		if i >= len(lines)-lastLines || worth(line, about) {
			kept = append(kept, line)
		}
	}
	return kept
}

func worth(line string, about map[string]bool) bool {
	_, story, _ := strings.Cut(strings.TrimSpace(line), " ")
	for _, start := range []string{"fault", "crash", "start", "healed", "ordinary", "recovery"} {
		if strings.HasPrefix(story, start) {
			return true
		}
	}
	for _, id := range instancePattern.FindAllString(story, -1) {
		if about[id] {
			return true
		}
	}
	return strings.Contains(story, "is gone")
}
