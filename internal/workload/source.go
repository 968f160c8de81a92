package workload

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"sync"
	"time"

	"github.com/264bc8cf/epaxos/internal/wire"
)

const (
	hotKey = "hot"
	// ownKeys is how many keys a region has to itself.
	ownKeys = 1 << 20
	// counterMark ends the keys that adds go to: a counter holds a number, and other keys hold values.
	counterMark = "+"
	// txnKeys is how many keys a transaction puts.
	txnKeys = 2
)

// Streams are the two sources of chance of a Source. Apart, one more draw of one changes nothing in the other.
type Streams struct{ Arrivals, Keys *rand.Rand }

// Source draws the requests of the clients of one region. It is not safe for concurrent use.
type Source struct {
	spec     *Spec
	region   int
	streams  Streams
	popular  []float64 // cumulative shares of the shared keys, by rank; nil without
	sequence uint64
}

// NewSource makes the source of a region, counted from 0, for a Spec that is valid.
func NewSource(spec *Spec, region int, streams Streams) *Source {
	s := &Source{spec: spec, region: region, streams: streams}
	if spec.sharing() {
		s.popular = popularity(spec.Zipf, spec.Keys)
	}
	return s
}

// Wait is the time from one request of an open loop to the next.
func (s *Source) Wait() time.Duration {
	return time.Duration(s.streams.Arrivals.ExpFloat64() / s.spec.Load.Rate * float64(time.Second))
}

// Stagger is when a client of a closed loop sends its first request: within a second, lest all requests come in one
// turn for ever.
func (s *Source) Stagger() time.Duration {
	return time.Duration(s.streams.Arrivals.Float64() * float64(time.Second))
}

// Draw makes the next request. The operation and what it points to are the caller's.
//
// Adds go to counters: keys of their own, drawn as all others. So adds on the hot key interfere neither with each other
// nor with puts and gets of it.
func (s *Source) Draw() wire.Op {
	s.sequence++
	key := s.key()
	kind := s.streams.Keys.Float64() * 100
	switch w := s.spec; {
	case kind < w.Writes:
		return s.put(key)
	case kind < w.Writes+w.Adds:
		return wire.Op{Kind: wire.OpAdd, Key: append(key, counterMark...), Delta: 1}
	case kind < w.Writes+w.Adds+w.Txns:
		op := wire.Op{Kind: wire.OpTxn, Then: []wire.Op{s.put(key)}}
		for len(op.Then) < txnKeys {
			op.Then = append(op.Then, s.put(s.key()))
		}
		return op
	}
	return wire.Op{Kind: wire.OpGet, Key: key}
}

func (s *Source) key() []byte {
	r := s.streams.Keys
	switch {
	case s.popular != nil && (s.spec.Conflict == 0 || r.Float64()*100 >= s.spec.Conflict):
		return fmt.Appendf(nil, "key %d", sort.SearchFloat64s(s.popular, r.Float64()))
	case s.popular != nil || r.Float64()*100 < s.spec.Conflict:
		return []byte(hotKey)
	}
	return fmt.Appendf(nil, "%d-%d", s.region+1, r.IntN(ownKeys))
}

// put has a value that no other put of the run has.
func (s *Source) put(key []byte) wire.Op {
	value := make([]byte, max(s.spec.Value, 16))
	binary.BigEndian.PutUint64(value, uint64(s.region)) //nolint:gosec // small
	binary.BigEndian.PutUint64(value[8:], s.sequence)
	return wire.Op{Kind: wire.OpPut, Key: key, Value: value}
}

// popularities are the tables in use: they are large, and many runs share one.
var popularities struct {
	sync.Mutex
	tables map[string][]float64
}

// popularity is the cumulative distribution of ranks whose weights are rank^-exponent.
func popularity(exponent float64, keys int) []float64 {
	popularities.Lock()
	defer popularities.Unlock()
	name := fmt.Sprint(exponent, keys)
	if table := popularities.tables[name]; table != nil {
		return table
	}
	table := make([]float64, keys)
	sum := 0.0
	for i := range table {
		sum += math.Pow(float64(i+1), -exponent)
		table[i] = sum
	}
	for i := range table {
		table[i] /= sum
	}
	if popularities.tables == nil {
		popularities.tables = map[string][]float64{}
	}
	popularities.tables[name] = table
	return table
}
