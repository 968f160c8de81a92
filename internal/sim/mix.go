package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// mix is what the clients of a run ask for.
type mix struct {
	keys    int     // shared ones
	skew    float64 // how much more often the first shared key is asked for; 1 is evenly
	roam    float64 // how often a client moves to another replica
	burst   float64 // how often it sends several requests at once
	wide    float64 // how often a footprint is wider than need be
	big     float64 // how often a transaction has many keys
	weights [actions]int
}

// action is a kind of request.
type action uint8

const (
	put action = iota
	get
	count   // an increment that tells the sum, at times of what is no number
	add     // one that tells nothing, and so commutes with its like, at times of what is no number
	advance // a compare-and-set of the version that the client saw last
	perhaps // a compare-and-set of anything
	remove
	readMany
	writeMany
	transfer // a transaction that reads some keys and writes others
	guarded  // one on condition of a version, with another branch
	extend   // an append
	exchange // a swap or a take
	span     // a read of a range
	wipe     // a delete of a range, at times on condition of what it holds, or of what deletes left
	actions
)

func drawMix(r *rand.Rand, s *setup) mix {
	m := mix{
		keys: []int{1, 2, 2, 4, 8}[r.IntN(5)], skew: []float64{1, 2, 4}[r.IntN(3)], roam: []float64{0.05, 0.5, 1}[r.IntN(3)],
		burst: []float64{0, 0, 0.1, 0.5}[r.IntN(4)], wide: []float64{0, 0, 0.03, 0.1}[r.IntN(4)], big: 0.02,
	}
	if s.profile == recovery {
		m.keys = min(m.keys, 2)
	}
	m.weights = [actions]int{4, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}
	for range 3 { // no two runs ask alike
		m.weights[r.IntN(int(actions))] += r.IntN(8)
	}
	return m
}

// shared draws a shared key.
func (c *client) shared() []byte {
	if c.rush != nil {
		return fmt.Appendf(nil, "rush%d", c.rush.index)
	}
	place := c.rand.Float64()
	for range int(c.w.mix.skew) - 1 {
		place = min(place, c.rand.Float64())
	}
	return fmt.Appendf(nil, "hot%d", int(place*float64(c.w.mix.keys)))
}

// key draws a key.
func (c *client) key() []byte {
	if c.rush != nil || c.rand.Float64() < c.w.setup.hot {
		return c.shared()
	}
	return fmt.Appendf(nil, "own%d", c.number)
}

// several draws distinct keys.
func (c *client) several() [][]byte {
	count := 2 + c.rand.IntN(4)
	if c.rand.Float64() < c.w.mix.big {
		count = 17 + c.rand.IntN(8)
	}
	keys := [][]byte{c.shared()}
	for first := c.rand.IntN(6); len(keys) < count; first++ {
		keys = append(keys, fmt.Appendf(nil, "many%d", first%max(6, count)))
	}
	return keys
}

// value is one that nobody else ever puts, so that a result tells whose write it saw.
func (c *client) value() []byte {
	c.values++
	return fmt.Appendf(nil, "v%d.%d", c.number, c.values)
}

func (c *client) put(key []byte) wire.Op {
	return wire.Op{Kind: wire.OpPut, Key: key, Value: c.value()}
}

func getOf(key []byte) wire.Op { return wire.Op{Kind: wire.OpGet, Key: key} }

// draw makes a request.
func (c *client) draw() wire.Op {
	if c.account.counts() {
		return c.account.count()
	}
	total := 0
	for _, weight := range c.w.mix.weights {
		total += weight
	}
	at := c.rand.IntN(total)
	for a, weight := range c.w.mix.weights {
		if at -= weight; at < 0 {
			return c.make(action(a)) //nolint:gosec // small
		}
	}
	return wire.Op{}
}

func (c *client) make(a action) wire.Op {
	switch a {
	case put:
		return c.put(c.key())
	case get:
		return getOf(c.readable())
	case count:
		key := []byte("count")
		if c.rand.IntN(8) == 0 {
			key = c.key()
		}
		return wire.Op{Kind: wire.OpIncrement, Key: key, Delta: int64(c.rand.IntN(9)) - 4}
	case add:
		key := []byte(sumKey)
		if c.rand.IntN(8) == 0 {
			key = c.key()
		}
		return wire.Op{Kind: wire.OpAdd, Key: key, Delta: 1}
	case advance:
		key := c.key()
		return c.compareAndSet(key, wire.Compare{
			Target: wire.CompareVersion, Relation: wire.Equal, Version: c.versions[string(key)],
		})
	case perhaps:
		return c.compareAndSet(c.key(), wire.Compare{
			Target:   wire.CompareTarget(1 + c.rand.IntN(2)),   //nolint:gosec // small
			Relation: wire.CompareRelation(1 + c.rand.IntN(4)), //nolint:gosec // small
			Version:  uint64(c.rand.IntN(30)),                  //nolint:gosec // not below 0
			Value:    fmt.Appendf(nil, "v%d.%d", c.rand.IntN(9), c.rand.IntN(30)),
		})
	case remove:
		return c.removable()
	case extend:
		op := c.put([]byte("log"))
		op.Kind = wire.OpAppend
		return op
	case exchange:
		return c.exchange()
	case span:
		return c.span()
	case wipe:
		return c.wipe()
	default:
		return c.transaction(a)
	}
}

// sumKey is a key on which increments commute.
const sumKey = "sum"

// deletedKey is a key that is deleted at times. Others with this prefix are deleted together.
const deletedKey = "gone"

// forgottenKey is the prefix of keys whose versions begin anew at times, which the checkers of histories pass
// by. Those of the state do not.
const forgottenKey = "lost"

func (c *client) readable() []byte {
	switch c.rand.IntN(8) {
	case 0:
		return []byte(sumKey)
	case 1:
		return []byte(deletedKey)
	default:
		return c.key()
	}
}

func (c *client) removable() wire.Op {
	if c.rand.IntN(2) == 0 {
		return c.put([]byte(deletedKey))
	}
	return wire.Op{Kind: wire.OpDelete, Key: []byte(deletedKey)}
}

func (c *client) exchange() wire.Op {
	op := c.put([]byte(deletedKey))
	op.Kind = wire.OpSwap
	switch c.rand.IntN(3) {
	case 0:
		op.Key = c.key()
	case 1:
		return wire.Op{Kind: wire.OpTake, Key: op.Key}
	}
	return op
}

// span reads all keys, those of a kind, or some of either.
func (c *client) span() wire.Op {
	prefix := []string{"", "hot", "many", "gone", "lost"}[c.rand.IntN(5)]
	op := wire.Op{Kind: wire.OpRange, Key: []byte(prefix)}
	if prefix != "" {
		op.End = []byte(prefix + "~")
	}
	if c.rand.IntN(3) == 0 {
		op.Limit = uint64(1 + c.rand.IntN(4)) //nolint:gosec // small
	}
	if c.rand.IntN(4) == 0 {
		op.Options = wire.RangeOptions(1 + c.rand.IntN(2)) //nolint:gosec // small
	}
	return op
}

// wipe deletes keys with a prefix, or puts some for others to delete.
func (c *client) wipe() wire.Op {
	prefix := deletedKey
	if c.rand.IntN(4) == 0 {
		prefix = forgottenKey
	}
	from, end := []byte(prefix), []byte(prefix+"~")
	op := wire.Op{Kind: wire.OpDeleteRange, Key: from, End: end}
	if prefix == forgottenKey && c.rand.IntN(4) == 0 {
		op.Kind = wire.OpForgetRange
		return op
	}
	switch c.rand.IntN(6) {
	case 0:
		return op
	case 1: // unless there are too few
		return wire.Op{
			Kind: wire.OpTxn, Then: []wire.Op{{Kind: wire.OpRange, Key: from, End: end}, op},
			Compares: []wire.Compare{{
				Key: from, End: end, Target: wire.CompareCount, Relation: wire.Greater,
				Version: uint64(c.rand.IntN(3)), //nolint:gosec // small
			}},
			Else: []wire.Op{c.put(fmt.Appendf(nil, prefix+"%d", c.rand.IntN(4)))},
		}
	default:
		return c.put(fmt.Appendf(nil, prefix+"%d", c.rand.IntN(4)))
	}
}

func (c *client) compareAndSet(key []byte, condition wire.Compare) wire.Op {
	op := c.put(key)
	op.Kind = wire.OpCompareAndSet
	condition.Key = key
	op.Compares = []wire.Compare{condition}
	return op
}

func (c *client) transaction(a action) wire.Op {
	txn := wire.Op{Kind: wire.OpTxn}
	for i, key := range c.several() {
		switch {
		case a == readMany, a == transfer && i%2 == 0, a == guarded && i > 1:
			txn.Then = append(txn.Then, getOf(key))
		default:
			txn.Then = append(txn.Then, c.put(key))
		}
	}
	if a == guarded {
		key := txn.Then[0].Key
		txn.Compares = []wire.Compare{
			{Key: key, Target: wire.CompareVersion, Relation: wire.Equal, Version: c.versions[string(key)]},
		}
		txn.Else = []wire.Op{getOf(key)}
	}
	return txn
}

// unique reports whether no other request has the same payload.
func unique(op *wire.Op) bool {
	switch op.Kind {
	case wire.OpPut, wire.OpCompareAndSet, wire.OpAppend, wire.OpSwap:
		return true
	}
	for i := range op.Then {
		if unique(&op.Then[i]) {
			return true
		}
	}
	return false
}

// readsOnly reports whether a request changes nothing.
func readsOnly(op *wire.Op) bool {
	reads := func(op wire.Op) bool { return op.Kind == wire.OpGet || op.Kind == wire.OpRange }
	if op.Kind != wire.OpTxn {
		return reads(*op)
	}
	return !slices.ContainsFunc(op.Then, func(op wire.Op) bool { return !reads(op) }) &&
		!slices.ContainsFunc(op.Else, func(op wire.Op) bool { return !reads(op) })
}

// widen gives a request a footprint that covers more than it touches, which costs waiting and nothing
// else (docs/protocol.md, rule D6), so that more ranges, and barriers, are among what is ordered.
func (c *client) widen(footprint epaxos.Footprint) epaxos.Footprint {
	if c.rand.Float64() >= c.w.mix.wide {
		return footprint
	}
	widened := &footprint[c.rand.IntN(len(footprint))]
	how := c.rand.IntN(7)
	if widened.Range {
		how = 0
	}
	switch how {
	case 0:
		return append(footprint, epaxos.Access{Mode: epaxos.Everything})
	case 1: // everything from here on
		widened.Range = true
	case 2: // nothing at all, beside what it is
		return append(footprint, epaxos.Access{Mode: epaxos.Write, Range: true, Key: "b", End: "a"})
	case 3: // what begins alike
		widened.Range, widened.End = true, strings.TrimRight(widened.Key, "0123456789")+"~"
		widened.Key = strings.TrimRight(widened.Key, "0123456789")
	case 4: // twice the same
		return append(footprint, *widened)
	case 5: // what nobody asks for, in another space
		return append(footprint, epaxos.Access{Mode: epaxos.Write, Space: epaxos.SpaceSession, Key: widened.Key})
	default: // this key and no other
		widened.Range, widened.End = true, widened.Key+"\x00"
	}
	return footprint
}
