package wire

import "github.com/264bc8cf/epaxos/epaxos"

// AppendFrameHeader begins the body of a frame between replicas. Messages follow it back to back, each
// by AppendMessage, to the end of the body, which is of at most PeerFrameMax bytes.
func AppendFrameHeader(dst []byte, h FrameHeader) []byte {
	e := appendTo(dst)
	e.array(1)
	e.uint(h.Group)
	return e.done()
}

// DecodeFrame reads the body of a frame between replicas. One bad message condemns the frame: after
// it nobody can tell where the next begins.
func DecodeFrame(body []byte) (FrameHeader, []epaxos.Message, error) {
	f, err := decode("frame", body, (*decoder).frame)
	return f.header, f.messages, err
}

type frame struct {
	header   FrameHeader
	messages []epaxos.Message
}

// messageUsual is the size of a small message: a guess that saves growing the slice.
const messageUsual = 48

func (d *decoder) frame() frame {
	extra := d.fields("header", 1)
	f := frame{header: FrameHeader{Group: d.uint64("group")}}
	d.skip(extra)
	if !d.ok() || d.left() == 0 {
		return f
	}
	f.messages = make([]epaxos.Message, 0, 1+d.left()/messageUsual)
	for d.ok() && d.left() > 0 {
		f.messages = append(f.messages, d.protocol())
	}
	return f
}
