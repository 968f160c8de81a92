package node

import (
	"encoding/binary"
	"hash/crc64"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// A state goes from one replica to another (docs/protocol.md, M9 to M11). Whoever wants it asks for one part after
// the other: so it comes as fast as it can be taken in, goes on after a loss or a restart where it stopped, and
// costs the one that has it a view of its store and no memory.

// Transfer says how fast state is handed over.
type Transfer struct {
	ChunkBytes     int // of keys and values in one message, unless a single one is larger
	BytesPerSecond int // to all peers together
}

// The defaults of Transfer leave a replica most of its time and of its link.
const (
	transferChunkBytes     = 256 << 10
	transferBytesPerSecond = 32 << 20
)

func (t Transfer) withDefaults() Transfer {
	if t.ChunkBytes == 0 {
		t.ChunkBytes = transferChunkBytes
	}
	if t.BytesPerSecond == 0 {
		t.BytesPerSecond = transferBytesPerSecond
	}
	return t
}

// TransferStatus is how a replica comes by its state, and what it hands to others.
type TransferStatus struct {
	Source epaxos.ReplicaID // whose state it takes; 0 if nobody's at present
	Whole  bool             // all of it, not only what has changed
	Bytes  uint64           // of keys and values, of the running transfer or else of the last
	Keys   uint64
	Rate   uint64 // bytes per second of the same
	Rounds uint64 // taken over since the start
	Failed string // why the last one that came to nothing did; empty since one succeeded

	LagGroups uint64        // a learner: groups of the source that it is behind, as far as it has heard
	Lag       time.Duration // a learner: how old its state is at most
	Served    uint64        // bytes of keys and values handed over since the start
}

func (n *Node) transferStatus() TransferStatus {
	r := &n.receiver
	s := TransferStatus{
		Source: r.source, Whole: r.source != 0 && r.since == 0, Bytes: r.bytes, Keys: r.keys, Rounds: r.rounds,
		Failed: r.failed, Served: n.sender.served,
	}
	if took := r.ended - r.started; took > 0 && r.source == 0 {
		s.Rate = r.bytes * uint64(time.Second) / uint64(took)
	} else if took := n.now - r.started; took > 0 && r.source != 0 {
		s.Rate = r.bytes * uint64(time.Second) / uint64(took)
	}
	if o := r.position; n.role == Learner && o != nil {
		s.Lag = n.now - r.asOf
		if p := n.peer(o.Replica); p != nil && p.group > o.Group {
			s.LagGroups = p.group - o.Group
		}
	}
	return s
}

var chainTable = crc64.MakeTable(crc64.ECMA)

// chainStart is the checksum of a state of which nothing has come yet.
func chainStart(since, at uint64, e epaxos.Epoch, boundary bool) uint64 {
	var b [25]byte
	binary.BigEndian.PutUint64(b[:], since)
	binary.BigEndian.PutUint64(b[8:], at)
	binary.BigEndian.PutUint64(b[16:], uint64(e))
	if boundary {
		b[24] = 1
	}
	return crc64.Update(0, chainTable, b[:])
}

// chain continues the checksum by one key. It depends on what is handed over, not on how that is cut into parts.
func chain(sum uint64, w epaxos.StateWrite) uint64 {
	var b [9]byte
	binary.BigEndian.PutUint32(b[:4], uint32(len(w.Key)))    //nolint:gosec // a length below the limit of frames
	binary.BigEndian.PutUint32(b[4:8], uint32(len(w.Value))) //nolint:gosec // likewise
	if w.Delete {
		b[8] = 1
	}
	sum = crc64.Update(sum, chainTable, b[:])
	return crc64.Update(crc64.Update(sum, chainTable, w.Key), chainTable, w.Value)
}

// chainEnd makes a checksum that of a whole state, so that a part of one is never taken for it.
func chainEnd(sum uint64) uint64 { return crc64.Update(sum, chainTable, []byte{1}) }

// hearTransfer takes the messages of a transfer. It reports whether this was one.
func (n *Node) hearTransfer(p *peer, m epaxos.Message) bool {
	switch m := m.(type) {
	case epaxos.StateRequest:
		n.hearEpoch(p, m.Epoch)
		n.hearRequest(p, m)
	case epaxos.StateChunk:
		n.hearChunk(p, m)
	default:
		return false
	}
	return true
}

// transferring reports whether time matters to a transfer.
func (n *Node) transferring() bool {
	r := &n.receiver
	return r.source != 0 || n.role == Joining || n.role == Learner || n.ahead > n.members.Epoch || n.sender.waits()
}

// transfer is what a turn does for transfers before its messages leave.
func (n *Node) transfer() error {
	if err := n.receive(); err != nil {
		return err
	}
	return n.serve()
}

// takeIn ends a turn: what has come whole is taken over.
func (n *Node) takeIn(answers []Answer) ([]Answer, error) {
	if !n.receiver.note.Whole || n.noRoom != nil {
		return answers, nil
	}
	return n.install(answers)
}
