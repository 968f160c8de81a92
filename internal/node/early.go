package node

import "github.com/264bc8cf/epaxos/epaxos"

// early is what peers that executed the end of this epoch a moment before already ask in the next. To lose it
// would be safe; but who waits for an answer asks again only after a while, and clients would feel that at
// every change of the membership.
type early struct {
	epoch    epaxos.Epoch // of all of it
	messages []epaxos.Envelope
	bytes    int
}

const (
	// earlyMax bounds the messages that wait.
	earlyMax = 4096
	// earlyBytesMax bounds the commands in them.
	earlyBytesMax = 4 << 20
)

// keepEarly keeps a message of the next epoch until this replica begins it. Of epochs beyond that it keeps nothing:
// a replica so far behind takes over a state.
func (n *Node) keepEarly(p *peer, m epaxos.Message) {
	w, e := &n.early, epaxos.EpochOf(m)
	if e != n.members.Epoch+1 {
		return
	}
	if w.epoch != e {
		*w = early{epoch: e}
	}
	size, asks := sizeOfQuestion(m)
	if !asks || len(w.messages) == earlyMax || w.bytes+size > earlyBytesMax {
		return
	}
	w.bytes += size
	w.messages = append(w.messages, epaxos.Envelope{From: p.Replica, To: n.config.ID, Message: m})
}

// hearEarly takes in what came before this epoch began here.
func (n *Node) hearEarly() {
	waiting := n.early
	n.early = early{}
	if waiting.epoch != n.members.Epoch {
		return
	}
	for _, e := range waiting.messages {
		if p := n.peer(e.From); p != nil && p.member {
			n.step(p, e.Message)
		}
	}
}

// sizeOfQuestion is the size of the command in a message that somebody waits to be answered, or to be known.
func sizeOfQuestion(m epaxos.Message) (bytes int, asks bool) {
	var command *epaxos.Command
	switch m := m.(type) {
	case epaxos.PreAccept:
		command = m.Command
	case epaxos.Accept:
		command = m.Value.Command
	case epaxos.Commit:
		command = m.Value.Command
	case epaxos.ReadQuery:
	default:
		return 0, false
	}
	if command == nil {
		return 0, true
	}
	return command.Size(), true
}
