package live

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/264bc8cf/epaxos/deps"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/experiment"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/paxos"
	"github.com/264bc8cf/epaxos/server"
)

// probe watches one replica. All but leads belongs to the replica's goroutine.
type probe struct {
	run     *run
	column  int
	members epaxos.Membership
	index   *deps.Index
	led     map[epaxos.InstanceID]epaxos.Led // decided, and not told to the orderer
	seat    *paxos.Seat                      // of another protocol
	chosen  []paxos.Chosen                   // of it, not saved yet where that is needed
	leads   atomic.Bool
}

// protocol makes what a replica of the point runs, with the probe around it.
func (p *probe) protocol(c *server.Config) *node.Protocol {
	if p.run.point.Protocol.Family != "epaxos" {
		return p.baseline(c)
	}
	return &node.Protocol{
		NewCore: func(m epaxos.Membership) (node.Core, error) {
			p.members, p.index, p.led = m, deps.New(m.N()), map[epaxos.InstanceID]epaxos.Led{}
			core, err := epaxos.New(epaxos.Config{
				ID: c.Replica, Membership: m, Index: p.index, Rand: chance(),
				Limits: c.Limits, Timing: c.Timing.Core,
			})
			return &probedCore{Core: core, probe: p}, err
		},
		NewOrderer: func(m epaxos.Membership) node.Orderer {
			return &probedGraph{Graph: execution.NewGraph(m), probe: p}
		},
	}
}

// baseline is the same of another protocol.
func (p *probe) baseline(c *server.Config) *node.Protocol {
	config := p.run.point.Baseline()
	config.ID = c.Replica
	return &node.Protocol{
		NewCore: func(m epaxos.Membership) (node.Core, error) {
			config.Rand = chance()
			seat, err := paxos.NewSeat(config, m)
			p.members, p.seat = m, seat
			return &probedCore{Core: seat, probe: p}, err
		},
		NewOrderer: func(m epaxos.Membership) node.Orderer {
			return &probedOrder{Order: paxos.NewOrder(m), probe: p}
		},
	}
}

func chance() *rand.Rand {
	return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) //nolint:gosec // jitter only
}

// probedCore is a core with its probe.
type probedCore struct {
	node.Core
	probe *probe
}

// Propose sees which request a proposal is.
func (c *probedCore) Propose(
	now time.Duration, id epaxos.ProposalID, request epaxos.Request, f epaxos.Footprint,
) error {
	err := c.Core.Propose(now, id, request, f)
	if err == nil {
		c.probe.run.proposed(c.probe.column, id, request.Payload)
	}
	return err
}

// Ready sees what a turn sends and decides. A replica that is to be slow is slow here.
func (c *probedCore) Ready() epaxos.Ready {
	p := c.probe
	if fault := &p.run.point.Fault; fault.Slow == p.column+1 {
		time.Sleep(fault.SlowBy)
	}
	ready := c.Core.Ready()
	for i := range ready.Messages {
		p.sent(&ready.Messages[i])
	}
	if p.seat != nil {
		p.chosen = append(p.chosen, p.seat.Chosen()...)
		p.leads.Store(p.seat.Leads())
		return ready
	}
	for _, l := range ready.Led {
		p.led[l.ID] = l
	}
	return ready
}

// sent counts a message, unless it is sent whether or not there is work.
func (p *probe) sent(e *epaxos.Envelope) {
	if _, gossip := e.Message.(epaxos.Gossip); gossip || paxos.Background(e.Message) {
		return
	}
	if to, votes := p.members.Column(e.To); votes {
		p.run.message(p.column, to)
	}
}

// probedGraph is the orderer of EPaxos* with its probe.
type probedGraph struct {
	*execution.Graph
	probe *probe
}

// Commit comes when a decision is known and, where that is needed, saved.
func (g *probedGraph) Commit(id epaxos.InstanceID, command *epaxos.Command, deps epaxos.Dependencies) {
	g.Graph.Commit(id, command, deps)
	p := g.probe
	if led, here := p.led[id]; here {
		delete(p.led, id)
		p.run.chosen(p.column, led.Proposals, experiment.Choice{Fast: led.Fast, Deps: g.waits(id, command, deps)})
	}
}

// waits counts the instances that a decision names and that are not executed here.
func (g *probedGraph) waits(id epaxos.InstanceID, command *epaxos.Command, deps epaxos.Dependencies) int {
	waits := 0
	for _, p := range g.probe.index.Above(command.Footprint, g.Executed()) {
		other := g.probe.members.ID(p.Column, p.Slot)
		if deps.Covers(p.Column, p.Slot) && other != id && !g.IsExecuted(other) {
			waits++
		}
	}
	return waits
}

// Next sees what is executed as one.
func (g *probedGraph) Next() []execution.Vertex {
	component := g.Graph.Next()
	if len(component) > 0 {
		g.probe.run.component(g.probe.column, len(component))
	}
	return component
}

// probedOrder is the orderer of another protocol with its probe.
type probedOrder struct {
	*paxos.Order
	probe *probe
}

// Next comes in each turn once what it has chosen is saved, where that is needed.
func (o *probedOrder) Next() []execution.Vertex {
	p := o.probe
	for _, c := range p.chosen {
		p.run.chosen(p.column, c.Proposals, experiment.Choice{Fast: c.Fast, Deps: -1})
	}
	p.chosen = p.chosen[:0]
	return o.Order.Next()
}
