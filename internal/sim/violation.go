package sim

import "fmt"

// Violation is an invariant that does not hold.
type Violation struct {
	Seed      uint64
	Invariant string   // its name
	Text      string   // what was seen
	Trace     []string // every line, where the run kept them
}

// Error implements error. It leaves the trace to Explain.
func (v *Violation) Error() string {
	return fmt.Sprintf("seed %d: violation of %s: %s", v.Seed, v.Invariant, v.Text)
}

// violated ends the run with the first invariant that does not hold.
func (w *world) violated(invariant, format string, args ...any) {
	if w.err == nil {
		w.err = &Violation{
			Seed: w.options.Seed, Invariant: invariant, Text: fmt.Sprintf(format, args...),
		}
	}
}
