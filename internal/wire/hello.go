package wire

import "math"

// AppendHello appends the hello of a replica.
func AppendHello(dst []byte, h Hello) []byte {
	e := appendTo(dst)
	e.message(TypeHello, 9)
	e.bytes(h.Cluster[:])
	e.uint(uint64(h.Replica))
	e.uint(h.Incarnation)
	e.uint(uint64(h.FormatMin))
	e.uint(uint64(h.FormatMax))
	e.uint(h.Group)
	e.uint(h.HeardIncarnation)
	e.uint(h.HeardGroup)
	e.uint(uint64(h.Epoch))
	return e.done()
}

// DecodeHello reads what AppendHello wrote, and checks that the formats are a range.
func DecodeHello(body []byte) (Hello, error) { return decode("Hello", body, (*decoder).hello) }

func (d *decoder) hello() Hello {
	extra := d.message(TypeHello, 8)
	h := Hello{
		Cluster:          d.cluster(),
		Replica:          d.replica("replica"),
		Incarnation:      d.uint64("incarnation"),
		FormatMin:        uint32(d.uint("format min", 1, math.MaxUint32)),
		FormatMax:        uint32(d.uint("format max", 1, math.MaxUint32)),
		Group:            d.uint64("group"),
		HeardIncarnation: d.uint64("heard incarnation"),
		HeardGroup:       d.uint64("heard group"),
		Epoch:            1,
	}
	if extra > 0 { // the first programs knew one epoch only
		h.Epoch = d.epochOrNone("epoch")
		extra--
	}
	d.formats(h.FormatMin, h.FormatMax)
	d.skip(extra)
	return h
}

// message reads the start of an array of at least n fields after the type, and returns how many
// unknown ones follow.
func (d *decoder) message(t MessageType, n int) (extra int) {
	extra = d.fields("array", 1+n)
	d.uint("type", uint64(t), uint64(t))
	return extra
}

func (d *decoder) cluster() (id [16]byte) {
	if b := d.view("cluster", len(id)); copy(id[:], b) < len(id) {
		d.fail("cluster", "%d bytes instead of %d", len(b), len(id))
	}
	return id
}

func (d *decoder) formats(least, most uint32) {
	if least > most {
		d.fail("formats", "%d to %d is no range", least, most)
	}
}
