package experiment

import (
	"fmt"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/internal/workload"
)

// load is the clients of a run. They stand beside the replica of their region, at no distance.
type load struct {
	w       *world
	calls   map[epaxos.ProposalID]*call
	regions []*region // by column; nil without clients
	next    epaxos.ProposalID
	open    int // measured requests without an answer
}

// region is the clients of one site.
type region struct {
	column  int
	source  *workload.Source
	stopped bool
	begun   int
}

// call is one request under way.
type call struct {
	Call
	region *region
	client int
	op     wire.Op
	chosen bool
}

func newLoad(w *world) (*load, error) {
	l := &load{w: w, calls: map[epaxos.ProposalID]*call{}, regions: make([]*region, w.point.Replicas)}
	for _, column := range w.point.Regions() {
		if column < 0 || column >= w.point.Replicas {
			return nil, fmt.Errorf("region %d of %d", column+1, w.point.Replicas)
		}
		l.regions[column] = &region{column: column, source: w.point.Source(column)}
	}
	return l, nil
}

// begin sets the clients off.
func (l *load) begin() {
	for _, r := range l.regions {
		switch {
		case r == nil:
		case l.w.point.Workload.Load.Clients > 0:
			for client := range l.w.point.Workload.Load.Clients {
				l.w.events.push(r.source.Stagger(), func() { l.request(r, client) })
			}
		default:
			l.arrive(r)
		}
	}
}

// arrive plans the next request of an open loop.
func (l *load) arrive(r *region) {
	l.w.events.push(l.w.now+r.source.Wait(), func() {
		l.request(r, r.begun)
		if !r.stopped && l.w.now < l.end() {
			l.arrive(r)
		}
	})
}

func (l *load) end() time.Duration { return l.w.point.Warmup + l.w.point.Duration }

// request sends one request, unless the time is over.
func (l *load) request(r *region, client int) {
	h := l.w.hosts[r.column]
	if r.stopped || l.w.now >= l.end() || h.replica == nil {
		return
	}
	l.next++
	r.begun++
	c := &call{Call: l.w.meter.Begin(l.w.now, r.column), region: r, client: client, op: r.source.Draw()}
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
