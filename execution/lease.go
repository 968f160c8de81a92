package execution

import (
	"errors"
	"fmt"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Leases (docs/protocol.md, T): a lease is a session that keys are attached to. Its books say which: one entry for each
// key, beside the records of its requests. The value of a key says which lease it has now, so an entry may be of
// a key that was deleted since, or has another lease; it then stands for nothing.

// bookMark stands between the name of a session and a key on its books. It keeps them apart from the records of
// requests, whose numbers begin with a lower byte.
const bookMark = "\xfe"

// bookKey is where the applied state holds that a key is on the books of a lease.
func bookKey(lease epaxos.InstanceID, key string) string { return lease.Key() + bookMark + key }

// Attach implements View.
func (v *view) Attach(lease epaxos.InstanceID, key string) Attachment {
	if !v.allow(key, writing) {
		return LeaseGone
	}
	if _, able := v.machine.(Leaser); !able {
		v.fault = fmt.Errorf("attach key %q: the state machine cannot end a lease", key)
		return LeaseGone
	}
	if !v.permits(epaxos.SpaceSession, lease.Key(), writing) {
		v.fault = fmt.Errorf("attach key %q to lease %v: %w", key, lease, ErrFootprint)
		return LeaseGone
	}
	attachment, err := v.state.attach(lease, key)
	if err != nil {
		v.fault = err
	}
	return attachment
}

func (s *State) attach(id epaxos.InstanceID, key string) (Attachment, error) {
	lease, found, err := s.Session(id)
	if err != nil || !found {
		return LeaseGone, err
	}
	_, booked, err := s.Get(epaxos.SpaceSession, bookKey(id, key))
	if err != nil || booked {
		return Attached, err
	}
	lease.Keys++
	lease.KeyBytes += uint64(len(key))
	if lease.Keys > wire.LeaseKeysMax || lease.KeyBytes > wire.LeaseBytesMax {
		return LeaseFull, nil
	}
	s.Put(epaxos.SpaceSession, bookKey(id, key), nil)
	s.putSession(id, &lease)
	return Attached, nil
}

// Books returns the keys on the books of a lease, ascending, as the state has them now. Some may not be attached to it
// any more.
func (s *State) Books(id epaxos.InstanceID) (keys []string, err error) {
	prefix := id.Key() + bookMark
	err = s.Scan(epaxos.SpaceSession, prefix, id.Key()+"\xff", func(key string, _ []byte) bool {
		keys = append(keys, key[len(prefix):])
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("books of lease %v: %w", id, err)
	}
	return keys, nil
}

// Stale counts the keys on the books of a lease that are not attached to it any more.
func (s *State) Stale(m StateMachine, id epaxos.InstanceID) (stale int, err error) {
	keys, err := s.Books(id)
	if err != nil {
		return 0, err
	}
	leaser, able := m.(Leaser)
	for _, key := range keys {
		value, found, err := s.Get(epaxos.SpaceState, key)
		attached := false
		if err == nil && found && able {
			_, attached, err = leaser.Ended(value, id)
		}
		if err != nil {
			return 0, fmt.Errorf("key %q of lease %v: %w", key, id, err)
		}
		if !attached {
			stale++
		}
	}
	return stale, nil
}

// BooksFootprint is what an operation on a session touches beside the session itself, if these are on its books: the
// end of a lease writes its keys, and an inspection reads them (rule T3).
func BooksFootprint(kind wire.SessionKind, keys []string) epaxos.Footprint {
	mode := epaxos.Read
	switch kind {
	case wire.SessionExpire, wire.SessionClose:
		mode = epaxos.Write
	case wire.SessionInspect:
	default:
		return nil
	}
	footprint := make(epaxos.Footprint, len(keys))
	for i, key := range keys {
		footprint[i] = epaxos.Access{Mode: mode, Key: key}
	}
	return footprint
}

var errLeaser = errors.New("keys are attached to it, and the state machine cannot end a lease")

// operation is a change of a session on its way.
type operation struct {
	*State
	machine   StateMachine
	footprint epaxos.Footprint
	id        epaxos.InstanceID
	session   *wire.Session
}

// end ends the session, and deletes in the same moment what is attached to it. It does nothing if the footprint lacks a
// key on its books, which was attached since the operation was proposed (rule T3).
func (o *operation) end() (ended bool, err error) {
	keys, err := o.books()
	if err != nil {
		return false, err
	}
	o.view.open(o.machine, o.footprint)
	for _, key := range keys {
		if !o.view.permits(epaxos.SpaceState, key, writing) {
			return false, o.view.close()
		}
	}
	for _, key := range keys {
		after, attached, err := o.attached(key)
		if err != nil {
			return false, err
		}
		if attached {
			o.view.Put(key, after)
		}
		o.Delete(epaxos.SpaceSession, bookKey(o.id, key))
	}
	if err := o.view.close(); err != nil {
		return false, err
	}
	return true, o.dropSession(o.id)
}

// inspect returns the keys that are attached to the session. Those that the footprint covers and that are not any
// more are taken off its books; of others it is not known here.
func (o *operation) inspect() (attached []string, err error) {
	keys, err := o.books()
	if err != nil {
		return nil, err
	}
	o.view.open(o.machine, o.footprint)
	for _, key := range keys {
		if o.view.permits(epaxos.SpaceState, key, reading) {
			_, is, err := o.attached(key)
			if err != nil {
				return nil, err
			}
			if !is {
				o.session.Keys--
				o.session.KeyBytes -= uint64(len(key))
				o.Delete(epaxos.SpaceSession, bookKey(o.id, key))
				continue
			}
		}
		attached = append(attached, key)
	}
	if len(attached) < len(keys) {
		o.putSession(o.id, o.session)
	}
	return attached, o.view.close()
}

// books is the keys on the books of the session. Most sessions have none, and need no scan to know it.
func (o *operation) books() ([]string, error) {
	if o.session.Keys == 0 {
		return nil, nil
	}
	return o.Books(o.id)
}

// attached reports whether a key is attached to the session, and what becomes of it at the end.
func (o *operation) attached(key string) (after []byte, is bool, err error) {
	m, able := o.machine.(Leaser)
	if !able {
		return nil, false, fmt.Errorf("session %v: %w", o.id, errLeaser)
	}
	value, found := o.view.Get(key)
	if !found {
		return nil, false, nil
	}
	if after, is, err = m.Ended(value, o.id); err != nil {
		return nil, false, fmt.Errorf("end lease %v of key %q: %w", o.id, key, err)
	}
	return after, is, nil
}
