package sim

import (
	"fmt"

	"github.com/264bc8cf/epaxos/epaxos"
)

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

// replicaOf is the replica of a host: ids are given away in the order of the hosts.
func replicaOf(host int) epaxos.ReplicaID { return epaxos.ReplicaID(host + 1) } //nolint:gosec // small

// hostOf is where a replica runs.
func hostOf(id epaxos.ReplicaID) int { return int(id) - 1 }

// violated ends the run with the first invariant that does not hold.
func (w *world) violated(invariant, format string, args ...any) {
	if w.err == nil {
		w.err = &Violation{
			Seed: w.options.Seed, Invariant: invariant, Text: fmt.Sprintf(format, args...),
		}
	}
}
