package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Counters that only named requests touch: in the end each is what was acknowledged and what was unknown and found to
// be applied, exactly.

// A run with Options.Counting has so much to do.
const (
	countingClients  = 60
	countingRequests = 1500
	countingFaults   = 12 * time.Second
)

// tallyKey is the beginning of the keys of such counters: one for each client, one for all, and one on which increments
// commute.
const tallyKey = "tally"

// tallied reports whether a key is such a counter.
func tallied(key string) bool { return strings.HasPrefix(key, tallyKey) }

// exact reports whether the client loses no outcome: it writes down what it asks for, looks after its session, and
// forgets nothing that it does not know the end of.
func (a *account) exact() bool { return a.c.w.options.Counting }

// counts reports whether the next request of a client counts.
func (a *account) counts() bool { return a != nil && (a.exact() || a.rand.IntN(6) == 0) }

// count makes a request that counts.
func (a *account) count() wire.Op {
	delta := int64(1 + a.rand.IntN(3))
	switch draw := a.rand.IntN(40); {
	case draw == 0: // each has to wait for the one before
		return wire.Op{Kind: wire.OpIncrement, Key: []byte(tallyKey + ".all"), Delta: delta}
	case draw < 18:
		return wire.Op{Kind: wire.OpIncrement, Key: fmt.Appendf(nil, tallyKey+".%d", a.c.number), Delta: delta}
	default:
		return wire.Op{Kind: wire.OpAdd, Key: []byte(tallyKey + ".sum"), Delta: delta}
	}
}

// Tally is what became of the requests that counted.
type Tally struct {
	Acknowledged int // by an answer to one of their copies
	Resolved     int // found to be applied, by asking
	Refuted      int // found not to be applied, for ever
	Unresolved   int // of which the client will never know
	Commuting    int // of those that are applied, increments that commute
}

func (t *Tally) add(o Tally) {
	t.Acknowledged += o.Acknowledged
	t.Resolved += o.Resolved
	t.Refuted += o.Refuted
	t.Unresolved += o.Unresolved
	t.Commuting += o.Commuting
}

// checkTallies compares the counters with what clients know of them. What they do not know the model of the
// sessions does.
func (w *world) checkTallies(all []*operation) {
	sums := map[string]int64{}
	tally := &w.report.Tally
	for _, o := range all {
		if o.name == nil || !tallied(string(o.op.Key)) {
			continue
		}
		applied := o.known
		switch {
		case o.name.resolved:
			tally.Resolved++
		case o.known:
			tally.Acknowledged++
		default:
			tally.Unresolved++
			applied = w.check.sessions.known[o.name.session].ends[o.name.number].applied
		}
		if applied {
			sums[string(o.op.Key)] += o.op.Delta
		}
		if applied && o.op.Kind == wire.OpAdd {
			tally.Commuting++
		}
	}
	keys := make([]string, 0, len(sums))
	for key := range sums {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for i, h := range w.hosts {
		if w.err != nil || !w.serves(i) {
			continue
		}
		for _, key := range keys {
			if got := h.counter(key); got != strconv.FormatInt(sums[key], 10) {
				w.violated("once", "%q is %s at r%d; what was acknowledged, and what was found to be applied, comes to %d",
					key, got, replicaOf(i), sums[key])
			}
		}
	}
	if n := tally.Unresolved; w.options.Counting && n > 0 {
		w.violated("progress", "nobody knows what became of %d requests", n)
	}
}

// counter is what the state of a host holds.
func (h *host) counter(key string) string {
	footprint := epaxos.Footprint{{Mode: epaxos.Read, Key: key}}
	get := getOf([]byte(key))
	body, err := h.node.State().Run(execution.KV{}, footprint, wire.AppendOp(nil, &get))
	if err != nil {
		return err.Error()
	}
	result, err := wire.DecodeResult(body)
	if err != nil {
		return err.Error()
	}
	return string(result.Value)
}
