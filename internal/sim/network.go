package sim

import (
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// network delays, loses and repeats frames. Frames are encoded and decoded as on the wire.
type network struct {
	w         *world
	delay     [][]time.Duration // base delay by sender and receiver
	jitter    time.Duration
	loss      float64
	duplicate float64
	cuts      [][]bool
}

func (n *network) init(w *world) {
	n.w = w
	size := len(w.members.Voters)
	far := w.between(time.Millisecond, 120*time.Millisecond)
	for range size {
		n.cuts = append(n.cuts, make([]bool, size))
		row := make([]time.Duration, size)
		for i := range row {
			row[i] = w.between(time.Millisecond/2, far)
		}
		n.delay = append(n.delay, row)
	}
	n.jitter = w.between(0, 20*time.Millisecond)
	if w.chance(0.5) {
		n.loss = w.rand.Float64() * 0.1
	}
	if w.chance(0.3) {
		n.duplicate = 0.05
	}
}

func (n *network) cut(from, to int, cut bool) { n.cuts[from][to] = cut }

func (n *network) heal() {
	n.loss, n.duplicate = 0, 0
	for i := range n.cuts {
		clear(n.cuts[i])
	}
}

// carry brings something to a host, perhaps never, perhaps twice.
func (n *network) carry(from, to int, arrive func()) {
	copies := 1
	if n.w.chance(n.loss) || n.cuts[from][to] {
		copies = 0
		n.w.report.Lost++
	}
	if n.w.chance(n.duplicate) {
		copies++
	}
	for range copies {
		n.w.after(n.delay[from][to]+n.w.between(0, n.jitter), arrive)
	}
}

// send cuts the messages of a turn into frames of any size, since the real one may do so too.
func (n *network) send(from int, group uint64, messages []epaxos.Envelope) {
	for i := 0; i < len(messages); {
		to := messages[i].To
		body := wire.AppendFrameHeader(nil, wire.FrameHeader{Group: group})
		for i < len(messages) && messages[i].To == to {
			body = wire.AppendMessage(body, messages[i].Message)
			i++
			if n.w.chance(0.2) {
				break
			}
		}
		column, _ := n.w.members.Column(to)
		n.w.note(noteFrame, from<<8|column, body)
		n.carry(from, column, func() { n.w.deliver(from, column, body) })
	}
}
