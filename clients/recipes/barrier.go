package recipes

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/264bc8cf/epaxos/clients"
)

// Barrier holds up all that wait at it, until who holds it opens it. It can be held again after that: whoever
// waited the first time goes on all the same. Its methods are safe for concurrent use.
//
//	NAME/holder  the identity of who holds it; leased
//	NAME/opened  the version of the holder that opened it last. It is never deleted
type Barrier struct {
	session *Session
	name    string
}

// NewBarrier names a barrier. All keys that begin with name and a slash are its own.
func NewBarrier(s *Session, name string) *Barrier { return &Barrier{session: s, name: name} }

func (b *Barrier) attempt() *attempt {
	m := Mutex{session: b.session, name: b.name}
	return m.attempt()
}

// Hold closes the barrier. The error is ErrHeld if it is held already. It ends with the session, too: then those
// who wait are told so.
func (b *Barrier) Hold(ctx context.Context) (*Hold, error) {
	l, err := b.attempt().lock(ctx, "hold barrier", false)
	if err != nil {
		return nil, err
	}
	return &Hold{l}, nil
}

// Hold is a barrier that is held.
type Hold struct{ lock *Lock }

// Open lets all go on that wait. The error matches ErrLost if the hold was lost before. While the outcome is
// unknown it may be called again.
func (h *Hold) Open(ctx context.Context) error {
	if err := h.open(ctx); err != nil {
		return fmt.Errorf("open barrier %q: %w", h.lock.attempt.name, err)
	}
	return nil
}

func (h *Hold) open(ctx context.Context) error {
	a := h.lock.attempt
	ctx, release := a.session.bind(ctx)
	defer release()
	opened := strconv.FormatUint(h.lock.token, 10)
	r, err := commit(ctx, a.session.store, txn{
		when: []clients.Compare{clients.CompareVersion(a.mine, clients.Equal, h.lock.token)},
		then: []clients.Op{clients.OpDelete(a.mine), clients.OpPut(a.name+"/opened", []byte(opened))},
	})
	switch {
	case err != nil:
		return err
	case !r.Succeeded && r.repeated == nil:
		return ErrLost
	}
	return nil
}

// Lost is closed when the barrier may be held no more, see Lock.Lost.
func (h *Hold) Lost() <-chan struct{} { return h.lock.Lost() }

// Wait returns when the barrier is open, at once if nobody holds it. The error matches ErrAbandoned if who held it
// lost its lease without having opened it, and nobody has opened it since.
func (b *Barrier) Wait(ctx context.Context) error {
	if err := b.wait(ctx); err != nil {
		return fmt.Errorf("wait at barrier %q: %w", b.name, err)
	}
	return nil
}

func (b *Barrier) wait(ctx context.Context) error {
	ctx, release := b.session.bind(ctx)
	defer release()
	look := txn{then: []clients.Op{clients.OpGet(b.name + "/holder"), clients.OpGet(b.name + "/opened")}}
	r, err := commit(ctx, b.session.store, look)
	if err != nil {
		return err
	}
	held := r.Results[0].Version
	for r.Results[0].Found && r.Results[0].Version == held {
		if err := await(ctx, b.session.store, rival{b.name + "/holder", held}); err != nil {
			return err
		}
		if r, err = commit(ctx, b.session.store, look); err != nil {
			return err
		}
	}
	if held == 0 {
		return nil
	}
	opened, err := openedBy(r.Results[1])
	if err == nil && opened < held {
		err = ErrAbandoned
	}
	return err
}

func openedBy(r clients.Result) (uint64, error) {
	if !r.Found {
		return 0, nil
	}
	opened, err := strconv.ParseUint(string(r.Value), 10, 64)
	if err != nil {
		return 0, errors.New("its key holds no number: somebody else has written it")
	}
	return opened, nil
}
