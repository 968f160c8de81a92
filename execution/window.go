package execution

import (
	"encoding/binary"
	"fmt"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// window is what a State knows by heart of a session: the numbers that have a record, from its floor on. So a request
// that comes for the first time, as nearly all do, asks the store nothing.
//
// Invariant: it says what the applied state says. It is read from there, and each write of a key of the session,
// whoever makes it, goes through learn.
type window struct {
	session wire.Session
	apart   numbers // with a record under a key of its own
	packed  numbers // with a record in a pack
	never   numbers // of both: settled, and never executed
}

// windowsMax bounds the windows in memory, of some 450 bytes each. There are hardly more sessions in a cluster.
const windowsMax = 1 << 16

// numbers is a set of numbers in the window of a session: each has the place of all that are SessionWindow apart.
type numbers [SessionWindow / 64]uint64

func (n *numbers) has(number uint64) bool { return n[number/64%uint64(len(n))]>>(number%64)&1 == 1 }

func (n *numbers) put(number uint64, in bool) {
	word := &n[number/64%uint64(len(n))]
	if *word &^= 1 << (number % 64); in {
		*word |= 1 << (number % 64)
	}
}

// covers reports whether a number has a place of its own.
func (w *window) covers(number uint64) bool {
	return number >= w.session.Floor && number-w.session.Floor < SessionWindow
}

// recorded returns what is known of a record: not the result.
func (w *window) recorded(number uint64) (record wire.SessionRecord, found bool) {
	return wire.SessionRecord{Executed: !w.never.has(number)}, w.apart.has(number) || w.packed.has(number)
}

func (w *window) clear(number uint64) {
	w.apart.put(number, false)
	w.packed.put(number, false)
	w.never.put(number, false)
}

// window returns what is known of a session, from the state if it was not known yet; nil if there is no such session.
func (s *State) window(id epaxos.InstanceID) (*window, error) {
	if w := s.windows[id]; w != nil {
		return w, nil
	}
	session, found, err := s.Session(id)
	if err != nil || !found {
		return nil, err
	}
	w := &window{session: session}
	var malformed error
	see := func(key string, value []byte) bool {
		malformed = w.learn(key[sessionKeyBytes:], value, true)
		return malformed == nil
	}
	floor, behind := session.Floor, session.Floor+SessionWindow
	err = s.Scan(epaxos.SpaceSession, recordKey(id, floor), recordKey(id, behind), see)
	if err == nil && malformed == nil {
		err = s.Scan(epaxos.SpaceSession, packKey(id, floor), packKey(id, behind+packNumbers-1), see)
	}
	if err == nil {
		err = malformed
	}
	if err != nil {
		return nil, fmt.Errorf("read what session %v remembers: %w", id, err)
	}
	if len(s.windows) >= windowsMax {
		clear(s.windows)
	}
	if s.windows == nil {
		s.windows = map[epaxos.InstanceID]*window{}
	}
	s.windows[id] = w
	return w, nil
}

// sessionKeyBytes is the length of InstanceID.Key.
const sessionKeyBytes = 16

// learn keeps what is known of a session in step with a write. What cannot be understood is forgotten, and read again.
func (s *State) learn(key string, value []byte, found bool) {
	if len(s.windows) == 0 || len(key) < sessionKeyBytes {
		return
	}
	id, _ := epaxos.ParseInstanceKey(key[:sessionKeyBytes])
	w := s.windows[id]
	if w == nil {
		return
	}
	if len(key) > sessionKeyBytes {
		if w.learn(key[sessionKeyBytes:], value, found) != nil {
			delete(s.windows, id)
		}
		return
	}
	session, err := wire.Session{}, error(nil)
	if found {
		session, err = wire.DecodeSession(value)
	}
	if !found || err != nil || session.Floor < w.session.Floor || session.Floor-w.session.Floor > SessionWindow {
		delete(s.windows, id)
		return
	}
	for ; w.session.Floor < session.Floor; w.session.Floor++ {
		w.clear(w.session.Floor) // its place is that of a number that comes into the window
	}
	w.session = session
}

// learn takes in what the session remembers under a key, of which rest follows the name of the session.
func (w *window) learn(rest string, value []byte, found bool) error {
	switch {
	case len(rest) == 8 && rest[0] < packMark[0]:
		number := binary.BigEndian.Uint64([]byte(rest))
		if !w.covers(number) {
			return errPack
		}
		w.apart.put(number, found)
		if !found {
			w.never.put(number, false)
			return nil
		}
		executed, err := wire.SessionRecordExecuted(value)
		w.never.put(number, !executed)
		return err
	case len(rest) == 9 && rest[0] == packMark[0]:
		return w.learnPack(binary.BigEndian.Uint64([]byte(rest[1:]))*packNumbers, value)
	default:
		return nil // the books of a lease
	}
}

// learnPack takes in a pack, of the numbers from first on; one that was deleted is empty.
func (w *window) learnPack(first uint64, pack []byte) error {
	for offset := range uint64(packNumbers) {
		number := first + offset
		if !w.covers(number) {
			continue // what a checkpoint has left of a pack
		}
		at, end, found, err := findPacked(pack, byte(offset))
		if err != nil {
			return err
		}
		w.packed.put(number, found)
		if !w.apart.has(number) {
			w.never.put(number, found && end > at && pack[at]&packExecuted == 0)
		}
	}
	return nil
}
