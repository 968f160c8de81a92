package epaxos

import "math"

// Mode says how a command touches a part of the state.
type Mode uint8

const (
	// Read commutes with Read.
	Read Mode = iota + 1
	// Write commutes with nothing on the same keys.
	Write
	// Add commutes with Add.
	Add
	// Everything interferes with every command, whatever its keys.
	Everything
)

// Space separates the keys of the state machine from those the service keeps for itself.
type Space uint8

const (
	// SpaceState holds the keys of the state machine.
	SpaceState Space = iota
	// SpaceSession holds the pseudo-keys of client sessions.
	SpaceSession
	// SpaceControl holds what the service knows of itself, first of all who its members are.
	SpaceControl
	// SpaceEpoch is touched by the commands that end an epoch, and holds nothing.
	SpaceEpoch
)

// Access is one entry of a footprint: the point Key, or, where Range is set, all keys in
// [Key, End); an empty End is no bound. Key and End are byte strings.
type Access struct {
	Mode  Mode
	Space Space
	Range bool
	Key   string
	End   string
}

// Footprint is what a command may touch, as its command leader computed it from the payload. It
// never changes during the life of an instance, so interference is one fact on all replicas.
type Footprint []Access

// EndsEpoch reports whether the command is a Reconfigure: if it is executed and accepted, it is the last of
// its epoch (docs/protocol.md, M).
func (f Footprint) EndsEpoch() bool { return len(f) == 1 && f[0].Space == SpaceEpoch }

// Controls reports whether the command is for the service itself, not for the state machine.
func (f Footprint) Controls() bool { return len(f) == 1 && f[0].Space >= SpaceControl }

// Request is one client's request. Session and Number name it for deduplication; both are zero
// where the client asked for none.
type Request struct {
	Session InstanceID
	Number  uint64
	Payload []byte
}

// OpenSession is the number of a request without a session that asks for one. The session's id is that of the
// instance, so it is never chosen by a client and never used again.
const OpenSession = math.MaxUint64

// Opens reports whether the request asks for a session.
func (r *Request) Opens() bool { return r.Session.IsZero() && r.Number == OpenSession }

// opens reports whether the footprint of the command depends on its instance.
func (c *Command) opens() bool { return len(c.Requests) == 1 && c.Requests[0].Opens() }

// Command is what one instance decides: requests that execute one after the other, and the union
// of their footprints. Commands are immutable once proposed and are shared freely.
type Command struct {
	Requests  []Request
	Footprint Footprint
}

// Size is the number of bytes of payloads and keys, the measure of all byte budgets.
func (c *Command) Size() int {
	size := 0
	for i := range c.Requests {
		size += len(c.Requests[i].Payload)
	}
	for i := range c.Footprint {
		size += len(c.Footprint[i].Key) + len(c.Footprint[i].End)
	}
	return size
}

// Interferes reports whether two commands with these footprints do not commute. It is symmetric.
func (f Footprint) Interferes(other Footprint) bool {
	for i := range f {
		for j := range other {
			if f[i].interferes(&other[j]) {
				return true
			}
		}
	}
	return false
}

func (a *Access) interferes(b *Access) bool {
	if a.Mode == Everything || b.Mode == Everything {
		return true
	}
	return !a.Mode.CommutesWith(b.Mode) && a.Space == b.Space && a.overlaps(b)
}

// CommutesWith is the compatibility table of the modes.
func (m Mode) CommutesWith(other Mode) bool {
	return m == other && (m == Read || m == Add)
}

func (a *Access) overlaps(b *Access) bool {
	switch {
	case !a.Range && !b.Range:
		return a.Key == b.Key
	case !a.Range:
		return b.contains(a.Key)
	case !b.Range:
		return a.contains(b.Key)
	default:
		return (a.End == "" || b.Key < a.End) && (b.End == "" || a.Key < b.End) && !a.empty() && !b.empty()
	}
}

func (a *Access) contains(key string) bool { return a.Key <= key && (a.End == "" || key < a.End) }

func (a *Access) empty() bool { return a.End != "" && a.End <= a.Key }
