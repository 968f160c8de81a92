package server

import (
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/transport"
)

// frameBytes is when the messages of a turn for one peer are cut into another frame.
const frameBytes = 256 << 10

// outbox encodes the messages of a turn, one frame per peer and lane.
type outbox struct {
	s      *Server
	host   *transport.Host // nil until the network is up
	lanes  int
	frames map[epaxos.ReplicaID][][]byte // by lane; buffers are reused
	filled []epaxos.ReplicaID            // whom the running turn has messages for
	bulk   []byte
}

func (o *outbox) init(s *Server) {
	o.s, o.lanes = s, max(1, s.config.PeerConnections)
	o.frames = map[epaxos.ReplicaID][][]byte{}
}

// send queues messages that may leave; what the host does not take is lost, as on any network.
func (o *outbox) send(messages []epaxos.Envelope) {
	if len(messages) == 0 || o.host == nil {
		return
	}
	group := o.s.store.LastGroup()
	for i := range messages {
		e := &messages[i]
		if _, large := e.Message.(epaxos.StateChunk); large {
			o.bulk = wire.AppendFrameHeader(o.bulk[:0], wire.FrameHeader{Group: group})
			o.bulk = wire.AppendMessage(o.bulk, e.Message)
			o.host.SendBulk(e.To, o.bulk)
			continue
		}
		lane := o.lane(e.Message)
		buffer := o.buffer(e.To, lane)
		if len(*buffer) == 0 {
			*buffer = wire.AppendFrameHeader(*buffer, wire.FrameHeader{Group: group})
		}
		*buffer = wire.AppendMessage(*buffer, e.Message)
		if len(*buffer) >= frameBytes {
			o.flush(e.To, lane)
		}
	}
	for _, id := range o.filled {
		for lane := range o.lanes {
			o.flush(id, lane)
		}
		if len(o.frames) > framesMax {
			delete(o.frames, id)
		}
	}
	o.filled = o.filled[:0]
}

// framesMax is how many peers have buffers that last. Members come and go, and a replica lives long.
const framesMax = 2 * epaxos.VotersMax

func (o *outbox) buffer(to epaxos.ReplicaID, lane int) *[]byte {
	if !slices.Contains(o.filled, to) {
		o.filled = append(o.filled, to)
	}
	lanes := o.frames[to]
	if lanes == nil {
		lanes = make([][]byte, o.lanes)
		o.frames[to] = lanes
	}
	return &lanes[lane]
}

func (o *outbox) flush(to epaxos.ReplicaID, lane int) {
	buffer := &o.frames[to][lane]
	if len(*buffer) > 0 {
		o.host.Send(to, lane, *buffer)
		*buffer = (*buffer)[:0]
	}
}

// lane spreads instances over the connections to a peer, each with a congestion window of its own.
func (o *outbox) lane(m epaxos.Message) int {
	if o.lanes == 1 {
		return 0
	}
	id := epaxos.InstanceOf(m)
	return int((uint64(id.Slot) + uint64(id.Replica)) % uint64(o.lanes))
}

func (s *Server) hello(to epaxos.ReplicaID) []byte {
	var hello wire.Hello
	if !s.inbox.do(func() { hello = s.node.Hello(to) }) {
		return nil
	}
	return wire.AppendHello(nil, hello)
}

func (s *Server) checkHello(from epaxos.ReplicaID, body []byte) error {
	hello, err := wire.DecodeHello(body)
	if err != nil {
		return err
	}
	if hello.Replica != from {
		return errWrongReplica
	}
	err = ErrStopped
	s.inbox.do(func() { err = s.node.Greet(s.now(), hello) })
	return err
}

// receive decodes on the transport's reader, so that the replica's goroutine does not.
func (s *Server) receive(from epaxos.ReplicaID, body []byte) {
	header, messages, err := wire.DecodeFrame(body)
	if err != nil {
		s.complain(from, err)
		return
	}
	s.inbox.frame(frame{from: from, header: header, messages: messages, bytes: len(body)})
}

// complainEvery bounds what a peer can make a replica write to its log.
const complainEvery = time.Second

// complain tells of a frame that cannot be read, which counts as lost.
func (s *Server) complain(from epaxos.ReplicaID, err error) {
	count := s.unreadable.Add(1)
	now, last := int64(s.now()), s.complained.Load()
	if last != 0 && now-last < int64(complainEvery) || !s.complained.CompareAndSwap(last, now) {
		return
	}
	s.log.Warn("dropped a frame that cannot be read; let all replicas run versions of one format, and report it "+
		"if they do", "peer", from, "error", err, "unreadable_so_far", count)
}

func (s *Server) peerUp(peer epaxos.ReplicaID, _ []byte) { s.log.Info("peer is up", "peer", peer) }

func (s *Server) peerDown(peer epaxos.ReplicaID, err error) {
	s.log.Warn("peer is down", "peer", peer, "error", err)
}
