package recipes

import (
	"context"

	"github.com/264bc8cf/epaxos/clients"
)

// RWMutex is a lock that one writer holds, or any number of readers. Who comes later does not overtake: a reader
// does not pass a writer that waits, nor a writer anybody. So neither starves.
//
//	NAME/writer             the identity of the writer
//	NAME/readers/ID         one for each reader
//	NAME/token              written by each that gets in: its version is the fencing token. It is never deleted
//	NAME/tickets            how many tickets were given out
//	NAME/writing/TICKET-ID  one for each writer that waits
//	NAME/reading/TICKET-ID  one for each reader that waits
//
// Its methods are safe for concurrent use.
type RWMutex struct {
	session *Session
	name    string
}

// NewRWMutex names a lock. All keys that begin with name and a slash are its own.
func NewRWMutex(s *Session, name string) *RWMutex { return &RWMutex{session: s, name: name} }

// Lock waits until it is the caller's turn and nobody else is in, and takes the lock for writing. It ends as
// Mutex.Lock does.
func (m *RWMutex) Lock(ctx context.Context) (*Lock, error) {
	a := m.attempt("writing")
	a.mine = m.name + "/writer"
	a.free = []obstacle{{key: a.mine}, {key: m.name + "/readers/", prefix: true}}
	a.queues = []string{"writing", "reading"}
	return m.lock(ctx, a, "lock")
}

// RLock waits until it is the caller's turn and no writer is in, and takes the lock for reading. It ends as
// Mutex.Lock does. The token of a reader says which writers it comes after: see Fence.Read.
func (m *RWMutex) RLock(ctx context.Context) (*Lock, error) {
	a := m.attempt("reading")
	a.mine = m.name + "/readers/" + a.id
	a.free = []obstacle{{key: m.name + "/writer"}}
	a.queues = []string{"writing"}
	return m.lock(ctx, a, "lock for reading")
}

func (m *RWMutex) lock(ctx context.Context, a *attempt, act string) (*Lock, error) {
	l, err := a.lock(ctx, act, true)
	if err == nil && l.token%tidyEvery == 0 {
		m.session.tidy(clients.Prefix(m.name + "/readers/"))
	}
	return l, err
}

func (m *RWMutex) attempt(queue string) *attempt {
	return &attempt{
		session: m.session, name: m.name, id: m.session.identity(), stamp: m.name + "/token", queue: queue,
	}
}
