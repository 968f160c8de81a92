package recipes

import (
	"context"
	"fmt"
	"iter"

	"github.com/264bc8cf/epaxos/clients"
)

// Election makes one of its candidates the leader, as long as it lives and wants to be; the others wait in turn. It
// is a Mutex whose holder shows a value. Its methods are safe for concurrent use.
//
//	NAME/holder              the identity of the leader: its version is the token of its term
//	NAME/value               what the leader shows; gone at the same moment as the holder
//	NAME/tickets, NAME/waiters/TICKET-ID as those of a Mutex
type Election struct{ mutex Mutex }

// NewElection names an election. All keys that begin with name and a slash are its own.
func NewElection(s *Session, name string) *Election { return &Election{Mutex{session: s, name: name}} }

// Campaign waits until the caller is the leader. The value is shown to those who observe, an address for
// instance. It ends as Mutex.Lock does.
func (e *Election) Campaign(ctx context.Context, value []byte) (*Leadership, error) {
	l, err := e.mutex.attempt(pair{e.mutex.name + "/value", value}).lock(ctx, "campaign for", true)
	if err != nil {
		return nil, err
	}
	return &Leadership{lock: l}, nil
}

// Leadership is one term of a leader.
type Leadership struct{ lock *Lock }

// Token is the fencing token of the term, see Lock.Token: greater than that of all leaders before.
func (l *Leadership) Token() uint64 { return l.lock.Token() }

// Lost is closed when another may be the leader, see Lock.Lost.
func (l *Leadership) Lost() <-chan struct{} { return l.lock.Lost() }

// Proclaim shows another value. It does so only in this term: the error matches ErrLost if it is over.
func (l *Leadership) Proclaim(ctx context.Context, value []byte) error {
	if err := l.proclaim(ctx, value); err != nil {
		return fmt.Errorf("proclaim in %q: %w", l.lock.attempt.name, err)
	}
	return nil
}

func (l *Leadership) proclaim(ctx context.Context, value []byte) error {
	a := l.lock.attempt
	bound, release := a.session.bind(ctx)
	defer release()
	r, err := commit(bound, a.session.store, txn{
		when: []clients.Compare{clients.CompareVersion(a.mine, clients.Equal, l.lock.token)},
		then: []clients.Op{a.session.put(a.beside[0].key, value)},
	})
	switch {
	case err != nil:
		return err // of an unknown outcome perhaps: then the value may yet be shown, in this term
	case !r.Succeeded:
		return ErrLost
	}
	return refused(r.Results[0])
}

// Resign ends the term. It ends as Lock.Unlock does.
func (l *Leadership) Resign(ctx context.Context) error {
	if err := l.lock.attempt.leave(ctx); err != nil {
		return fmt.Errorf("resign from %q: %w", l.lock.attempt.name, err)
	}
	return nil
}

// Leader is who leads, as one read has shown it.
type Leader struct {
	Token uint64 // of its term; 0 if there is no leader
	Value []byte
}

// Leader tells who leads at this moment. Somebody else may when the caller hears of it.
func (e *Election) Leader(ctx context.Context) (Leader, error) {
	o := observer{store: e.mutex.session.store, name: e.mutex.name}
	leader, _, err := o.read(ctx)
	return leader, err
}

// Observe tells who leads, and then each change, until ctx ends, which it tells as an error, the last. Terms and
// values that are over before they are read are left out; tokens never go back. A Leader with token 0 says that
// there is none. It outlives the session.
func (e *Election) Observe(ctx context.Context) iter.Seq2[Leader, error] {
	return observer{store: e.mutex.session.store, name: e.mutex.name}.all(ctx)
}

// observer follows an election.
type observer struct {
	store store
	name  string
}

// read returns the leader and the version of its value.
func (o observer) read(ctx context.Context) (Leader, rival, error) {
	r, err := commit(ctx, o.store, txn{then: []clients.Op{
		clients.OpGet(o.name + "/holder"), clients.OpGet(o.name + "/value"),
	}})
	if err != nil {
		return Leader{}, rival{}, fmt.Errorf("read the leader of %q: %w", o.name, err)
	}
	holder, value := r.Results[0], r.Results[1]
	return Leader{Token: holder.Version, Value: value.Value}, rival{o.name + "/value", value.Version}, nil
}

func (o observer) all(ctx context.Context) iter.Seq2[Leader, error] {
	return func(yield func(Leader, error) bool) {
		for first, before := true, (rival{}); ; {
			leader, seen, err := o.read(ctx)
			if err == nil && (first || seen != before) && !yield(leader, nil) {
				return
			}
			if err == nil {
				first, before = false, seen
				err = await(ctx, o.store, seen)
			}
			if err != nil {
				yield(Leader{}, err)
				return
			}
		}
	}
}
