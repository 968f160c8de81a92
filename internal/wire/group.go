package wire

import (
	"math"

	"github.com/264bc8cf/epaxos/epaxos"
)

const (
	groupFields  = 7
	groupLeast   = 5 // of the first programs, which knew one epoch only, and took over no state
	originFields = 4
	heardFields  = 3
	heardMin     = 1 + heardFields
)

// AppendGroup appends what a replica saves in one turn: [[record...], [instance...], [heard...],
// truncated or nil, prefix or nil, epoch, origin or nil], an origin being [replica, incarnation, group, on probation].
func AppendGroup(dst []byte, g *Group) []byte {
	e := appendTo(dst)
	e.array(groupFields)
	e.array(len(g.Records))
	for i := range g.Records {
		e.record(&g.Records[i])
	}
	e.marks(g)
	return e.done()
}

// AppendGroupRecords is AppendGroup of count records that AppendRecord has encoded back to back, and of
// all but the records of a group.
func AppendGroupRecords(dst, records []byte, count int, rest *Group) []byte {
	e := appendTo(dst)
	e.array(groupFields)
	e.array(count)
	e.out.buf = append(e.out.buf, records...)
	e.marks(rest)
	return e.done()
}

// marks writes what a group holds besides records.
func (e *encoder) marks(g *Group) {
	e.instances(g.Executed)
	e.array(len(g.Heard))
	for _, h := range g.Heard {
		e.array(heardFields)
		e.uint(uint64(h.Replica))
		e.uint(h.Incarnation)
		e.uint(h.Group)
	}
	e.dependencies(g.Truncated)
	e.dependencies(g.Prefix)
	e.uint(uint64(g.Epoch))
	if g.Origin == nil {
		e.nil()
	} else {
		e.origin(g.Origin)
	}
}

func (e *encoder) origin(o *Origin) {
	e.array(originFields)
	e.uint(uint64(o.Replica))
	e.uint(o.Incarnation)
	e.uint(o.Group)
	e.bool(o.Probation)
}

// DecodeGroup reads what AppendGroup wrote.
func DecodeGroup(body []byte) (Group, error) { return decode("Group", body, (*decoder).group) }

func (d *decoder) group() Group {
	extra := d.fields("array", groupLeast)
	var g Group
	if n := d.array("records", recordMin, math.MaxInt); n > 0 {
		g.Records = make([]epaxos.Record, 0, n)
		for i := 0; i < n && d.ok(); i++ {
			g.Records = append(g.Records, d.record())
		}
	}
	g.Executed = d.instances("executed")
	if n := d.array("heard", heardMin, math.MaxInt); n > 0 {
		g.Heard = make([]Heard, 0, n)
		for i := 0; i < n && d.ok(); i++ {
			g.Heard = append(g.Heard, d.heard())
		}
	}
	g.Truncated, g.Prefix, g.Epoch = d.dependencies("truncated"), d.dependencies("prefix"), 1
	if extra > 0 {
		g.Epoch = d.epochOrNone("epoch")
		extra--
	}
	if extra > 0 {
		if !d.nil("origin") {
			o := d.origin()
			g.Origin = &o
		}
		extra--
	}
	d.skip(extra)
	return g
}

func (d *decoder) origin() Origin {
	d.exactly("origin", originFields)
	return Origin{
		Replica: d.replica("origin replica"), Incarnation: d.uint64("origin incarnation"), Group: d.uint64("origin group"),
		Probation: d.bool("on probation"),
	}
}

func (d *decoder) heard() Heard {
	extra := d.fields("heard", heardFields)
	h := Heard{
		Replica: d.replica("heard replica"), Incarnation: d.uint64("heard incarnation"),
		Group: d.uint64("heard group"),
	}
	d.skip(extra)
	return h
}
