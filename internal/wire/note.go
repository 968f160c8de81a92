package wire

import "github.com/264bc8cf/epaxos/epaxos"

// Note stands beside a state that is being staged: whose it is, and how much of it is there.
type Note struct {
	Origin   Origin
	Epoch    epaxos.Epoch // of the state
	Boundary bool         // it is the state with which that epoch began
	After    []byte       // the greatest key staged
	Sum      uint64       // checksum of all that is staged
	Whole    bool         // nothing is missing
}

const noteFields = 6

// AppendNote appends [origin, epoch, boundary, after, sum, whole].
func AppendNote(dst []byte, n *Note) []byte {
	e := appendTo(dst)
	e.array(noteFields)
	e.origin(&n.Origin)
	e.uint(uint64(n.Epoch))
	e.bool(n.Boundary)
	e.bytes(n.After)
	e.uint(n.Sum)
	e.bool(n.Whole)
	return e.done()
}

// DecodeNote reads what AppendNote wrote.
func DecodeNote(body []byte) (Note, error) {
	return decode("Note", body, func(d *decoder) Note {
		extra := d.fields("array", noteFields)
		n := Note{
			Origin: d.origin(), Epoch: d.epoch("epoch"), Boundary: d.bool("boundary"),
			After: d.bytes("after", PeerFrameMax), Sum: d.uint64("sum"), Whole: d.bool("whole"),
		}
		d.skip(extra)
		return n
	})
}
