package sim

import (
	"bytes"
	"fmt"
)

// unfinished says what still goes on, or nothing.
func (w *world) unfinished() string {
	var first []byte
	newest := w.check.newest()
	for _, id := range newest.members.Voters {
		i := hostOf(id)
		h := w.hosts[i]
		if h.gone {
			continue
		}
		if h.node == nil {
			return fmt.Sprintf("r%d is down", id)
		}
		if !w.serves(i) {
			return fmt.Sprintf("r%d is in epoch %d, epoch %d runs: %+v", id, w.check.epochs[i], newest.members.Epoch,
				h.node.Status())
		}
		if n := h.waiting(); n > 0 {
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
	if w.left > 0 {
		return fmt.Sprintf("%d requests are not sent yet", w.left)
	}
	if text := w.unfinishedElsewhere(); text != "" {
		return text
	}
	for _, c := range w.clients {
		if c.account != nil && len(c.account.open) > 0 {
			return fmt.Sprintf("client %d waits for request %+v", c.number, c.account.open[0].name)
		}
	}
	for _, c := range w.watchers {
		if c.behind() && !w.watched {
			return fmt.Sprintf("watcher %d of %q to %q was not told everything", c.number, c.from, c.end)
		}
	}
	if id, some := w.check.sessions.lingering(); some {
		return fmt.Sprintf("session %v has not ended", id)
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
		if h.node != nil {
			w.tally(h)
		}
		if !w.serves(i) {
			continue
		}
		w.stop(w.check.released(i))
		if w.options.other == nil {
			w.stop(w.check.bounds.atRest(i, h.core.Stats()))
			w.stop(w.check.forgotten(i))
		}
		if w.options.other == nil && uint64(i) == w.options.Seed%uint64(len(w.hosts)) { // one is enough, and not cheap
			w.stop(w.check.forgets(i))
		}
		if err := h.node.Flush(); err != nil {
			w.violated("integrity", "r%d cannot save at the end: %v", replicaOf(i), err)
			return
		}
		state := dump(h.disk)
		if first == nil {
			first = state
		}
		if !bytes.Equal(first, state) {
			w.violated("order", "r%d ends in another state than others:\n%s\n%s", replicaOf(i), state, first)
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
