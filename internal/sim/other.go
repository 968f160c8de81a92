package sim

import (
	"math/rand/v2"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// other is a protocol in the place of EPaxos*, behind the node's own interfaces. Network, disks, faults, clients and
// all checks of what is decided, executed, saved and answered stay as they are; those of how EPaxos* comes to a
// decision, and of its limits, fall silent. Its messages are opaque bytes in a PreAccept, the first of which tells
// their kind.
type other struct {
	newCore    func(s *setup, id epaxos.ReplicaID, m epaxos.Membership, r *rand.Rand) (node.Core, error)
	newOrderer func(epaxos.Membership) node.Orderer
	tolerates  int // crashes for good
}

// restrict fits a setup to the protocol, which has one epoch and quorums of its own.
func (o *other) restrict(s *setup) {
	s.members.F = min(s.members.F, o.tolerates)
	s.members.E = min(s.members.E, epaxos.LargestE(s.members.N(), s.members.F))
}

// opaque is the bytes of a message of another protocol.
func opaque(m epaxos.Message) []byte {
	if carrier, fits := m.(epaxos.PreAccept); fits && carrier.Command != nil && len(carrier.Command.Requests) == 1 {
		return carrier.Command.Requests[0].Payload
	}
	return nil
}

// kindOf is the type of a message for faults.
func (w *world) kindOf(m epaxos.Message) messageType {
	if body := opaque(m); w.options.other != nil && len(body) > 0 {
		return typePreAccept + messageType(body[0])%(messageTypes-typePreAccept)
	}
	return typeOf(m)
}

// truncate gives a replica the beginnings of messages that it has got. What is not whole is dropped.
func (w *world) truncate(from, to int, header wire.FrameHeader, messages []epaxos.Message) {
	h := w.hosts[to]
	for _, m := range messages {
		body := opaque(m)
		if len(body) == 0 {
			continue
		}
		carrier := m.(epaxos.PreAccept) //nolint:errcheck // it has a body
		carrier.Command = &epaxos.Command{Requests: []epaxos.Request{{Payload: body[:h.rand.IntN(len(body))]}}}
		before := h.node.Status().Stats.Malformed
		h.node.Deliver(w.local(to), replicaOf(from), header, []epaxos.Message{carrier})
		if h.node.Status().Stats.Malformed != before+1 {
			w.violated("integrity", "r%d takes the beginning of a message of r%d", replicaOf(to), replicaOf(from))
		}
	}
}
