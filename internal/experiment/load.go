package experiment

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"sync"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// load is the clients of a run. They stand beside the replica of their region, at no distance.
type load struct {
	w       *world
	calls   map[epaxos.ProposalID]*call
	regions []*region // by column; nil without clients
	popular []float64 // cumulative shares of the shared keys, by rank
	next    epaxos.ProposalID
	open    int // measured requests without an answer
}

// region is the clients of one site.
type region struct {
	column   int
	arrivals *rand.Rand
	keys     *rand.Rand
	stopped  bool
	sequence uint64
}

// call is one request under way.
type call struct {
	Call
	region *region
	client int
	op     wire.Op
	chosen bool
}

const (
	hotKey = "hot"
	// ownKeys is how many keys a region has to itself.
	ownKeys = 1 << 20
)

func newLoad(w *world) (*load, error) {
	l := &load{w: w, calls: map[epaxos.ProposalID]*call{}, regions: make([]*region, w.point.Replicas)}
	for _, column := range w.point.regions() {
		if column < 0 || column >= w.point.Replicas {
			return nil, fmt.Errorf("region %d of %d", column+1, w.point.Replicas)
		}
		l.regions[column] = &region{
			column: column, arrivals: stream(w.point.seed(), streamArrivals, column),
			keys: stream(w.point.seed(), streamKeys, column),
		}
	}
	if w.point.Workload.Zipf > 0 {
		l.popular = popularity(w.point.Workload.Zipf, w.point.Workload.Keys)
	}
	return l, nil
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

// begin sets the clients off.
func (l *load) begin() {
	for _, r := range l.regions {
		switch {
		case r == nil:
		case l.w.point.Workload.Load.Clients > 0:
			for client := range l.w.point.Workload.Load.Clients {
				l.w.events.push(r.delay(), func() { l.request(r, client) })
			}
		default:
			l.arrive(r)
		}
	}
}

// arrive plans the next request of an open loop.
func (l *load) arrive(r *region) {
	l.w.events.push(l.w.now+l.wait(r), func() {
		l.request(r, int(r.sequence))
		if !r.stopped && l.w.now < l.end() {
			l.arrive(r)
		}
	})
}

// wait is the time between two requests of an open loop.
func (l *load) wait(r *region) time.Duration {
	return time.Duration(r.arrivals.ExpFloat64() / l.w.point.Workload.Load.Rate * float64(time.Second))
}

// delay spreads the first requests over a second, lest all of a closed loop come in one turn for ever.
func (r *region) delay() time.Duration {
	return time.Duration(r.arrivals.Float64() * float64(time.Second))
}

func (l *load) end() time.Duration { return l.w.point.Warmup + l.w.point.Duration }

// request sends one request, unless the time is over.
func (l *load) request(r *region, client int) {
	h := l.w.hosts[r.column]
	if r.stopped || l.w.now >= l.end() || h.replica == nil {
		return
	}
	l.next++
	c := &call{Call: l.w.meter.Begin(l.w.now, r.column), region: r, client: client, op: l.draw(r)}
	l.calls[l.next] = c
	if c.Measured {
		l.open++
	}
	payload := wire.AppendOp(nil, &c.op)
	footprint, err := execution.KV{}.Footprint(payload)
	if err != nil {
		l.w.err = err
		return
	}
	l.w.propose(h, l.next, epaxos.Request{Payload: payload}, footprint)
}

// draw makes an operation.
func (l *load) draw(r *region) wire.Op {
	w := &l.w.point.Workload
	r.sequence++
	op := wire.Op{Kind: wire.OpGet}
	switch {
	case l.popular != nil:
		rank := sort.SearchFloat64s(l.popular, r.keys.Float64())
		op.Key = fmt.Appendf(nil, "key %d", rank)
	case r.keys.Float64()*100 < w.Conflict:
		op.Key = []byte(hotKey)
	default:
		op.Key = fmt.Appendf(nil, "%d-%d", r.column+1, r.keys.IntN(ownKeys))
	}
	if r.keys.Float64()*100 < w.Writes {
		op.Kind, op.Value = wire.OpPut, make([]byte, max(w.Value, 16))
		binary.BigEndian.PutUint64(op.Value, uint64(r.column)) //nolint:gosec // small
		binary.BigEndian.PutUint64(op.Value[8:], r.sequence)
	}
	return op
}

// answered hears what became of a proposal.
func (l *load) answered(column int, a *answer) {
	c := l.calls[a.proposal]
	if c == nil || c.region.column != column {
		return
	}
	if !c.chosen {
		c.chosen = true
		l.w.meter.Chosen(l.w.now, &c.Call, Choice{Fast: a.fast, Deps: a.deps})
	}
	if !a.executed {
		return
	}
	delete(l.calls, a.proposal)
	l.w.meter.Executed(l.w.now, &c.Call)
	l.w.chaos.answered(l.w.now, c, a.result)
	if c.Measured {
		l.open--
	}
	if l.w.point.Workload.Load.Clients > 0 {
		l.request(c.region, c.client)
	}
}

// refused hears that a request was not taken. A closed loop tries again a little later.
func (l *load) refused(id epaxos.ProposalID) {
	c := l.calls[id]
	if c == nil {
		return
	}
	delete(l.calls, id)
	l.w.meter.Refuse(&c.Call)
	if c.Measured {
		l.open--
	}
	if l.w.point.Workload.Load.Clients > 0 {
		l.w.events.push(l.w.now+50*time.Millisecond, func() { l.request(c.region, c.client) })
	}
}

// stop ends the clients of a region together with its replica.
func (l *load) stop(column int) {
	r := l.regions[column]
	if r == nil {
		return
	}
	r.stopped = true
	for id := epaxos.ProposalID(1); id <= l.next; id++ {
		c := l.calls[id]
		if c == nil || c.region != r {
			continue
		}
		delete(l.calls, id)
		l.w.chaos.abandoned(c)
		l.w.meter.Abandon(&c.Call)
		if c.Measured {
			l.open--
		}
	}
}
