package wire

import "github.com/264bc8cf/epaxos/epaxos"

// A command and all in it have a fixed number of fields: see Evolution in the package comment.

const (
	requestMin = 4 // the array, no session, a number, no payload
	accessMin  = 6 // the array, mode, space, an empty key in two bytes, no end
)

// command writes [[request...], [access...]], or nil where the command is not known.
func (e *encoder) command(c *epaxos.Command) {
	if c == nil {
		e.nil()
		return
	}
	e.array(2)
	e.array(len(c.Requests))
	for i := range c.Requests {
		e.request(&c.Requests[i])
	}
	e.array(len(c.Footprint))
	for i := range c.Footprint {
		e.access(&c.Footprint[i])
	}
}

// single is the usual command, of one request on one key, in one allocation.
type single struct {
	command   epaxos.Command
	requests  [1]epaxos.Request
	footprint [1]epaxos.Access
}

func (d *decoder) command(field string) *epaxos.Command {
	s := &single{}
	c := &s.command
	d.exactly(field, 2)
	switch n := d.array(field, requestMin, RequestsMax); n {
	case 0:
	case 1:
		c.Requests = s.requests[:]
	default:
		c.Requests = make([]epaxos.Request, n)
	}
	d.requests(field, c.Requests)
	switch n := d.array(field, accessMin, FootprintMax); n {
	case 0:
	case 1:
		c.Footprint = s.footprint[:]
	default:
		c.Footprint = make(epaxos.Footprint, n)
	}
	for i := 0; i < len(c.Footprint) && d.ok(); i++ {
		c.Footprint[i] = d.access(field)
	}
	return c
}

func (d *decoder) commandOrNone(field string) *epaxos.Command {
	if d.nil(field) {
		return nil
	}
	return d.command(field)
}

// request writes [session, number, payload].
func (e *encoder) request(r *epaxos.Request) {
	e.array(3)
	e.instance(r.Session)
	e.uint(r.Number)
	e.bytes(r.Payload)
}

// requests fills in the requests of one command. Their payloads live and die together, so they share
// one allocation; keys do not, since the conflict index keeps some longer than others.
func (d *decoder) requests(field string, requests []epaxos.Request) {
	size := 0
	for i := 0; i < len(requests) && d.ok(); i++ {
		d.exactly(field, 3)
		requests[i] = epaxos.Request{
			Session: d.instanceOrNone(field),
			Number:  d.uint64(field),
			Payload: d.view(field, PeerFrameMax),
		}
		size += len(requests[i].Payload)
	}
	if !d.ok() {
		clear(requests)
		return
	}
	memory := make([]byte, 0, size)
	for i := range requests {
		if payload := requests[i].Payload; payload != nil {
			from := len(memory)
			memory = append(memory, payload...)
			requests[i].Payload = memory[from:len(memory):len(memory)]
		}
	}
}

// access writes [mode, space, key, end], where an end of nil makes it a point.
func (e *encoder) access(a *epaxos.Access) {
	e.array(4)
	e.uint(uint64(a.Mode))
	e.uint(uint64(a.Space))
	e.blob(a.Key)
	if a.Range {
		e.blob(a.End)
	} else {
		e.nil()
	}
}

func (d *decoder) access(field string) epaxos.Access {
	d.exactly(field, 4)
	a := epaxos.Access{
		Mode:  epaxos.Mode(d.uint(field, uint64(epaxos.Read), uint64(epaxos.Everything))),
		Space: epaxos.Space(d.uint(field, uint64(epaxos.SpaceState), uint64(epaxos.SpaceEpoch))),
		Key:   d.text(field, PeerFrameMax),
	}
	if !d.nil(field) {
		a.Range, a.End = true, d.text(field, PeerFrameMax)
	}
	return a
}

// value writes [kind, command] with Full, [kind] with the others, and nil for none.
func (e *encoder) value(v epaxos.Value) {
	switch v.Kind {
	case 0:
		e.nil()
	case epaxos.Full:
		e.array(2)
		e.uint(uint64(v.Kind))
		e.command(v.Command)
	default:
		e.array(1)
		e.uint(uint64(v.Kind))
	}
}

// value reads a value whose kind is at most most: Known stands where only NoOp and Full may.
func (d *decoder) value(field string, most epaxos.ValueKind) epaxos.Value {
	fields := d.array(field, 1, 2)
	v := epaxos.Value{Kind: epaxos.ValueKind(d.uint(field, uint64(epaxos.NoOp), uint64(most)))}
	switch {
	case !d.ok():
	case v.Kind == epaxos.Full && fields == 2:
		v.Command = d.command(field)
	case v.Kind == epaxos.Full || fields != 1:
		d.fail(field, "a value of kind %d has %d fields", v.Kind, fields)
	}
	return v
}

func (d *decoder) valueOrNone(field string, most epaxos.ValueKind) epaxos.Value {
	if d.nil(field) {
		return epaxos.Value{}
	}
	return d.value(field, most)
}
