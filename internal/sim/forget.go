package sim

import (
	"slices"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
)

// forgets checks, when a run is over, that a replica can let go of what it has executed: the index answers
// above the floor as before and keeps nothing below, and a graph that begins behind the executed prefix
// has nothing left to order.
func (c *checker) forgets(host int) *Violation {
	h := c.w.hosts[host]
	executed := h.order.Executed()
	half := executed.Clone()
	for column := range half {
		half[column] /= 2
	}
	half.Raise(h.core.Watermarks().Truncated) // it has let go of that much already
	commands := c.newest().visible.all
	var before [][]epaxos.Position
	for _, d := range commands {
		before = append(before, h.index.Above(d.Command.Footprint, half))
	}
	for range 2 { // the first time to the end of a round under way
		for !h.index.Forget(half, 16) {
			continue
		}
	}
	for i, d := range commands {
		if after := h.index.Above(d.Command.Footprint, half); !slices.Equal(before[i], after) {
			return found("boundedness", "r%d forgets up to %v, and what interferes with %v above it is %v, before %v",
				c.name(host), half, d.ID, after, before[i])
		}
	}
	for !h.index.Forget(executed, 16) {
		continue
	}
	everything := epaxos.Footprint{{Mode: epaxos.Everything}}
	if n := h.index.Len(); n > 0 || len(h.index.Above(everything, nil)) > 0 {
		return found("boundedness", "r%d has forgotten all it has executed, and its index holds %d keys", c.name(host), n)
	}
	graph := execution.NewGraph(c.newest().members)
	graph.RestorePrefix(executed)
	for _, d := range commands {
		graph.Learn(d.ID, d.Command)
		graph.Commit(d.ID, d.Command, d.Deps)
	}
	if graph.Pending() > 0 || graph.Next() != nil || !graph.Executed().Equal(executed) {
		return found("boundedness", "a graph that begins behind %v has something to order", executed)
	}
	return nil
}
