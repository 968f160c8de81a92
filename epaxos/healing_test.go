package epaxos_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
)

// heal ends all faults but the death of some replicas: everyone else is up and knows who is dead, nothing
// gets lost any more. Then everything that anybody has heard of must be decided and executed, within twenty
// seconds, and all must have the same view of it. (None of the scripts needs two.)
func (p *player) heal(dead ...epaxos.ReplicaID) {
	p.quietly(func() {
		for _, id := range p.members.Voters {
			switch gone := slices.Contains(dead, id); {
			case gone && p.alive(id):
				p.kill(id)
			case !gone && !p.alive(id):
				p.start(id)
			}
		}
		for _, at := range p.live() {
			for _, whom := range p.members.Voters {
				p.suspect(at, whom, slices.Contains(dead, whom))
			}
		}
		p.settleAll()
	})
	p.checkVisibility()
	p.checkOrder()
	for _, id := range p.live() {
		p.checkMalformed(id)
	}
	p.healed = true
	p.outcome()
}

func (p *player) live() []epaxos.ReplicaID {
	return slices.DeleteFunc(slices.Clone(p.members.Voters), func(id epaxos.ReplicaID) bool { return !p.alive(id) })
}

// settleAll lets time pass until nothing is left to do.
func (p *player) settleAll() {
	const patience = 20 * time.Second
	for began := p.now; ; p.now += tickInterval {
		for range 100_000 {
			if len(p.wire) == 0 {
				break
			}
			e := p.wire[0]
			p.wire = p.wire[1:]
			p.step(e)
		}
		why := p.unsettled()
		if why == "" {
			return
		}
		if len(p.wire) > 0 || p.now > began+patience {
			p.violated("progress", "%v after all faults: %s", p.now-began, why)
		}
		for _, id := range p.live() {
			p.tick(id)
		}
	}
}

// unsettled says what is still to be done, or nothing.
func (p *player) unsettled() string {
	live := p.live()
	for _, id := range live {
		a := p.at(id)
		if !a.Quiet() || a.Stats().InFlightBytes > 0 || a.graph.Pending() > 0 || !a.Tops().Equal(p.at(live[0]).Tops()) {
			return p.status(id)
		}
	}
	return ""
}

// status is how far a replica is.
func (p *player) status(id epaxos.ReplicaID) string {
	a := p.at(id)
	if a.Replica == nil {
		return fmt.Sprintf("r%d is down", id)
	}
	stats := a.Stats()
	line := fmt.Sprintf("r%d heard of %s, decided %s, executed %s", id, p.members.FormatDeps(a.Tops()),
		p.members.FormatDeps(a.Decided()), p.members.FormatDeps(a.graph.Executed()))
	if stats.InFlight > 0 || stats.Queued > 0 {
		line += fmt.Sprintf("; leads %d, queues %d", stats.InFlight, stats.Queued)
	}
	if n := a.graph.Pending(); n > 0 {
		line += fmt.Sprintf("; %d wait, blocked by %v", n, a.graph.Blocked())
	}
	return line
}

// outcome is what was decided, and in which order the commands were executed.
func (p *player) outcome() {
	for _, id := range p.ids() {
		p.note("%v is decided: %s", id, p.format(p.decided[id]))
	}
	live := p.live()
	for len(live) > 0 {
		var same []string
		var rest []epaxos.ReplicaID
		order := fmt.Sprint(p.at(live[0]).order)
		for _, id := range live {
			if fmt.Sprint(p.at(id).order) == order {
				same = append(same, fmt.Sprintf("r%d", id))
			} else {
				rest = append(rest, id)
			}
		}
		if len(same) == len(p.live()) {
			same = []string{"all"}
		}
		if order = strings.Trim(order, "[]"); order == "" {
			order = "nothing"
		}
		p.note("%s executed %s", strings.Join(same, ","), order)
		live = rest
	}
}

// ids is every instance that was decided, in order.
func (p *player) ids() []epaxos.InstanceID {
	var ids []epaxos.InstanceID
	for id := range p.decided {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, epaxos.InstanceID.Compare)
	return ids
}

// checkVisibility: of two decided commands that interfere one depends on the other.
func (p *player) checkVisibility() {
	ids := p.ids()
	for i, a := range ids {
		for _, b := range ids[i+1:] {
			ca, _ := p.members.Column(a.Replica)
			cb, _ := p.members.Column(b.Replica)
			if p.interfere(a, b) && !p.decided[a].Deps.Covers(cb, b.Slot) && !p.decided[b].Deps.Covers(ca, a.Slot) {
				p.violated("visibility", "%v and %v interfere and neither depends on the other", a, b)
			}
		}
	}
}

// checkOrder: any two commands that interfere were executed alike in all lives of all replicas.
func (p *player) checkOrder() {
	orders := slices.Clone(p.orders)
	for _, a := range p.actors {
		orders = append(orders, a.order)
	}
	before := map[[2]epaxos.InstanceID]bool{}
	for _, order := range orders {
		for i, a := range order {
			for _, b := range order[i+1:] {
				if !p.interfere(a, b) {
					continue
				}
				if a == b || before[[2]epaxos.InstanceID{b, a}] {
					p.violated("order", "%v is executed before %v at one replica and after it at another", a, b)
				}
				before[[2]epaxos.InstanceID{a, b}] = true
			}
		}
	}
}

// checkMalformed: replicas that keep to the protocol understand each other.
func (p *player) checkMalformed(id epaxos.ReplicaID) {
	if n := p.at(id).Stats().Malformed; n > 0 {
		p.violated("integrity", "r%d called %d messages of correct replicas malformed", id, n)
	}
}

// checkSize: windows bound every component, by the number of replicas times the window, or times the window
// of a key if its commands are on that key alone. A restart forgets what was in flight.
func (p *player) checkSize(component []execution.Vertex) {
	most := p.limits.InFlight
	first := component[0].Command.Footprint[0]
	onePoint := func(v execution.Vertex) bool {
		f := v.Command.Footprint
		return len(f) == 1 && f[0].Key == first.Key && !f[0].Range && f[0].Mode != epaxos.Everything
	}
	if !slices.ContainsFunc(component, func(v execution.Vertex) bool { return !onePoint(v) }) {
		most = min(most, p.limits.InFlightPerKey)
	}
	if !p.restarted && len(component) > p.members.N()*most {
		p.violated("boundedness", "a component of %d instances, although windows are %d", len(component), most)
	}
}
