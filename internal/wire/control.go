package wire

import (
	"github.com/264bc8cf/epaxos/epaxos"
)

// ControlKind says what a command for the service itself asks for.
type ControlKind uint8

const (
	// ControlReconfigure asks for the next epoch, with the members it carries.
	ControlReconfigure ControlKind = iota + 1
	// ControlBarrier changes nothing: whatever was executed before it is one cut, the same everywhere.
	ControlBarrier
	// ControlCut changes nothing: each replica that executes it keeps the state readable as it is behind it, which is
	// the same everywhere. The cut is named by the instance.
	ControlCut
)

// CutTTLMax is the longest time, in milliseconds, that a state is kept readable: an hour.
const CutTTLMax = 60 * 60 * 1000

// Control is a command for the service itself.
type Control struct {
	Kind    ControlKind
	Members *Members // with ControlReconfigure only
	TTL     uint64   // with ControlCut only: milliseconds that the state is kept, from 1 to CutTTLMax
}

// Format is the level from which on the command may be proposed: older programs would not understand it.
func (c *Control) Format() uint32 {
	switch c.Kind {
	case ControlBarrier:
		return FormatBarriers
	case ControlCut:
		return FormatCuts
	default:
		return FormatMin
	}
}

// Footprint is what the command touches: everything, so that it has one place in the order of all commands.
func (c *Control) Footprint() epaxos.Footprint {
	space := epaxos.SpaceControl
	if c.Kind == ControlReconfigure {
		space = epaxos.SpaceEpoch
	}
	return epaxos.Footprint{{Mode: epaxos.Everything, Space: space}}
}

// AppendControl appends [kind, members or nil], of a cut [kind, ttl].
func AppendControl(dst []byte, c *Control) []byte {
	e := appendTo(dst)
	e.array(2)
	e.uint(uint64(c.Kind))
	switch {
	case c.Kind == ControlCut:
		e.uint(c.TTL)
	case c.Members == nil:
		e.nil()
	default:
		e.members(c.Members)
	}
	return e.done()
}

// DecodeControl reads what AppendControl wrote. It does not validate members.
func DecodeControl(body []byte) (Control, error) { return decode("Control", body, (*decoder).control) }

func (d *decoder) control() Control {
	d.exactly("array", 2)
	c := Control{Kind: ControlKind(d.uint("kind", uint64(ControlReconfigure), uint64(ControlCut)))}
	if c.Kind == ControlCut {
		c.TTL = d.uint("ttl", 1, CutTTLMax)
		return c
	}
	if d.nil("members") {
		if c.Kind == ControlReconfigure {
			d.fail("members", "a Reconfigure without any")
		}
		return c
	}
	if c.Kind != ControlReconfigure {
		d.fail("members", "a command of kind %d has them", c.Kind)
	}
	m := d.members()
	c.Members = &m
	return c
}

// ControlResult is the answer to a command for the service itself; that to a ControlCut is its InstanceID.
type ControlResult struct {
	Refused string  // why nothing was changed; empty if it was
	Members Members // in force after it
}

// AppendControlResult appends [refused, members].
func AppendControlResult(dst []byte, r *ControlResult) []byte {
	e := appendTo(dst)
	e.array(2)
	e.text(r.Refused)
	e.members(&r.Members)
	return e.done()
}

// DecodeControlResult reads what AppendControlResult wrote.
func DecodeControlResult(body []byte) (ControlResult, error) {
	return decode("ControlResult", body, func(d *decoder) ControlResult {
		d.exactly("array", 2)
		return ControlResult{Refused: d.text("refused", DetailMax), Members: d.members()}
	})
}
