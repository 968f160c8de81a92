package sim

import (
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/storage"
)

// What those hold who execute nothing themselves: at each group just the state that some voter had at a group of
// its own (docs/protocol.md, rule M11), as far as a hash can tell.

// held is the state of one disk as a sum over its keys.
type held struct {
	keys map[string]uint64
	sum  uint64
}

func (h *held) put(key, value []byte) {
	var f fingerprint
	f.addBytes(key)
	f.addBytes(value)
	h.sum += uint64(f) - h.keys[string(key)]
	h.keys[string(key)] = uint64(f)
}

func (h *held) remove(key []byte) {
	h.sum -= h.keys[string(key)]
	delete(h.keys, string(key))
}

// holds takes what a disk holds after a batch that it saved in an epoch, or after a crash. Only runs in which
// somebody may learn pay for it.
func (c *checker) holds(host int, e epaxos.Epoch, batch *storage.Batch) {
	if !c.w.setup.epochs {
		return
	}
	h, d := &c.held[host], c.w.hosts[host].disk
	if h.keys == nil || batch == nil || batch.Adopt {
		*h = held{keys: map[string]uint64{}}
		//nolint:errcheck // the visitor returns none and a memory store has none of its own
		d.memory.Scan(nil, nil, func(key, value []byte) error {
			h.put(key, value)
			return nil
		})
	} else {
		for i := range batch.Writes {
			if w := &batch.Writes[i]; w.Delete {
				h.remove(w.Key)
			} else {
				h.put(w.Key, w.Value)
			}
		}
	}
	switch {
	case c.votes(host, e) && (batch == nil || !batch.Adopt):
		c.states[h.sum] = true
	case !c.states[h.sum]:
		c.w.violated("order", "r%d holds at its group %d a state that no voter had", c.name(host), d.LastGroup())
	}
}

// inStep reports whether a learner holds what some voter holds.
func (c *checker) inStep(host int) bool {
	for i := range c.w.hosts {
		if c.w.serves(i) && c.held[i].sum == c.held[host].sum {
			return true
		}
	}
	return false
}
