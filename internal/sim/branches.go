package sim

import (
	"fmt"
	"strings"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
)

// tally counts what a life of a replica has done.
func (w *world) tally(h *host) {
	if h.core == nil {
		return
	}
	addStats(&w.report.Stats, h.core.Stats())
	order := h.order.graph.Branches()
	w.report.Order.Add(&order)
}

// Branches lists how often each branch of the protocol and of the order was taken, one to a line.
func (r *Report) Branches() string {
	var text strings.Builder
	for b, n := range r.Stats.Branches {
		fmt.Fprintf(&text, "%10d  %v\n", n, epaxos.Branch(b)) //nolint:gosec // small
	}
	for b, n := range r.Order {
		fmt.Fprintf(&text, "%10d  order: %v\n", n, execution.Branch(b)) //nolint:gosec // small
	}
	return text.String()
}

// NeverTaken names the branches that no run has taken.
func (r *Report) NeverTaken() []string {
	var names []string
	for b, n := range r.Stats.Branches {
		if n == 0 {
			names = append(names, epaxos.Branch(b).String()) //nolint:gosec // small
		}
	}
	for b, n := range r.Order {
		if n == 0 {
			names = append(names, "order: "+execution.Branch(b).String()) //nolint:gosec // small
		}
	}
	return names
}
