package epaxos

// Between epochs (docs/protocol.md, M): what replicas say to each other beside the protocol of one epoch.
// The core of an epoch takes none of it.

// Ended answers a message of an epoch that is over at the sender, whatever the message asks: nothing else is
// ever said about an ended epoch but what was decided in it.
type Ended struct {
	Epoch   Epoch // that runs at the sender
	Decided bool  // the sender still answers Fetch about the epoch before it
}

// StateRequest asks for the next part of the applied state of the receiver.
type StateRequest struct {
	Epoch Epoch  // that runs at the sender; 0 if it has no state yet
	Since uint64 // the sender has the state as of this group of the receiver's log; 0 is none of it
	At    uint64 // wanted is the state as of this group; 0 leaves the choice to the receiver
	After []byte // what is wanted begins behind this key
	Sum   uint64 // checksum of the parts so far
}

// StateChunk is a part of the applied state: what has changed between two groups of the sender's log.
type StateChunk struct {
	Since    uint64
	At       uint64
	Epoch    Epoch  // that the state is of
	Boundary bool   // it is the state with which that epoch began at the sender
	After    []byte // as asked for
	Writes   []StateWrite
	Sum      uint64       // checksum of the parts so far and of this one; of the last, of the whole and what it is
	Last     bool         // nothing follows
	Gone     bool         // what was asked for is not there any more: begin anew. Nothing else is told
	Executed Dependencies // E of the state in that epoch
}

// StateWrite sets or deletes one key of the applied state.
type StateWrite struct {
	Key    []byte
	Value  []byte
	Delete bool
}

func (Ended) message()        {}
func (StateRequest) message() {}
func (StateChunk) message()   {}

// EpochOf is the epoch that a message is part of; zero if it is part of none.
func EpochOf(message Message) Epoch {
	switch m := message.(type) {
	case Fetch:
		return epochOf(m.IDs)
	case TryRecover:
		return epochOf(m.IDs)
	case Gossip:
		return m.Epoch
	case Truncated:
		return m.ID.Epoch
	case ReadQuery:
		return m.Epoch
	case ReadReply:
		return m.Epoch
	default:
		return InstanceOf(message).Epoch
	}
}

func epochOf(ids []InstanceID) Epoch {
	if len(ids) == 0 {
		return 0
	}
	return ids[0].Epoch
}
