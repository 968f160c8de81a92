package live

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/experiment"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/internal/workload"
)

// region is the clients of one site. The mutex of the run guards it.
type region struct {
	column  int
	source  *workload.Source
	stopped bool
	waiting map[string][]*call          // sent, and not seen at the replica, by payload
	calls   map[epaxos.ProposalID]*call // seen at the replica
}

// call is one request under way.
type call struct {
	experiment.Call
	payload  []byte
	proposal epaxos.ProposalID // 0 until the replica has it
	ended    bool
}

// errorPause keeps a client that is refused from trying in a tight loop.
const errorPause = 50 * time.Millisecond

func newRegion(p *experiment.Point, column int) *region {
	return &region{
		column: column, source: p.Source(column), waiting: map[string][]*call{}, calls: map[epaxos.ProposalID]*call{},
	}
}

// load sets the clients off. They end by themselves with the measured time, or with stop; what they have asked for is
// waited for until the client programs are closed.
func (r *run) load(ctx context.Context) (loads *sync.WaitGroup, stop func()) {
	ctx, stop = context.WithCancel(ctx)
	loads = &sync.WaitGroup{}
	for i, g := range r.regions {
		if g == nil {
			continue
		}
		if n := r.point.Workload.Load.Clients; n > 0 {
			for range n {
				delay := g.source.Stagger()
				loads.Go(func() { r.loop(ctx, g, r.clients[i], delay) })
			}
			continue
		}
		loads.Go(func() { r.arrivals(ctx, g, r.clients[i]) })
	}
	return loads, stop
}

// arrivals is an open loop. Requests count from the instant they were meant for, however late they are sent.
func (r *run) arrivals(ctx context.Context, g *region, client *clients.Client) {
	for at := g.source.Wait(); ; at += g.source.Wait() {
		if !r.pause(ctx, at) {
			return
		}
		c := r.begin(g, at)
		if c == nil {
			return
		}
		client.Start(context.Background(), clients.Request{
			Payload: c.payload, Done: func(_ clients.Reply, err error) { r.end(g, c, err) },
		})
	}
}

// loop is a client of a closed loop.
func (r *run) loop(ctx context.Context, g *region, client *clients.Client, delay time.Duration) {
	for at := delay; r.pause(ctx, at); at = r.now() {
		c := r.begin(g, r.now())
		if c == nil {
			return
		}
		_, err := client.Start(context.Background(), clients.Request{Payload: c.payload}).Wait()
		r.end(g, c, err)
		if err != nil && !r.pause(ctx, r.now()+errorPause) {
			return
		}
	}
}

// pause waits until an instant; false if the clients are to stop.
func (r *run) pause(ctx context.Context, until time.Duration) bool {
	wait := until - r.now()
	if wait <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-time.After(wait):
		return true
	case <-ctx.Done():
		return false
	}
}

// begin makes the next request of a region, which counts from at; nil if there is none any more.
func (r *run) begin(g *region, at time.Duration) *call {
	r.mu.Lock()
	defer r.mu.Unlock()
	if g.stopped || at >= r.point.Warmup+r.point.Duration {
		return nil
	}
	op := g.source.Draw()
	c := &call{Call: r.meter.Begin(at, g.column), payload: wire.AppendOp(nil, &op)}
	if c.Measured {
		r.open++
	}
	g.waiting[string(c.payload)] = append(g.waiting[string(c.payload)], c)
	return c
}

// end takes the answer of a request.
func (r *run) end(g *region, c *call, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if c.ended || r.over {
		return
	}
	c.ended = true
	if c.Measured {
		r.open--
	}
	if c.proposal == 0 {
		g.unlist(c)
	} else {
		delete(g.calls, c.proposal)
	}
	switch {
	case err == nil:
		r.meter.Executed(now, &c.Call)
	case errors.Is(err, clients.ErrOverloaded):
		r.meter.Refuse(&c.Call)
	default: // it counts as unanswered
	}
}

// unlist forgets a request that its replica has not seen.
func (g *region) unlist(c *call) {
	key := string(c.payload)
	queue := g.waiting[key]
	for i := range queue {
		if queue[i] == c {
			queue = append(queue[:i:i], queue[i+1:]...)
			break
		}
	}
	g.waiting[key] = queue
	if len(queue) == 0 {
		delete(g.waiting, key)
	}
}

// proposed ties a proposal of a region's replica to the request that it comes from. Two requests of one payload are as
// good as each other.
func (r *run) proposed(column int, id epaxos.ProposalID, payload []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.region(column)
	if g == nil {
		return
	}
	queue := g.waiting[string(payload)]
	if len(queue) == 0 {
		return
	}
	c := queue[0]
	g.unlist(c)
	c.proposal = id
	g.calls[id] = c
}

// chosen hears that a replica knows what its proposals are decided to be.
func (r *run) chosen(column int, ids []epaxos.ProposalID, how experiment.Choice) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.region(column)
	if g == nil {
		return
	}
	now := r.now()
	for _, id := range ids {
		if c := g.calls[id]; c != nil {
			r.meter.Chosen(now, &c.Call, how)
		}
	}
}

// region is nil before the load has begun, and where there are no clients.
func (r *run) region(column int) *region {
	if r.regions == nil {
		return nil
	}
	return r.regions[column]
}

// stop ends the clients of a region. Its requests under way are forgotten. The caller holds the mutex.
func (r *run) stop(column int) {
	g := r.regions[column]
	if g == nil {
		return
	}
	g.stopped = true
	forget := func(c *call) {
		c.ended = true
		r.meter.Abandon(&c.Call)
		if c.Measured {
			r.open--
		}
	}
	for _, c := range g.calls {
		forget(c)
	}
	for _, queue := range g.waiting {
		for _, c := range queue {
			forget(c)
		}
	}
	clear(g.calls)
	clear(g.waiting)
}

// message counts a message between two replicas.
func (r *run) message(from, to int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.regions != nil {
		r.meter.Message(r.now(), from, to)
	}
}

// component takes in that a replica has executed instances as one.
func (r *run) component(column, size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.meter.Component(column, size)
}
