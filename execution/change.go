package execution

// Changes of keys, as those who watch them are told.

// ChangeKind says what became of a key.
type ChangeKind uint8

// The kinds of changes.
const (
	ChangePut    ChangeKind = iota + 1 // View.Put: Value is the new value
	ChangeDelete                       // View.Delete
	ChangeMerge                        // View.Merge that was possible: Value is the operand
)

// Change is one change that a request has made to one key of the state machine. It is the same on every replica,
// which the value of the key after a Merge is not.
type Change struct {
	Key   string
	Kind  ChangeKind
	Value []byte // must not be changed
}

// Size is the bytes of the key and the value.
func (c *Change) Size() int { return len(c.Key) + len(c.Value) }

// Watched is a StateMachine whose changes clients may watch.
type Watched interface {
	StateMachine
	// Event says what a change is to a client; ok is false for one that is none of its business. It must be pure.
	// That a key is saved with a value means what putting it would. An error is a fault of this replica.
	Event(c *Change) (e Event, ok bool, err error)
}

// EventKind is what an Event tells of a key.
type EventKind uint8

// The kinds of events.
const (
	EventPut    EventKind = iota + 1 // it was set to Value, at Version
	EventDelete                      // it was deleted, at Version
	EventAdd                         // Delta was added to its number
)

// Event is what a client is told of a change.
type Event struct {
	Kind    EventKind
	Value   []byte
	Version uint64
	Delta   int64
}

// RecordChanges makes TakeChanges tell what is changed from now on. Who asks for it must take them.
func (s *State) RecordChanges() { s.recording = true }

// TakeChanges returns the changes of keys of the state machine since it was last called, in their order. The slice is
// valid until the next is made; keys and values may be kept.
func (s *State) TakeChanges() []Change {
	changes := s.changes
	s.changes = s.changes[:0]
	return changes
}

func (s *State) note(key string, kind ChangeKind, value []byte) {
	if s.recording {
		s.changes = append(s.changes, Change{Key: key, Kind: kind, Value: value})
	}
}
