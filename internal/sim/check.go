package sim

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// unfinished says what still goes on, or nothing.
func (w *world) unfinished() string {
	if w.left > 0 {
		return fmt.Sprintf("%d requests are not sent yet", w.left)
	}
	var first []byte
	for i, h := range w.hosts {
		id := w.members.Voters[i]
		if h.gone {
			continue
		}
		if h.node == nil {
			return fmt.Sprintf("r%d is down", id)
		}
		if n := len(h.calls); n > 0 {
			return fmt.Sprintf("%d requests wait at r%d: %+v", n, id, h.node.Status())
		}
		s := h.node.Status()
		if !s.Admitted || s.Pending > 0 || !s.Executed.Equal(s.Tops) {
			return fmt.Sprintf("r%d admitted %v, executed %v of %v, %d wait", id, s.Admitted, s.Executed, s.Tops, s.Pending)
		}
		all := fmt.Appendf(nil, "%v", s.Tops)
		if first == nil {
			first = all
		}
		if !bytes.Equal(first, all) {
			return fmt.Sprintf("r%d has heard of %s, others of %s", id, all, first)
		}
	}
	return ""
}

// checkEnd compares the states of all replicas and checks the history of every key.
func (w *world) checkEnd() {
	if w.err != nil {
		return
	}
	var first []byte
	for i, h := range w.hosts {
		if h.gone {
			continue
		}
		w.tally(h)
		if err := h.node.Flush(); err != nil {
			w.violated("integrity", "r%d cannot save at the end: %v", w.members.Voters[i], err)
			return
		}
		state := dump(h.disk)
		if first == nil {
			first = state
		}
		if !bytes.Equal(first, state) {
			w.violated("order", "r%d ends in another state than others:\n%s\n%s", w.members.Voters[i], state, first)
		}
	}
	w.checkHistories()
}

func dump(d *disk) []byte {
	var out []byte
	//nolint:errcheck // the visitor returns none and a memory store has none of its own
	d.memory.Scan(nil, nil, func(key, value []byte) error {
		out = fmt.Appendf(out, "%q=%q ", key, value)
		return nil
	})
	return out
}

// touch is what one operation did to one key, by the version it wrote or read.
type touch struct {
	called, ended time.Duration
	version       uint64
	write         bool
	value         string
	delta         int64 // increments only
}

// checkHistories checks that the requests on each key are linearizable (4). Results carry versions,
// and each write makes the next one, so a history has only one order to try: a key's operations by
// version, reads behind the write they saw. It must respect real time, and values must fit.
func (w *world) checkHistories() {
	keys := map[string][]touch{}
	maybe := map[string]bool{} // values whose request has an unknown end
	for _, c := range w.clients {
		for _, o := range c.history {
			w.collect(keys, maybe, o)
		}
	}
	names := make([]string, 0, len(keys))
	for name := range keys {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		w.checkKey(name, keys[name], maybe)
	}
}

func (w *world) collect(keys map[string][]touch, maybe map[string]bool, o *operation) {
	ops, results := []wire.Op{o.op}, []wire.Result{o.result}
	if o.op.Kind == wire.OpTxn {
		ops, results = o.op.Then, o.result.Results
	}
	for i, op := range ops {
		if !o.known {
			maybe[string(op.Value)] = true
			continue
		}
		r := results[i]
		t := touch{called: o.called, ended: o.ended, version: r.Version, value: string(r.Value)}
		switch {
		case op.Kind == wire.OpPut, op.Kind == wire.OpCompareAndSet && r.Status == wire.OpOK:
			t.write, t.value = true, string(op.Value)
		case op.Kind == wire.OpIncrement:
			t.write, t.delta = true, op.Delta
		}
		keys[string(op.Key)] = append(keys[string(op.Key)], t)
	}
}

func (w *world) checkKey(name string, touches []touch, maybe map[string]bool) {
	written := map[uint64]touch{}
	for _, t := range touches {
		if !t.write {
			continue
		}
		if other, twice := written[t.version]; twice {
			w.violated("once", "version %d of %q was written by %+v and by %+v", t.version, name, t, other)
		}
		written[t.version] = t
		before, ok := written[t.version-1]
		if ok && t.delta != 0 && before.delta != 0 && number(t.value) != number(before.value)+t.delta {
			w.violated("linearizability", "increment of %q: %+v after %+v", name, t, before)
		}
	}
	for _, t := range touches {
		if t.write || t.version == 0 {
			continue
		}
		source, ok := written[t.version]
		if ok && source.value != t.value || !ok && !maybe[t.value] && name != "count" {
			w.violated("linearizability", "%q read %+v, written was %+v", name, t, source)
		}
	}
	w.checkRealTime(name, touches)
}

// checkRealTime sweeps by time: nothing may stand before something that had ended when it began.
func (w *world) checkRealTime(name string, touches []touch) {
	place := func(t touch) uint64 {
		if t.write {
			return 2 * t.version
		}
		return 2*t.version + 1
	}
	byCall, byEnd := slices.Clone(touches), slices.Clone(touches)
	slices.SortFunc(byCall, func(a, b touch) int { return cmp.Compare(a.called, b.called) })
	slices.SortFunc(byEnd, func(a, b touch) int { return cmp.Compare(a.ended, b.ended) })
	ended, highest := 0, touch{}
	for _, t := range byCall {
		for ended < len(byEnd) && byEnd[ended].ended < t.called {
			if place(byEnd[ended]) > place(highest) {
				highest = byEnd[ended]
			}
			ended++
		}
		if highest.ended > 0 && place(t) < place(highest) {
			w.violated("linearizability", "%q saw %+v after %+v had ended", name, t, highest)
			return
		}
	}
}

func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return math.MinInt64
	}
	return n
}
