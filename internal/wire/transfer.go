package wire

import "github.com/264bc8cf/epaxos/epaxos"

func (e *encoder) ended(m *epaxos.Ended) {
	e.message(TypeEnded, 2)
	e.uint(uint64(m.Epoch))
	e.bool(m.Decided)
}

func (d *decoder) ended() epaxos.Message {
	return epaxos.Ended{Epoch: d.epoch("epoch"), Decided: d.bool("decided")}
}

func (e *encoder) stateRequest(m *epaxos.StateRequest) {
	e.message(TypeStateRequest, 5)
	e.uint(uint64(m.Epoch))
	e.uint(m.Since)
	e.uint(m.At)
	e.bytes(m.After)
	e.uint(m.Sum)
}

func (d *decoder) stateRequest() epaxos.Message {
	return epaxos.StateRequest{
		Epoch: d.epochOrNone("epoch"), Since: d.uint64("since"), At: d.uint64("at"),
		After: d.bytes("after", PeerFrameMax), Sum: d.uint64("sum"),
	}
}

const (
	stateWriteFields = 3
	stateWriteMin    = 1 + stateWriteFields
)

func (e *encoder) stateChunk(m *epaxos.StateChunk) {
	e.message(TypeStateChunk, 10)
	e.uint(m.Since)
	e.uint(m.At)
	e.uint(uint64(m.Epoch))
	e.bool(m.Boundary)
	e.bytes(m.After)
	e.array(len(m.Writes))
	for i := range m.Writes {
		w := &m.Writes[i]
		e.array(stateWriteFields)
		e.bytes(w.Key)
		e.bytes(w.Value)
		e.bool(w.Delete)
	}
	e.uint(m.Sum)
	e.bool(m.Last)
	e.bool(m.Gone)
	e.dependencies(m.Executed)
}

func (d *decoder) stateChunk() epaxos.Message {
	m := epaxos.StateChunk{
		Since: d.uint64("since"), At: d.uint64("at"), Epoch: d.epochOrNone("epoch"), Boundary: d.bool("boundary"),
		After: d.bytes("after", PeerFrameMax),
	}
	if n := d.array("writes", stateWriteMin, PeerFrameMax); n > 0 {
		m.Writes = make([]epaxos.StateWrite, 0, n)
		for i := 0; i < n && d.ok(); i++ {
			d.exactly("write", stateWriteFields)
			m.Writes = append(m.Writes, epaxos.StateWrite{
				Key: d.bytes("key", PeerFrameMax), Value: d.bytes("value", PeerFrameMax), Delete: d.bool("delete"),
			})
		}
	}
	m.Sum, m.Last, m.Gone = d.uint64("sum"), d.bool("last"), d.bool("gone")
	m.Executed = d.dependencies("executed")
	return m
}
