package sim

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/264bc8cf/epaxos/internal/history"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Bounds of a search: beyond them the order that versions tell is all that is checked of a key.
const (
	searchOperations = 300
	searchUnknown    = 12
	searchTime       = 2 * time.Second // a search that takes longer proves nothing, and fails nothing
	searchShare      = 4               // one seed in so many: a search costs a quarter of a run, the order little
)

// checkHistories checks that what the clients saw could have come from one copy of the machine.
func (w *world) checkHistories() {
	var operations []history.Operation
	var sums, all []*operation
	for _, c := range w.clients {
		for _, o := range c.history {
			if all = append(all, o); o.old() {
				continue
			}
			if (o.op.Kind == wire.OpAdd || o.op.Kind == wire.OpGet) && string(o.op.Key) == sumKey {
				sums = append(sums, o)
			}
			operations = append(operations, o.recorded())
		}
	}
	w.stop(checkOrder(operations))
	w.stop(checkSums(sums))
	w.stop(checkValues(all))
	w.checkTallies(all)
	if w.err == nil && w.options.Seed%searchShare == 0 {
		w.stop(checkKeys(operations))
	}
}

func (o *operation) recorded() history.Operation {
	recorded := history.Operation{
		Client: o.client.number, Op: o.op, Outcome: wire.OutcomeUnknown, Call: o.called, Return: o.ended,
	}
	if o.known {
		recorded.Outcome, recorded.Result = wire.OutcomeApplied, o.result
	}
	return recorded
}

// checkOrder looks for a cycle in the order of all operations on all keys.
func checkOrder(operations []history.Operation) *Violation {
	report, err := history.CheckOrder(operations)
	switch {
	case err != nil:
		return found("integrity", "a history makes no sense: %v", err)
	case report.Verdict == history.Illegal:
		return found("linearizability", "%s", report.Detail)
	}
	return nil
}

// checkKeys searches the history of each key that is short enough.
func checkKeys(operations []history.Operation) *Violation {
	keys := history.ByKey(operations)
	for _, key := range keys {
		unknown := 0
		for i := range key {
			if key[i].Outcome == wire.OutcomeUnknown {
				unknown++
			}
		}
		if len(key) > searchOperations || unknown > searchUnknown {
			continue
		}
		report, err := history.Check(key, searchTime)
		switch {
		case err != nil:
			return found("integrity", "the history of a key makes no sense: %v", err)
		case report.Verdict == history.Illegal:
			return found("linearizability", "key %q: %s", report.Key, report.Detail)
		}
	}
	return nil
}

// checkSums checks the key on which increments commute. They tell nothing, so that a read is all there is
// to hold on to: it shows at least those that had ended before it began, and what was read before, and
// at most those that had begun before it ended.
func checkSums(all []*operation) *Violation {
	var adds, gets []*operation
	for _, o := range all {
		switch {
		case o.op.Kind == wire.OpAdd:
			adds = append(adds, o)
		case o.known:
			gets = append(gets, o)
		}
	}
	slices.SortFunc(gets, func(a, b *operation) int { return cmp.Compare(a.called, b.called) })
	for i, g := range gets {
		seen := int(g.result.Version) //nolint:gosec // checked against a small number
		least, most := 0, 0
		for _, a := range adds {
			if a.known && a.ended < g.called {
				least++
			}
			if a.called <= g.ended {
				most++
			}
		}
		for _, earlier := range gets[:i] {
			if earlier.ended < g.called {
				least = max(least, int(earlier.result.Version)) //nolint:gosec // small
			}
		}
		value, err := strconv.Atoi(string(g.result.Value))
		if seen < least || seen > most || seen > 0 && (err != nil || value != seen) {
			return found("linearizability", "%q is read as %q at version %d by client %d from %v to %v, "+
				"after %d to %d increments",
				sumKey, g.result.Value, seen, g.client.number, g.called, g.ended, least, most)
		}
	}
	return nil
}
