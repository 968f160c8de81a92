package sim

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// checker holds what must be true of all replicas in all their lives. It is told of every save, message,
// decision and execution the moment it happens, and ends the run at the first bad state.
type checker struct {
	w         *world
	decisions map[epaxos.InstanceID]*epaxos.Decision
	results   map[place][]byte
	once      map[string]place                      // by payload: where a request that is unique was executed
	durable   []map[epaxos.InstanceID]epaxos.Record // by host: what its disk says of an instance
	cancelled map[string]bool                       // payloads that must never be applied
	prefix    []epaxos.Dependencies                 // by host: what it has taken for decided in any life
	heard     []map[epaxos.ReplicaID]uint64         // by host: the newest group of each peer that it has saved
	greeted   []map[int]bool                        // by host: who has greeted it in this life; nil off probation
	resting   bool                                  // nothing may be said any more but gossip
	books     []*book                               // of the epochs, from the first
	epochs    []epaxos.Epoch                        // by host: what its disk is in; 0 if it has no state yet
	held      []held                                // by host
	states    map[uint64]bool                       // that a voter held at some group
	sessions  *sessions
	lineages  *lineages
	divides   map[epaxos.InstanceID]fingerprint // the state behind each barrier
	behinds   map[fingerprint]bool              // those states
	effects   *effects
	bounds    *bounds
}

// place is one request in an instance.
type place struct {
	id      epaxos.InstanceID
	request int
}

func (c *checker) init(w *world) {
	*c = checker{
		w: w, decisions: map[epaxos.InstanceID]*epaxos.Decision{}, results: map[place][]byte{},
		once: map[string]place{}, cancelled: map[string]bool{}, effects: newEffects(w.members), bounds: newBounds(),
		states: map[uint64]bool{0: true}, sessions: newSessions(), lineages: newLineages(),
		divides: map[epaxos.InstanceID]fingerprint{}, behinds: map[fingerprint]bool{},
	}
	c.books = []*book{c.newBook(w.firstMembers())}
	for host := range max(w.setup.machines, w.members.N()) {
		c.durable = append(c.durable, map[epaxos.InstanceID]epaxos.Record{})
		c.prefix = append(c.prefix, make(epaxos.Dependencies, w.members.N()))
		c.heard = append(c.heard, map[epaxos.ReplicaID]uint64{})
		c.held = append(c.held, held{})
		c.greeted = append(c.greeted, map[int]bool{})
		var epoch epaxos.Epoch
		if host < w.members.N() {
			epoch = 1
		}
		c.epochs = append(c.epochs, epoch)
	}
}

func (c *checker) name(host int) epaxos.ReplicaID { return replicaOf(host) }

// decided takes a decision the moment that a replica acts on it or tells it: all say the same
// (agreement), and the first has the votes for it (commit-votes) and names or is named by all that
// interfere (visibility).
func (c *checker) decided(host int, d epaxos.Decision) {
	known, seen := c.decisions[d.ID]
	if !seen {
		c.decisions[d.ID] = &d
		b := c.book(d.ID.Epoch)
		if c.w.options.other == nil {
			c.w.stop(b.ledger.decided(&d))
		}
		c.w.stop(b.visible.decided(&d))
		return
	}
	if !known.Deps.Equal(d.Deps) || !sameCommand(known.Command, d.Command) {
		m := c.of(d.ID.Epoch)
		c.w.violated("agreement", "r%d commits %v deps=%s %v, elsewhere it is deps=%s %v", c.name(host), d.ID,
			m.FormatDeps(d.Deps), d.Command, m.FormatDeps(known.Deps), known.Command)
	}
}

func sameCommand(a, b *epaxos.Command) bool {
	if a == b || a == nil || b == nil {
		return a == b
	}
	if len(a.Requests) != len(b.Requests) || len(a.Footprint) != len(b.Footprint) {
		return false
	}
	for i := range a.Requests {
		if !bytes.Equal(a.Requests[i].Payload, b.Requests[i].Payload) {
			return false
		}
	}
	for i := range a.Footprint {
		if a.Footprint[i] != b.Footprint[i] {
			return false
		}
	}
	return true
}

// applied takes the result of a request, which is the same wherever and whenever it is executed; a
// request that tells itself from all others is executed in one place only.
func (c *checker) applied(host int, at place, payload, result []byte) {
	if c.cancelled[string(payload)] {
		c.w.violated("once", "r%d applies a request of %v that was said to be taken back", c.name(host), at.id)
	}
	if other, unique := c.once[string(payload)]; unique {
		if other != (place{}) && other != at {
			c.w.violated("once", "r%d applies request %d of %v, which is request %d of %v as well", c.name(host),
				at.request, at.id, other.request, other.id)
		}
		c.once[string(payload)] = at
	}
	known, seen := c.results[at]
	if !seen {
		c.results[at] = result
		return
	}
	if !bytes.Equal(known, result) {
		c.w.violated("order", "request %d of %v gives %x at r%d, elsewhere %x",
			at.request, at.id, result, c.name(host), known)
	}
}

// synced takes what a save has made durable.
func (c *checker) synced(host int, batch storage.Batch) {
	group, err := wire.DecodeGroup(batch.Group)
	if err != nil {
		c.w.violated("integrity", "r%d saved a group that does not decode: %v", c.name(host), err)
		return
	}
	epoch := c.epochs[host]
	for i := range group.Records {
		r := &group.Records[i]
		if r.ID.Epoch != epoch || !c.votes(host, epoch) {
			c.w.violated("promise", "r%d saves a record of %v in epoch %d", c.name(host), r.ID, epoch)
			return
		}
		known := c.durable[host][r.ID].Command != nil
		c.record(host, *r)
		if c.w.options.other != nil {
			continue
		}
		c.book(epoch).ledger.recorded(host, r)
		if !known { // else it is saved once more, so that an older group can go
			c.w.stop(c.bounds.led(host, r))
		}
	}
	c.w.stop(c.truncates(host, &group, batch.DropGroups))
	c.hears(host, group.Heard)
	disk := c.w.hosts[host].disk
	c.w.stop(c.lets(host, &batch))
	if c.votes(host, epoch) && !batch.Adopt {
		marks := c.marks(host, newlyExecuted(c.effects.at(host), &group))
		c.w.stop(c.effects.saved(host, marks, batch.Writes, func(key pointKey) string {
			value, found, err := disk.Get(append([]byte{byte(key.space)}, key.key...))
			if err != nil || !found {
				return absent
			}
			return string(value)
		}))
		c.w.stop(c.whole(host, &group, &batch))
	} else if len(group.Executed) > 0 {
		c.w.violated("durability", "r%d marks %v as executed, and executes nothing", c.name(host), group.Executed)
	}
	if saysMembers(&batch) && c.w.err == nil {
		if after := c.epochOf(host, disk); after != epoch {
			c.switched(host, after, batch.Adopt)
		}
	}
	c.holds(host, epoch, &batch)
}

// marks finds the commands of executed marks.
func (c *checker) marks(host int, executed []epaxos.InstanceID) []mark {
	marks := make([]mark, len(executed))
	for i, id := range executed {
		d := c.decisions[id]
		switch {
		case d == nil:
			c.w.violated("durability", "r%d marks %v as executed, which nobody has decided", c.name(host), id)
		case d.Command != nil && !c.book(id.Epoch).orders.at(host).done[id]:
			c.w.violated("durability", "r%d marks %v as executed, and has not executed it", c.name(host), id)
		default:
			marks[i].command = d.Command
		}
		marks[i].id = id
	}
	return marks
}

// record takes a durable record: what a replica has promised and voted never goes back.
func (c *checker) record(host int, r epaxos.Record) {
	old, known := c.durable[host][r.ID]
	if r.Initial == nil {
		r.Initial = old.Initial
	}
	if r.Command == nil {
		r.Command = old.Command
	}
	c.durable[host][r.ID] = r
	m := c.of(r.ID.Epoch)
	broken := func(invariant, how string) {
		c.w.violated(invariant, "%s: r%d saved %v over %v", how, c.name(host),
			m.FormatRecord(c.name(host), r), m.FormatRecord(c.name(host), old))
	}
	switch {
	case r.Promised.Less(r.Accepted):
		broken("promise", "an accept above the promise")
	case known && (r.Promised.Less(old.Promised) || r.Accepted.Less(old.Accepted) || r.Phase < old.Phase):
		broken("promise", "something went back")
	case old.Phase == epaxos.Initial && r.Phase == epaxos.PreAccepted && !old.Promised.IsZero():
		broken("promise", "a pre-accept after a promise")
	case old.Phase == epaxos.Committed && (r.NoOp != old.NoOp || !r.Deps.Equal(old.Deps)):
		broken("agreement", "a decision has changed")
	case old.Phase == epaxos.Accepted && r.Phase == epaxos.Accepted && old.Accepted == r.Accepted &&
		(r.NoOp != old.NoOp || !r.Deps.Equal(old.Deps)):
		broken("commit-votes", "two values at one ballot")
	case old.Phase == epaxos.PreAccepted && r.Phase == epaxos.PreAccepted && !r.Deps.Equal(old.Deps):
		broken("commit-votes", "a vote has changed")
	case old.Initial != nil && !r.Initial.Equal(old.Initial):
		broken("commit-votes", "the initial dependencies have changed")
	}
}

// crashed reads back what a replica still has. A batch that was under way when it died may be among it, even
// the one that begins an epoch.
func (c *checker) crashed(host int, d *disk) {
	before, heard := c.durable[host], c.heard[host]
	c.durable[host] = map[epaxos.InstanceID]epaxos.Record{}
	c.heard[host] = map[epaxos.ReplicaID]uint64{}
	old := c.effects.at(host)
	log := newHostEffects(old.members, old.before)
	installed := false // by the newest group
	err := d.Groups(func(_ uint64, body []byte) error {
		group, err := wire.DecodeGroup(body)
		if err != nil {
			return fmt.Errorf("decode a group: %w", err)
		}
		for i := range group.Records {
			c.record(host, group.Records[i])
			if b := c.book(group.Records[i].ID.Epoch); b != nil && c.w.options.other == nil {
				b.ledger.recorded(host, &group.Records[i])
			}
		}
		log.read(&group)
		installed = group.Origin != nil
		c.hears(host, group.Heard)
		return nil
	})
	if err != nil {
		c.w.violated("integrity", "the disk of r%d cannot be read back: %v", c.name(host), err)
		return
	}
	state, err := stateOf(d)
	if err != nil {
		c.w.violated("integrity", "the disk of r%d: %v", c.name(host), err)
		return
	}
	c.w.stop(c.remembers(host, heard))
	epoch := c.epochs[host]
	adopted := installed && c.epochOf(host, d) != epoch
	if c.votes(host, epoch) && !adopted {
		c.w.stop(c.kept(host, before, log))
		c.reread(host, log, state)
	}
	if after := c.epochOf(host, d); c.w.err == nil && after != c.epochs[host] {
		c.switched(host, after, adopted)
	}
	c.holds(host, epoch, nil)
	d.synced = func(b storage.Batch) {
		c.w.note(noteSave, host, b.Group)
		c.synced(host, b)
	}
}

// wiped takes a replica whose disk was emptied.
func (c *checker) wiped(host int, d *disk) {
	c.durable[host] = map[epaxos.InstanceID]epaxos.Record{}
	c.heard[host] = map[epaxos.ReplicaID]uint64{}
	c.epochs[host] = 0
	c.crashed(host, d)
}

// reread takes what the disk of a voter says of its epoch.
func (c *checker) reread(host int, log *hostEffects, state map[pointKey]string) {
	c.w.stop(c.effects.restart(host, c.marks(host, log.order), state))
	orders := c.book(c.epochs[host]).orders
	ended := orders.at(host).ended
	orders.restart(host, log.order)
	if log.marked[ended] {
		orders.at(host).ended = ended
	}
}

// turned looks at a replica after a turn.
func (c *checker) turned(host int) {
	h := c.w.hosts[host]
	c.turnedTo(host)
	if !h.votes() || c.w.options.other != nil {
		return
	}
	c.w.stop(c.bounds.turned(host, h.core.Stats(), h.core.Tops()))
	if h.node.NoRoom() != nil || h.node.Busy() {
		return // what was decided is not handed on yet
	}
	m := h.core.Membership()
	decided := h.core.Decided()
	for column, slot := range decided {
		for seen := c.prefix[host][column] + 1; seen <= slot; seen++ {
			if id := m.ID(column, seen); c.decisions[id] == nil {
				c.w.violated("commit-votes", "r%d takes %v for decided, which nobody has decided", c.name(host), id)
			}
		}
		c.prefix[host][column] = max(c.prefix[host][column], slot)
	}
}

// watchedOrder shows the checker every decision as the executor takes it, which is after the save, and
// every component as it executes, and tells the machine which instance it is about to execute. A
// decision that dies with its replica before that, and of which no message has left, was never made:
// nobody has heard of it.
type watchedOrder struct {
	node.Orderer
	graph *execution.Graph // the same, of EPaxos*
	w     *world
	host  int
	epoch epaxos.Epoch
	next  []expected
	bar   epaxos.InstanceID // the barrier in the last component; zero is none
	over  [][]byte          // payloads of the component that it has to pass over
}

// expected is a request that the machine is about to apply.
type expected struct {
	place
	payload []byte
}

// Commit implements node.Orderer.
func (o *watchedOrder) Commit(id epaxos.InstanceID, command *epaxos.Command, deps epaxos.Dependencies) {
	o.w.check.decided(o.host, epaxos.Decision{ID: id, Command: command, Deps: deps})
	o.Orderer.Commit(id, command, deps)
}

// Next implements node.Orderer.
func (o *watchedOrder) Next() []execution.Vertex {
	if len(o.next) > 0 {
		at := o.next[0].place
		o.w.violated("once", "r%d passes over request %d of %v, which stands", replicaOf(o.host), at.request, at.id)
	}
	o.w.check.behind(o.host, o.bar)
	o.bar = epaxos.InstanceID{}
	component := o.Orderer.Next()
	if component == nil {
		return nil
	}
	o.over = o.over[:0]
	standing := o.w.check.executed(o.host, o.epoch, component)
	for _, v := range component[:standing] {
		if v.Command.Footprint.Controls() {
			if !v.Command.Footprint.EndsEpoch() {
				o.bar = v.ID
			}
			continue
		}
		for i := range v.Command.Requests {
			if !o.w.check.sessions.applies(&v, i) {
				o.over = append(o.over, v.Command.Requests[i].Payload)
				continue
			}
			o.next = append(o.next, expected{place{v.ID, i}, v.Command.Requests[i].Payload})
		}
	}
	return component
}

// TakeExecuted implements node.Orderer.
func (o *watchedOrder) TakeExecuted() []epaxos.InstanceID {
	taken := o.Orderer.TakeExecuted()
	for _, id := range taken {
		o.w.check.bounds.executed(o.host, id)
	}
	return taken
}

// watchedMachine is the machine that ships, and shows the checker every result.
type watchedMachine struct {
	execution.KV
	order *watchedOrder
}

// Apply implements execution.StateMachine.
func (m *watchedMachine) Apply(view execution.View, payload []byte) ([]byte, error) {
	o := m.order
	if len(o.next) > 0 {
		view = o.w.check.lineages.witness(o.next[0].place, view)
	}
	result, err := m.KV.Apply(view, payload)
	if err != nil {
		return nil, fmt.Errorf("apply %x: %w", payload, err)
	}
	if len(o.next) == 0 && o.w.hosts[o.host].reading[string(payload)] {
		return result, nil // the history tells whether it is right
	}
	if len(o.next) == 0 || !bytes.Equal(o.next[0].payload, payload) {
		invariant, why := "order", "does not stand"
		if slices.ContainsFunc(o.over, func(passed []byte) bool { return bytes.Equal(passed, payload) }) {
			invariant, why = "once", "has to be passed over"
		}
		o.w.violated(invariant, "r%d applies %x, which %s", replicaOf(o.host), payload, why)
		return result, nil
	}
	at := o.next[0].place
	o.next = o.next[1:]
	o.w.check.applied(o.host, at, payload, result)
	return result, nil
}
