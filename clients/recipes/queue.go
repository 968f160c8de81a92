package recipes

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/264bc8cf/epaxos/clients"
)

// Queue hands each item that is put into it to one taker, and to no other. An item comes out before every one whose
// Enqueue began after its own had returned. Items belong to no session: they stay until they are taken. Its
// methods are safe for concurrent use.
//
//	NAME/items/NUMBER  the items
//	NAME/numbers       how many numbers were given out
//	NAME/pulse         changes with each item that is put
//	NAME/receipts/ID   what one who puts or takes has done last; leased
type Queue struct {
	session *Session
	name    string

	mu       sync.Mutex
	receipts []receipt // that nobody uses
}

// NewQueue names a queue. All keys that begin with name and a slash are its own.
func NewQueue(s *Session, name string) *Queue { return &Queue{session: s, name: name} }

// Enqueue puts an item into the queue, once. It takes two commands, and one more the first time. If the error
// matches clients.ErrOutcomeUnknown, the item may have been put, or may yet be, because ctx or the session ended;
// otherwise it was not.
func (q *Queue) Enqueue(ctx context.Context, value []byte) error {
	err := q.with(ctx, func(ctx context.Context, r *receipt) error { return q.enqueue(ctx, r, value) })
	if err != nil {
		return fmt.Errorf("put into queue %q: %w", q.name, err)
	}
	return nil
}

func (q *Queue) enqueue(ctx context.Context, own *receipt, value []byte) error {
	r, err := commit(ctx, q.session.store, txn{then: []clients.Op{clients.OpIncrement(q.name+"/numbers", 1)}})
	if err != nil {
		return harmless(err) // a number that nobody uses does no harm
	}
	number, err := strconv.ParseUint(string(r.Results[0].Value), 10, 64)
	if err != nil {
		return fmt.Errorf("the key %s/numbers holds no number: somebody else has written it", q.name)
	}
	_, _, err = q.once(ctx, own, txn{then: []clients.Op{
		clients.OpPut(q.item(number), value), clients.OpPut(q.name+"/pulse", nil),
	}})
	return err // it has no condition but the receipt
}

// harmless is the end of a change whose effect does not matter: it is left out of the error.
func harmless(err error) error {
	if open, ok := errors.AsType[*unknown](err); ok {
		return open.reason
	}
	return err
}

// Dequeue takes the first item, and waits for one if there is none. If the error matches clients.ErrOutcomeUnknown,
// an item may have been taken, or may yet be, and nobody has got it; otherwise none was.
func (q *Queue) Dequeue(ctx context.Context) ([]byte, error) { return q.take(ctx, true) }

// TryDequeue takes the first item. If there is none the error is ErrEmpty.
func (q *Queue) TryDequeue(ctx context.Context) ([]byte, error) { return q.take(ctx, false) }

func (q *Queue) take(ctx context.Context, wait bool) (value []byte, err error) {
	err = q.with(ctx, func(ctx context.Context, r *receipt) error {
		value, err = q.dequeue(ctx, r, wait)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("take from queue %q: %w", q.name, err)
	}
	return value, nil
}

func (q *Queue) dequeue(ctx context.Context, own *receipt, wait bool) ([]byte, error) {
	look := []clients.Op{clients.OpRange(q.items(), clients.Limit(1)), clients.OpGet(q.name + "/pulse")}
	for {
		r, err := commit(ctx, q.session.store, txn{then: look})
		if err != nil {
			return nil, err
		}
		shown := r.Results
		for len(shown[0].Page.Pairs) > 0 {
			first := shown[0].Page.Pairs[0]
			done, next, err := q.once(ctx, own, txn{
				when:  []clients.Compare{clients.CompareVersion(first.Key, clients.Equal, first.Version)},
				then:  []clients.Op{clients.OpDelete(first.Key)},
				other: look,
			})
			if err != nil {
				return nil, err
			}
			if done {
				q.tidy(first.Key)
				return first.Value, nil
			}
			shown = next // another was faster, which is how the queue gets shorter
		}
		if !wait {
			return nil, ErrEmpty
		}
		if err := await(ctx, q.session.store, rival{q.name + "/pulse", shown[1].Version}); err != nil {
			return nil, err
		}
	}
}

func (q *Queue) items() clients.Span { return clients.Prefix(q.name + "/items/") }

func (q *Queue) item(number uint64) string { return fmt.Sprintf("%s%016x", q.items().From, number) }

// tidy has the rests of taken items forgotten now and then. No number is used again.
func (q *Queue) tidy(taken string) {
	number, err := strconv.ParseUint(strings.TrimPrefix(taken, q.items().From), 16, 64)
	if err == nil && number%tidyEvery == 0 {
		q.session.tidy(clients.Span{From: q.items().From, End: taken})
		q.session.tidy(clients.Prefix(q.name + "/receipts/"))
	}
}

// receipt is a key under the lease, which one caller at a time has for itself. Its value is the identity of the
// last change that the caller made. A change is carried out if the receipt is as it was before, and writes it; so
// a second copy does nothing, and the receipt tells that there was a first. It is gone when the lease is: then
// nothing is carried out any more.
type receipt struct {
	key   string
	value string
	spent bool // what it says is not known
}

// with lends a receipt.
func (q *Queue) with(ctx context.Context, use func(context.Context, *receipt) error) error {
	if err := q.session.admits(ctx, q.name); err != nil {
		return err
	}
	ctx, release := q.session.bind(ctx)
	defer release()
	own, err := q.borrow(ctx)
	if err != nil {
		return err
	}
	err = use(ctx, &own)
	if !own.spent {
		q.mu.Lock()
		q.receipts = append(q.receipts, own)
		q.mu.Unlock()
	}
	return err
}

func (q *Queue) borrow(ctx context.Context) (receipt, error) {
	q.mu.Lock()
	if last := len(q.receipts) - 1; last >= 0 {
		defer q.mu.Unlock()
		own := q.receipts[last]
		q.receipts = q.receipts[:last]
		return own, nil
	}
	q.mu.Unlock()
	own := receipt{value: q.session.identity()}
	own.key = q.name + "/receipts/" + own.value
	r, err := commit(ctx, q.session.store, txn{
		then: []clients.Op{q.session.put(own.key, []byte(own.value))},
	})
	if err != nil {
		return receipt{}, harmless(q.session.cleanUp(ctx, err, txn{then: []clients.Op{clients.OpDelete(own.key)}}))
	}
	return own, refused(r.Results[0])
}

// once carries out the first branch of a transaction at most once, and tells whether it did; if not, the results
// are those of the other.
func (q *Queue) once(ctx context.Context, own *receipt, t txn) (done bool, results []clients.Result, err error) {
	id := q.session.identity()
	t.when = append(t.when, clients.CompareValue(own.key, clients.Equal, []byte(own.value)))
	t.then = append(t.then, q.session.put(own.key, []byte(id)))
	t.other = append([]clients.Op{clients.OpGet(own.key)}, t.other...)
	r, err := commit(ctx, q.session.store, t)
	switch {
	case err != nil:
		_, own.spent = errors.AsType[*unknown](err)
		return false, nil, err
	case r.Succeeded:
		own.value = id
		return true, nil, nil
	case !r.Results[0].Found: // with the lease
		own.spent = true
		if r.repeated != nil {
			return false, nil, r.repeated.with(ErrLost)
		}
		return false, nil, ErrLost
	case string(r.Results[0].Value) == id:
		own.value = id
		return true, nil, nil
	case string(r.Results[0].Value) != own.value:
		own.spent = true
		return false, nil, fmt.Errorf("the key %s was changed by somebody else", own.key)
	}
	return false, r.Results[1:], nil
}
