package sim

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// network delays, loses and repeats frames. Frames are encoded and decoded as on the wire.
type network struct {
	w     *world
	links [][]link
	frame []byte // being written
}

// link is one direction between two replicas.
type link struct {
	rand   *rand.Rand
	delay  time.Duration
	last   time.Duration // when the last frame arrives that no fault made late
	latest time.Duration // when the last frame arrives
}

func (n *network) init(w *world) {
	n.w = w
	size := w.setup.machines
	for from := range size {
		row := make([]link, size)
		for to := range row {
			r := stream(w.options.Seed, streamLink, from<<8|to)
			row[to] = link{rand: r, delay: between(r, w.setup.near, w.setup.far)}
		}
		n.links = append(n.links, row)
	}
}

// parcel is what travels: a frame, or a message alone in one, or a hello.
type parcel struct {
	from, to int
	message  epaxos.Message // nil unless it is alone
	arrive   func()
}

// carry brings a parcel to its host, perhaps never, perhaps twice. The link draws the same number
// of times for each, so that a fault less changes nothing but what the fault did.
func (n *network) carry(p parcel) {
	l := &n.links[p.from][p.to]
	jitter, luck, again := l.rand.Float64(), l.rand.Float64(), l.rand.Float64()
	fate := n.w.fate(p, luck)
	if fate.lost {
		n.w.report.Lost++
		return
	}
	at := n.w.now + l.delay + time.Duration(jitter*float64(n.w.setup.jitter)) + fate.late
	if fate.late == 0 {
		if n.w.setup.ordered && fate.reorders == nil {
			at = max(at, l.last)
		}
		l.last = max(l.last, at)
	}
	if at < l.latest && fate.reorders != nil {
		n.w.happened(fate.reorders)
	}
	l.latest = max(l.latest, at)
	n.w.after(at-n.w.now, p.arrive)
	if fate.twice {
		n.w.after(at-n.w.now+time.Duration(again*again*float64(2*time.Second)), p.arrive)
	}
}

// send cuts the messages of a turn into frames of any size, since the real one may do so too. A message
// that a fault makes late goes alone.
func (n *network) send(from int, group uint64, messages []epaxos.Envelope) {
	if n.w.options.script != nil {
		messages = slices.DeleteFunc(slices.Clone(messages), func(e epaxos.Envelope) bool {
			return n.w.options.script(from, hostOf(e.To), e.Message)
		})
	}
	for i := 0; i < len(messages); {
		to := hostOf(messages[i].To)
		l := &n.links[from][to]
		p := parcel{from: from, to: to}
		alone := n.w.delays(from, to, messages[i].Message)
		if alone {
			p.message = messages[i].Message
		}
		n.frame = wire.AppendFrameHeader(n.frame[:0], wire.FrameHeader{Group: group})
		for first := i; i < len(messages) && messages[i].To == messages[first].To; {
			if i > first && n.w.delays(from, to, messages[i].Message) {
				break
			}
			n.frame = wire.AppendMessage(n.frame, messages[i].Message)
			i++
			if alone || l.rand.IntN(5) == 0 {
				break
			}
		}
		body := bytes.Clone(n.frame)
		n.w.note(noteFrame, from<<8|to, body)
		p.arrive = func() { n.w.deliver(from, to, body) }
		n.carry(p)
	}
}

// messageType numbers the messages of the core for faults.
type messageType int

const (
	typeOther messageType = iota // hellos, frames of several messages
	typePreAccept
	typePreAcceptReply
	typeAccept
	typeAcceptReply
	typeCommit
	typeRecover
	typeRecoverReply
	typeValidate
	typeValidateReply
	typeWaiting
	typeGossip
	messageTypes // all before are of the protocol of one epoch
	typeEnded
	typeStateRequest
	typeStateChunk
)

func typeOf(m epaxos.Message) messageType {
	switch m.(type) {
	case epaxos.PreAccept:
		return typePreAccept
	case epaxos.PreAcceptReply:
		return typePreAcceptReply
	case epaxos.Accept:
		return typeAccept
	case epaxos.AcceptReply:
		return typeAcceptReply
	case epaxos.Commit:
		return typeCommit
	case epaxos.Recover:
		return typeRecover
	case epaxos.RecoverReply:
		return typeRecoverReply
	case epaxos.Validate:
		return typeValidate
	case epaxos.ValidateReply:
		return typeValidateReply
	case epaxos.Waiting:
		return typeWaiting
	case epaxos.Gossip:
		return typeGossip
	case epaxos.Ended:
		return typeEnded
	case epaxos.StateRequest:
		return typeStateRequest
	case epaxos.StateChunk:
		return typeStateChunk
	default:
		return typeOther
	}
}
