package paxos

// Sizes, in the style of internal/wire: msgpack arrays of a type and its fields, numbers as short as they go. A
// footprint is not counted, since a log needs none on the wire or on disk.

// Size is the number of bytes of a message's encoding.
func Size(m Message) int {
	switch m := m.(type) {
	case Forward:
		return message + entry(m.Values)
	case Prepare:
		return message + ballot(m.Ballot) + number(uint64(m.From)) + flag
	case Promise:
		size := message + ballot(m.Ballot) + number(uint64(m.From)) + array(len(m.Reports))
		for _, r := range m.Reports {
			size += array(4) + number(uint64(r.Slot)) + round(r.Round) + entry(r.Entry) + flag
		}
		return size
	case Accept:
		return message + round(m.Round) + number(uint64(m.Slot)) + entry(m.Entry)
	case Accepted:
		return message + round(m.Round) + number(uint64(m.Slot))
	case Decide:
		size := message + number(uint64(m.Slot)) + round(m.Round) + flag
		if m.Full {
			return size + entry(m.Entry)
		}
		return size + array(0)
	case Refusal:
		return message + number(uint64(m.Slot)) + ballot(m.Promised)
	case Heartbeat:
		return message + ballot(m.Ballot) + number(uint64(m.Decided)) + number(uint64(m.Fast))
	case Fetch:
		return message + number(uint64(m.From)) + number(uint64(m.To))
	case Propose:
		return message + value(m.Value)
	case Vote:
		return message + ballot(m.Ballot) + number(uint64(m.Slot)) + name(m.ID)
	case Fill:
		return message + ballot(m.Ballot) + number(uint64(m.Slot))
	case Want:
		return message + name(m.ID)
	default:
		return message
	}
}

// RecordSize is the number of bytes of a record's encoding.
func RecordSize(r Record) int {
	size := array(6) + number(uint64(r.Slot)) + ballot(r.Promised) + round(r.Round) + 3*flag
	if r.Known {
		return size + array(0)
	}
	return size + entry(r.Entry)
}

const (
	message = 2 // the array and the type
	flag    = 1
)

func number(v uint64) int {
	switch {
	case v < 1<<7:
		return 1
	case v < 1<<8:
		return 2
	case v < 1<<16:
		return 3
	case v < 1<<32:
		return 5
	default:
		return 9
	}
}

func array(n int) int {
	if n < 16 {
		return 1
	}
	return 3
}

func blob(n int) int {
	if n < 1<<8 {
		return 2 + n
	}
	return 3 + n
}

func ballot(b Ballot) int { return array(2) + number(b.Number) + number(uint64(b.Replica)) }

func round(r Round) int { return ballot(r.Ballot) + flag }

func name(id CommandID) int {
	return array(3) + number(uint64(id.Replica)) + number(uint64(id.Life)) + number(id.Number)
}

func value(v Value) int {
	size := array(2) + name(v.ID)
	if v.Command == nil {
		return size + 1
	}
	size += array(len(v.Command.Requests))
	for i := range v.Command.Requests {
		r := &v.Command.Requests[i]
		size += array(3) + 1 + number(r.Number) + blob(len(r.Payload))
		if !r.Session.IsZero() {
			size += array(3) - 1 + number(uint64(r.Session.Epoch)) + number(uint64(r.Session.Replica)) +
				number(uint64(r.Session.Slot))
		}
	}
	return size
}

func entry(e []Value) int {
	size := array(len(e))
	for _, v := range e {
		size += value(v)
	}
	return size
}
