package history

import (
	"fmt"
	"slices"
	"strings"
)

// cycle describes a short cycle of the graph, or is empty if there is none.
func (o *ordering) cycle() string {
	var worst []int
	for _, component := range o.components() {
		if len(component) < 2 {
			continue
		}
		if c := o.shortest(component); worst == nil || len(c) < len(worst) {
			worst = c
		}
	}
	if worst == nil {
		return ""
	}
	return o.tell(worst)
}

// components are the strongly connected ones, by Tarjan's algorithm, iterative since chains are long.
func (o *ordering) components() [][]int {
	const unseen = 0
	index, low := make([]int, o.nodes), make([]int, o.nodes)
	on := make([]bool, o.nodes)
	var stack []int
	var all [][]int
	type step struct{ node, edge int }
	count := 0
	for root := range o.nodes {
		if index[root] != unseen {
			continue
		}
		path := []step{{root, 0}}
		for len(path) > 0 {
			at := &path[len(path)-1]
			if at.edge == 0 && index[at.node] == unseen {
				count++
				index[at.node], low[at.node], on[at.node] = count, count, true
				stack = append(stack, at.node)
			}
			if at.edge < len(o.edges[at.node]) {
				to := o.edges[at.node][at.edge].to
				at.edge++
				if index[to] == unseen {
					path = append(path, step{to, 0})
				} else if on[to] {
					low[at.node] = min(low[at.node], index[to])
				}
				continue
			}
			path = path[:len(path)-1]
			if len(path) > 0 {
				parent := path[len(path)-1].node
				low[parent] = min(low[parent], low[at.node])
			}
			if low[at.node] == index[at.node] {
				begin := len(stack)
				for on[at.node] {
					begin--
					on[stack[begin]] = false
				}
				all = append(all, slices.Clone(stack[begin:]))
				stack = stack[:begin]
			}
		}
	}
	return all
}

// shortestFrom bounds from how many nodes of a component a short cycle is looked for.
const shortestFrom = 64

// shortest is a cycle with few operations in a component, beginning at an operation.
func (o *ordering) shortest(component []int) []int {
	s := search{ordering: o, inside: make([]bool, o.nodes), before: make([]int, o.nodes), seen: make([]int, o.nodes)}
	for _, node := range component {
		s.inside[node] = true
	}
	slices.Sort(component) // operations come first, and the same one in every run
	var best []int
	most := len(component)
	for _, from := range component[:min(len(component), shortestFrom)] {
		if from >= len(o.operations) {
			break
		}
		if c := s.around(from, most); c != nil {
			best, most = c, o.steps(c)-1
		}
	}
	return best
}

// search is the memory of one search after the other.
type search struct {
	*ordering
	inside []bool
	before []int
	seen   []int // the search that saw a node last
	number int
}

// around is a shortest way from a node back to it over at most so many operations, nil if there is none.
// Instants cost nothing, operations one step.
func (s *search) around(from, most int) []int {
	s.number++
	level, next := []int{from}, []int(nil)
	for depth := 1; len(level) > 0 && depth <= most; depth++ {
		for i := 0; i < len(level); i++ {
			for _, e := range s.edges[level[i]] {
				if e.to == from {
					return s.path(from, level[i])
				}
				if s.seen[e.to] == s.number || !s.inside[e.to] {
					continue
				}
				s.seen[e.to], s.before[e.to] = s.number, level[i]
				if e.to < len(s.operations) {
					next = append(next, e.to)
				} else {
					level = append(level, e.to)
				}
			}
		}
		level, next = next, level[:0]
	}
	return nil
}

func (s *search) path(from, end int) []int {
	nodes := []int{end}
	for end != from {
		end = s.before[end]
		nodes = append(nodes, end)
	}
	slices.Reverse(nodes)
	return nodes
}

// steps is how many operations a cycle has.
func (o *ordering) steps(cycle []int) int {
	count := 0
	for _, node := range cycle {
		if node < len(o.operations) {
			count++
		}
	}
	return count
}

// tell writes a cycle down, an operation to a line and why it comes before the next.
func (o *ordering) tell(cycle []int) string {
	var text strings.Builder
	text.WriteString("each of these comes before the next, and the last before the first\n")
	for i, node := range cycle {
		to := cycle[(i+1)%len(cycle)]
		e := o.between(node, to)
		if node < len(o.operations) || e.why != ended {
			fmt.Fprintf(&text, "  %s\n", o.describe(node))
		}
		if node >= len(o.operations) && e.why == ended {
			continue // an instant of a chain of them
		}
		switch e.why {
		case overwritten:
			fmt.Fprintf(&text, "    wrote version %d of %q, which the next overwrote\n", e.version, e.key)
		case readBy:
			fmt.Fprintf(&text, "    wrote version %d of %q, which the next read\n", e.version, e.key)
		case readBefore:
			fmt.Fprintf(&text, "    read version %d of %q, which the next overwrote\n", e.version, e.key)
		case ended:
			text.WriteString("    had ended before the next was called\n")
		}
	}
	return text.String()
}

func (o *ordering) between(from, to int) edge {
	for _, e := range o.edges[from] {
		if e.to == to {
			return e
		}
	}
	return edge{}
}
