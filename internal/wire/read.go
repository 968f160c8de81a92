package wire

import (
	"math"

	"github.com/264bc8cf/epaxos/epaxos"
)

func (e *encoder) readQuery(m *epaxos.ReadQuery) {
	e.message(TypeReadQuery, 3)
	e.uint(uint64(m.Epoch))
	e.uint(m.Number)
	e.array(len(m.Footprint))
	for i := range m.Footprint {
		e.access(&m.Footprint[i])
	}
}

func (d *decoder) readQuery() epaxos.Message {
	m := epaxos.ReadQuery{Epoch: d.epoch("epoch"), Number: d.uint("number", 1, math.MaxUint64)}
	if n := d.array("footprint", accessMin, FootprintMax); n > 0 {
		m.Footprint = make(epaxos.Footprint, 0, n)
		for i := 0; i < n && d.ok(); i++ {
			m.Footprint = append(m.Footprint, d.access("footprint"))
		}
	}
	return m
}

func (e *encoder) readReply(m *epaxos.ReadReply) {
	e.message(TypeReadReply, 3)
	e.uint(uint64(m.Epoch))
	e.uint(m.Number)
	e.dependencies(m.Deps)
}

func (d *decoder) readReply() epaxos.Message {
	return epaxos.ReadReply{
		Epoch: d.epoch("epoch"), Number: d.uint("number", 1, math.MaxUint64), Deps: d.dependencies("deps"),
	}
}
