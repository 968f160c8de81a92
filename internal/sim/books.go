package sim

import (
	"bytes"
	"maps"
	"slices"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// Epochs (docs/protocol.md, rules M). Each has a book of its own: what was decided, voted and executed in it
// is judged by its own quorums. What passes from one to the next is the state at the Reconfigure that ended it.

// book is what the checkers know of one epoch.
type book struct {
	record  wire.Members
	members epaxos.Membership
	visible *visibility
	orders  *orders
	ledger  *ledger
	given   map[epaxos.ReplicaID]bool // all ids that ever belonged to a member, up to this epoch

	endedBy epaxos.InstanceID           // the Reconfigure that was accepted first; zero while none was
	end     *ending                     // as the first disk holds it; nil while none does
	final   map[int]epaxos.Dependencies // by host: what it had executed when it left the epoch
	stood   map[epaxos.InstanceID]bool  // answered to a client
}

// ending is what a replica has when it has executed an epoch to its end.
type ending struct {
	host    int
	state   []byte
	marked  map[epaxos.InstanceID]bool
	prefix  epaxos.Dependencies
	effects *basis
}

func (c *checker) newBook(record wire.Members) *book {
	m := record.Membership()
	b := &book{
		record: record, members: m, visible: newVisibility(m), orders: newOrders(), ledger: newLedger(m),
		final: map[int]epaxos.Dependencies{}, stood: map[epaxos.InstanceID]bool{}, given: map[epaxos.ReplicaID]bool{},
	}
	b.visible.excused = c.executedByAll
	if len(c.books) > 0 {
		b.given = maps.Clone(c.newest().given)
	}
	for _, member := range record.All() {
		b.given[member.Replica] = true
	}
	return b
}

// mayBeFollowedBy is rule M1, as the checkers understand it: who was no member before must never have been one.
func (b *book) mayBeFollowedBy(next *wire.Members) bool {
	now := &b.record
	if next.Epoch != now.Epoch+1 || next.Validate() != nil || next.NextReplica < now.NextReplica ||
		next.Format < now.Format {
		return false
	}
	for _, m := range next.All() {
		old, _, known := now.Find(m.Replica)
		if known && old.Incarnation != m.Incarnation || !known && (b.given[m.Replica] || m.Replica < now.NextReplica) {
			return false
		}
	}
	return true
}

// book is that of an epoch, nil if there is no such one. Epochs count from 1.
func (c *checker) book(e epaxos.Epoch) *book {
	if e == 0 || int(e) > len(c.books) {
		return nil
	}
	return c.books[e-1]
}

// newest is the book of the epoch that began last anywhere.
func (c *checker) newest() *book { return c.books[len(c.books)-1] }

// votes reports whether a host votes in an epoch.
func (c *checker) votes(host int, e epaxos.Epoch) bool {
	b := c.book(e)
	if b == nil {
		return false
	}
	_, votes := b.members.Column(replicaOf(host))
	return votes
}

// of is the membership that a message or an instance is of, for columns and for people.
func (c *checker) of(e epaxos.Epoch) epaxos.Membership {
	if b := c.book(e); b != nil {
		return b.members
	}
	return c.w.members
}

func (c *checker) format(e epaxos.Envelope) string {
	return c.of(epaxos.EpochOf(e.Message)).FormatEnvelope(e)
}

// executed takes a component that is about to be applied, and returns how much of it is: up to the Reconfigure
// that ends the epoch, by the rules and not by what the replica does (rules M1 to M3).
func (c *checker) executed(host int, e epaxos.Epoch, component []execution.Vertex) (standing int) {
	c.w.stop(c.bounds.component(len(component)))
	b := c.book(e)
	h := b.orders.at(host)
	for i, v := range component {
		switch {
		case v.ID.Epoch != e || c.epochs[host] != e:
			c.w.violated("order", "r%d executes %v of epoch %d in its epoch %d, while its disk is in epoch %d",
				c.name(host), v.ID, v.ID.Epoch, e, c.epochs[host])
		case h.ended != epaxos.InstanceID{}:
			c.w.violated("order", "r%d executes %v after %v, which has ended the epoch", c.name(host), v.ID, h.ended)
		}
		if c.w.err != nil {
			return i
		}
		c.w.stop(b.orders.executed(host, v.ID, v.Command))
		if next := b.accepted(v.Command); next != nil {
			h.ended = v.ID
			c.ends(host, b, next)
			return i + 1
		}
	}
	return len(component)
}

// accepted tells the members of the next epoch if a command is a Reconfigure that ends this one.
func (b *book) accepted(command *epaxos.Command) *wire.Members {
	if !command.Footprint.EndsEpoch() {
		return nil
	}
	for i := range command.Requests {
		control, err := wire.DecodeControl(command.Requests[i].Payload)
		if err == nil && control.Kind == wire.ControlReconfigure && b.mayBeFollowedBy(control.Members) {
			return control.Members
		}
	}
	return nil
}

// ends opens the book of the next epoch, or compares who ended this one.
func (c *checker) ends(host int, b *book, next *wire.Members) {
	by := b.orders.at(host).ended
	if b.endedBy == (epaxos.InstanceID{}) {
		b.endedBy = by
		c.books = append(c.books, c.newBook(next.Clone()))
		c.w.report.Epochs++
		return
	}
	if b.endedBy != by {
		c.w.violated("agreement", "at r%d epoch %d ends by %v, elsewhere by %v",
			c.name(host), b.record.Epoch, by, b.endedBy)
	}
}

// begins takes a core that is made for an epoch.
func (c *checker) begins(host int, m epaxos.Membership) {
	b := c.book(m.Epoch)
	switch {
	case b == nil || c.epochs[host] != m.Epoch:
		c.w.violated("order", "r%d begins epoch %d, and its disk is in epoch %d", c.name(host), m.Epoch, c.epochs[host])
	case !sameMembers(m, b.members):
		c.w.violated("agreement", "r%d begins epoch %d with %+v, others with %+v", c.name(host), m.Epoch, m, b.members)
	}
	c.prefix[host] = make(epaxos.Dependencies, m.N())
	c.bounds.started(host, c.w.setup.limits, m)
}

func sameMembers(a, b epaxos.Membership) bool {
	if a.F != b.F || a.E != b.E || len(a.Voters) != len(b.Voters) {
		return false
	}
	for i := range a.Voters {
		if a.Voters[i] != b.Voters[i] {
			return false
		}
	}
	return true
}

// membersKey is where the state holds its members.
var membersKey = append([]byte{byte(epaxos.SpaceControl)}, "members"...)

// saysMembers reports whether a batch changes the epoch of the state.
func saysMembers(batch *storage.Batch) bool {
	for i := range batch.Writes {
		if bytes.Equal(batch.Writes[i].Key, membersKey) {
			return true
		}
	}
	return batch.Adopt
}

// epochOf is the epoch that a disk is in: 0 if it has no state yet.
func (c *checker) epochOf(host int, d *disk) epaxos.Epoch {
	body, found, err := d.Get(membersKey)
	if err == nil && !found {
		if c.votes(host, 1) {
			return 1
		}
		return 0
	}
	members, decodeErr := wire.DecodeMembers(body)
	if err != nil || decodeErr != nil {
		c.w.violated("integrity", "the members on the disk of r%d: %v, %v", c.name(host), err, decodeErr)
	}
	if b := c.book(members.Epoch); b != nil && !bytes.Equal(body, wire.AppendMembers(nil, &b.record)) {
		c.w.violated("agreement", "r%d has saved %+v, others %+v", c.name(host), members, b.record)
	}
	return members.Epoch
}

// switched takes a disk that has come to another epoch: by executing the end of the one before, or by taking
// over the state of one that did. Either way it is the same state.
func (c *checker) switched(host int, after epaxos.Epoch, adopted bool) {
	before := c.epochs[host]
	b := c.book(after - 1)
	if c.book(after) == nil || after < before {
		c.w.violated("order", "the disk of r%d goes from epoch %d to %d, which nobody has begun", c.name(host), before, after)
		return
	}
	state := dump(c.w.hosts[host].disk)
	switch {
	case c.votes(host, before) && !adopted:
		if ended := b.orders.at(host).ended; after != before+1 || ended == (epaxos.InstanceID{}) {
			c.w.violated("order", "r%d goes from epoch %d to %d without having executed its end", c.name(host), before, after)
			return
		}
		c.ended(host, b, state)
	case b.end == nil:
		c.w.violated("durability", "r%d has a state of epoch %d, which no disk has begun", c.name(host), after)
		return
	default:
		c.w.report.Installed++
	}
	if c.votes(host, after) && !bytes.Equal(state, b.end.state) {
		c.w.violated("order", "r%d begins epoch %d in another state than r%d:\n%s\n%s", c.name(host), after,
			c.name(b.end.host), state, b.end.state)
	}
	c.epochs[host] = after
	if c.votes(host, after) {
		c.effects.begin(host, c.book(after).members, b.end.effects)
	}
}

// whole is rule M3: the group that marks the end of an epoch names the members of the next.
func (c *checker) whole(host int, g *wire.Group, batch *storage.Batch) *Violation {
	by := c.book(c.epochs[host]).endedBy
	if by != (epaxos.InstanceID{}) && slices.Contains(g.Executed, by) && !saysMembers(batch) {
		return found("durability", "r%d saves that %v was executed, and not the members of the next epoch", c.name(host), by)
	}
	return nil
}

// lets is rule M9: the state with which an epoch began is kept until all its voters have begun.
func (c *checker) lets(host int, batch *storage.Batch) *Violation {
	epoch := c.epochs[host]
	if batch.Hold != storage.HoldNone || batch.Adopt || !c.votes(host, epoch) {
		return nil
	}
	for _, id := range c.book(epoch).members.Voters {
		if c.epochs[hostOf(id)] < epoch {
			return found("durability", "r%d lets go of the state with which epoch %d began, and r%d has not begun",
				c.name(host), epoch, id)
		}
	}
	return nil
}

// turnedTo is rule S8: whoever takes part has been greeted by a quorum since it started, of the epoch it was in.
func (c *checker) turnedTo(host int) {
	members, role := c.w.hosts[host].node.Members()
	if role == node.Removed {
		return // it has nothing to vote about
	}
	if c.greeted[host] == nil || !c.w.hosts[host].node.Admitted() {
		return
	}
	n := 0
	for _, m := range members.Voters {
		if i := hostOf(m.Replica); i == host || c.greeted[host][i] {
			n++
		}
	}
	if m := members.Membership(); n < m.SlowQuorum() {
		c.w.violated("durability", "r%d is off probation after %d greetings of %d", c.name(host), n, m.SlowQuorum())
	}
	c.greeted[host] = nil
}

// ended takes a disk that holds the end of an epoch, executed there.
func (c *checker) ended(host int, b *book, state []byte) {
	h := c.effects.at(host)
	b.final[host] = h.prefix.Clone()
	c.behindEnd(host)
	if b.end != nil {
		return
	}
	b.end = &ending{host: host, state: state, marked: h.marked, prefix: h.prefix.Clone(), effects: h.basis()}
	for id := range b.stood {
		if !h.marked[id] {
			c.w.violated("durability", "%v was answered, and does not stand at the end of its epoch", id)
		}
	}
}

// stands takes a request of an instance that is answered to a client.
func (c *checker) stands(id epaxos.InstanceID) {
	b := c.book(id.Epoch)
	b.stood[id] = true
	if b.end != nil && !b.end.marked[id] {
		c.w.violated("durability", "%v is answered, and does not stand at the end of its epoch", id)
	}
}

// progressOf is what a host has executed durably of an epoch.
func (c *checker) progressOf(host int, e epaxos.Epoch) epaxos.Dependencies {
	switch b := c.book(e); {
	case c.epochs[host] == e:
		return c.effects.at(host).prefix
	case c.epochs[host] < e:
		return nil
	case b.final[host] != nil:
		return b.final[host]
	default: // it has taken over the state at the end
		return b.end.prefix
	}
}
