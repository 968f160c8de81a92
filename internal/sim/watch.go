package sim

import (
	"bytes"
	"fmt"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// checker holds what must be true of all replicas in all their lives.
type checker struct {
	w         *world
	decisions map[epaxos.InstanceID]epaxos.Decision
	results   map[place][]byte
	durable   []map[epaxos.InstanceID]epaxos.Record // by host: what its disk says of an instance
	cancelled map[string]bool                       // payloads that must never be applied
}

// place is one request in an instance.
type place struct {
	id      epaxos.InstanceID
	request int
}

func (c *checker) init(w *world) {
	c.w = w
	c.decisions = map[epaxos.InstanceID]epaxos.Decision{}
	c.results = map[place][]byte{}
	c.cancelled = map[string]bool{}
	for range w.members.Voters {
		c.durable = append(c.durable, map[epaxos.InstanceID]epaxos.Record{})
	}
}

// decided checks agreement (1) the moment a replica learns of a decision.
func (c *checker) decided(host int, d epaxos.Decision) {
	known, seen := c.decisions[d.ID]
	if !seen {
		c.decisions[d.ID] = d
		return
	}
	if !known.Deps.Equal(d.Deps) || !sameCommand(known.Command, d.Command) {
		m := c.w.members
		c.w.violated("agreement", "r%d commits %v deps=%s %v, elsewhere it is deps=%s %v", m.Voters[host], d.ID,
			m.FormatDeps(d.Deps), d.Command, m.FormatDeps(known.Deps), known.Command)
	}
}

func sameCommand(a, b *epaxos.Command) bool {
	if a == nil || b == nil {
		return a == b
	}
	if len(a.Requests) != len(b.Requests) {
		return false
	}
	for i := range a.Requests {
		if !bytes.Equal(a.Requests[i].Payload, b.Requests[i].Payload) {
			return false
		}
	}
	return true
}

// applied checks order (3): a request gives the same result wherever and whenever it is executed.
func (c *checker) applied(host int, at place, payload, result []byte) {
	if c.cancelled[string(payload)] {
		c.w.violated("once", "r%d applies a request of %v that was said to be taken back", c.w.members.Voters[host], at.id)
	}
	known, seen := c.results[at]
	if !seen {
		c.results[at] = result
		return
	}
	if !bytes.Equal(known, result) {
		c.w.violated("order", "request %d of %v gives %x at r%d, elsewhere %x",
			at.request, at.id, result, c.w.members.Voters[host], known)
	}
}

// synced takes what a save made durable, and checks promises (5).
func (c *checker) synced(host int, body []byte) {
	group, err := wire.DecodeGroup(body)
	if err != nil {
		c.w.violated("integrity", "r%d saved a group that does not decode: %v", c.w.members.Voters[host], err)
		return
	}
	for _, record := range group.Records {
		old := c.durable[host][record.ID]
		if record.Promised.Less(old.Promised) || record.Accepted.Less(old.Accepted) ||
			record.Promised.Less(record.Accepted) || record.Phase < old.Phase {
			c.w.violated("promise", "r%d saved %v over %v", c.w.members.Voters[host],
				c.w.members.FormatRecord(c.w.members.Voters[host], record),
				c.w.members.FormatRecord(c.w.members.Voters[host], old))
		}
		if record.Initial == nil {
			record.Initial = old.Initial
		}
		c.durable[host][record.ID] = record
	}
}

// crashed reads back what a replica still has.
func (c *checker) crashed(host int, d *disk) {
	c.durable[host] = map[epaxos.InstanceID]epaxos.Record{}
	err := d.Groups(func(_ uint64, group []byte) error {
		c.synced(host, group)
		return nil
	})
	if err != nil {
		c.w.violated("integrity", "the disk of r%d cannot be read back: %v", c.w.members.Voters[host], err)
	}
	d.synced = func(b storage.Batch) {
		c.w.note(noteSave, host, b.Group)
		c.synced(host, b.Group)
	}
}

// sent checks durability (6): whatever a message lets others count on is on the sender's disk
// (docs/protocol.md, rule S1).
func (c *checker) sent(host int, messages []epaxos.Envelope) {
	for _, e := range messages {
		id := epaxos.InstanceOf(e.Message)
		saved := c.durable[host][id]
		if why := c.unsupported(host, saved, e.Message); why != "" {
			c.w.violated("durability", "%s, but %s: %s", c.w.members.FormatEnvelope(e), why,
				c.w.members.FormatRecord(e.From, saved))
		}
	}
}

func (c *checker) unsupported(host int, saved epaxos.Record, message epaxos.Message) string {
	optimised := !c.w.members.Baseline()
	own := saved.ID.Replica == c.w.members.Voters[host]
	switch m := message.(type) {
	case epaxos.PreAccept:
		return unless(saved.Phase >= epaxos.PreAccepted, "it is not pre-accepted at its leader")
	case epaxos.PreAcceptReply:
		return unless(saved.Phase >= epaxos.PreAccepted, "the vote is not saved")
	case epaxos.Accept:
		return unless(!saved.Accepted.Less(m.Ballot) && saved.Phase >= epaxos.Accepted, "the own vote is not saved")
	case epaxos.AcceptReply:
		return unless(!saved.Accepted.Less(m.Ballot) && saved.Phase >= epaxos.Accepted, "the vote is not saved")
	case epaxos.Recover:
		return unless(!saved.Promised.Less(m.Ballot), "the own promise is not saved")
	case epaxos.RecoverReply:
		return unless(!saved.Promised.Less(m.Ballot) && saved.Phase >= m.Phase, "the promise is not saved")
	case epaxos.ValidateReply:
		return unless(saved.Initial != nil, "the initial proposal is not saved")
	case epaxos.Commit:
		fastOrNever := own && m.Ballot.IsZero() && optimised
		return unless(!fastOrNever || saved.Phase >= epaxos.Accepted, "the own fast commit is not saved")
	default:
		return ""
	}
}

func unless(fine bool, why string) string {
	if fine {
		return ""
	}
	return why
}

// watchedOrder shows the checker every decision as the executor takes it, which is after the save,
// and tells the machine which instance it is about to execute. A decision that dies with its replica
// before that was never made: nobody has heard of it.
type watchedOrder struct {
	*execution.Graph
	w    *world
	host int
	next []place
}

// Commit implements node.Orderer.
func (o *watchedOrder) Commit(id epaxos.InstanceID, command *epaxos.Command, deps epaxos.Dependencies) {
	o.w.check.decided(o.host, epaxos.Decision{ID: id, Command: command, Deps: deps})
	o.Graph.Commit(id, command, deps)
}

// Next implements node.Orderer.
func (o *watchedOrder) Next() []execution.Vertex {
	component := o.Graph.Next()
	for _, v := range component {
		for i := range v.Command.Requests {
			o.next = append(o.next, place{v.ID, i})
		}
	}
	return component
}

// watchedMachine shows the checker every result.
type watchedMachine struct {
	execution.KV
	order *watchedOrder
}

// Apply implements execution.StateMachine.
func (m *watchedMachine) Apply(view execution.View, payload []byte) ([]byte, error) {
	result, err := m.KV.Apply(view, payload)
	if err != nil {
		return nil, fmt.Errorf("apply %x: %w", payload, err)
	}
	at := m.order.next[0]
	m.order.next = m.order.next[1:]
	m.order.w.check.applied(m.order.host, at, payload, result)
	return result, nil
}
