package wire

import (
	"math"

	"github.com/264bc8cf/epaxos/epaxos"
)

const conflictMin = 2 + instanceIDMin

func (e *encoder) validate(m *epaxos.Validate) {
	e.message(TypeValidate, 4)
	e.instance(m.ID)
	e.ballot(m.Ballot)
	e.command(m.Command)
	e.dependencies(m.Initial)
}

func (d *decoder) validate() epaxos.Message {
	return epaxos.Validate{
		ID:      d.instance("id"),
		Ballot:  d.ballot("ballot"),
		Command: d.command("command"),
		Initial: d.dependencies("initial"),
	}
}

func (e *encoder) validateReply(m *epaxos.ValidateReply) {
	e.message(TypeValidateReply, 3)
	e.instance(m.ID)
	e.ballot(m.Ballot)
	e.array(len(m.Conflicts))
	for _, c := range m.Conflicts {
		e.array(2)
		e.instance(c.ID)
		e.bool(c.Committed)
	}
}

func (d *decoder) validateReply() epaxos.Message {
	m := epaxos.ValidateReply{ID: d.instance("id"), Ballot: d.ballot("ballot")}
	n := d.array("conflicts", conflictMin, math.MaxInt)
	if n == 0 {
		return m
	}
	m.Conflicts = make([]epaxos.Conflict, 0, n)
	for i := 0; i < n && d.ok(); i++ {
		d.exactly("conflict", 2)
		m.Conflicts = append(m.Conflicts, epaxos.Conflict{
			ID: d.instance("conflict"), Committed: d.bool("committed"),
		})
	}
	return m
}

func (e *encoder) waiting(m *epaxos.Waiting) {
	e.message(TypeWaiting, 2)
	e.instance(m.ID)
	e.uint(uint64(m.Count))
}

func (d *decoder) waiting() epaxos.Message {
	return epaxos.Waiting{ID: d.instance("id"), Count: int(d.uint("count", 0, epaxos.VotersMax))}
}
