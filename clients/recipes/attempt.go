package recipes

import (
	"context"
	"fmt"
	"strconv"

	"github.com/264bc8cf/epaxos/clients"
)

// attempt is one try to hold something: a lock, for writing or reading, or an election.
//
// What it holds is a key, mine, that it writes in a transaction whose conditions say that nobody is in the way
// (F1). So the order of commands decides, and nothing that this process believes. Who has to wait takes a ticket
// and stands in a queue, for fairness alone: it waits for the one before it to leave, and the first for those who
// hold.
//
// All that it writes is under the lease (F6), so what the dead held goes with it, as does their place in the queue.
// Its identity stands in all of it, and is that of no other attempt ever; so a step that is sent again finds out
// what the copy before has done (F5), and what is removed in the end is nobody else's (F3).
type attempt struct {
	session *Session
	name    string // of what is to be held: all keys begin with it
	id      string

	mine   string     // the key that says that the attempt holds
	beside []pair     // what it holds beside
	stamp  string     // the key whose version is the token, written on entering; empty is mine
	free   []obstacle // which must be absent
	queues []string   // in which those who came before go first
	queue  string     // in which it waits itself

	ticket uint64
	waiter string // its key in the queue; empty as long as it has none
}

type pair struct {
	key   string
	value []byte
}

// obstacle is a key, or all keys with a prefix, that must be absent.
type obstacle struct {
	key    string
	prefix bool
}

func (o obstacle) absent() clients.Compare {
	if o.prefix {
		return clients.Empty(clients.Prefix(o.key))
	}
	return clients.Absent(o.key)
}

func (o obstacle) look() clients.Op {
	if o.prefix {
		return clients.OpRange(clients.Prefix(o.key), clients.Limit(1), clients.KeysOnly())
	}
	return clients.OpGet(o.key)
}

// enter waits until it is the turn of the attempt and nobody is in the way, and returns the token. If the attempt
// does not hold in the end, it leaves nothing behind.
func (a *attempt) enter(ctx context.Context, wait bool) (token uint64, err error) {
	if err := a.session.admits(ctx, a.name); err != nil {
		return 0, err
	}
	ctx, release := a.session.bind(ctx)
	defer release()
	token, err = a.first(ctx, wait)
	if err == nil && token == 0 && wait {
		token, err = a.line(ctx)
	}
	switch {
	case err != nil:
		return 0, a.session.cleanUp(ctx, err, a.removal())
	case token == 0:
		return 0, ErrHeld
	}
	a.tidy()
	return token, nil
}

// Where the results of a look are, when the attempt has not entered.
const (
	atMine   = 0
	atTicket = 1 // or what the key in the queue is
	atAhead  = 2 // the queues, and behind them the obstacles
)

// first takes what is free and wanted by nobody, and otherwise a ticket.
func (a *attempt) first(ctx context.Context, wait bool) (token uint64, err error) {
	t := txn{when: a.conditions(), then: a.grab(), other: []clients.Op{clients.OpGet(a.mine)}}
	if wait {
		t.other = append(t.other, clients.OpIncrement(a.name+"/tickets", 1))
	}
	r, err := commit(ctx, a.session.store, t)
	if err != nil {
		return 0, err
	}
	token, err = a.entered(ctx, r)
	if err != nil || token != 0 || !wait {
		return token, err
	}
	a.ticket, err = strconv.ParseUint(string(r.Results[atTicket].Value), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the key %s/tickets holds no number: somebody else has written it", a.name)
	}
	a.waiter = fmt.Sprintf("%s/%s/%016x-%s", a.name, a.queue, a.ticket, a.id)
	return 0, nil
}

// line stands in the queue until the attempt has entered.
func (a *attempt) line(ctx context.Context) (token uint64, err error) {
	for standing := false; ; {
		look := []clients.Op{clients.OpGet(a.mine), a.session.put(a.waiter, []byte(a.id))}
		for _, queue := range a.queues {
			look = append(look, clients.OpRange(a.ahead(queue), clients.KeysOnly()))
		}
		for _, o := range a.free {
			look = append(look, o.look())
		}
		t := txn{then: look}
		if standing {
			look[atTicket] = clients.OpGet(a.waiter)
			t = txn{
				when: append(a.conditions(), clients.Exists(a.waiter)),
				then: append(a.grab(), clients.OpDelete(a.waiter)), other: look,
			}
		}
		r, err := commit(ctx, a.session.store, t)
		if err != nil {
			return 0, err
		}
		if !standing {
			if err := refused(r.Results[atTicket]); err != nil {
				return 0, err
			}
		} else if token, err := a.entered(ctx, r); err != nil || token != 0 {
			return token, err
		}
		standing = r.Results[atTicket].Found // somebody may have deleted it by hand: then it has to come back
		if err := a.await(ctx, r); err != nil {
			return 0, err
		}
	}
}

// ahead is those of a queue who came before the attempt; all of it for one that has no ticket.
func (a *attempt) ahead(queue string) clients.Span {
	span := clients.Prefix(a.name + "/" + queue + "/")
	if a.waiter != "" {
		span.End = fmt.Sprintf("%s%016x", span.From, a.ticket)
	}
	return span
}

func (a *attempt) conditions() []clients.Compare {
	var conditions []clients.Compare
	for _, o := range a.free {
		conditions = append(conditions, o.absent())
	}
	for _, queue := range a.queues {
		conditions = append(conditions, clients.Empty(a.ahead(queue)))
	}
	return conditions
}

// grab is what makes the attempt hold.
func (a *attempt) grab() []clients.Op {
	ops := []clients.Op{a.session.put(a.mine, []byte(a.id))}
	if a.stamp != "" {
		ops = append(ops, clients.OpPut(a.stamp, []byte(a.id)))
	}
	for _, p := range a.beside {
		ops = append(ops, a.session.put(p.key, p.value))
	}
	return ops
}

// entered reads the answer to a try: the token, or 0.
func (a *attempt) entered(ctx context.Context, r answer) (token uint64, err error) {
	mine := r.Results[atMine]
	if r.Succeeded {
		for _, one := range r.Results[:len(a.grab())] {
			if err := refused(one); err != nil {
				return 0, err // whatever was written of it is removed
			}
		}
	}
	switch {
	case !r.Succeeded && (!mine.Found || string(mine.Value) != a.id):
		return 0, nil
	case a.stamp == "":
		return mine.Version, nil
	case r.Succeeded:
		return r.Results[atMine+1].Version, nil
	}
	// An earlier copy has entered, and others may have since: a token of its own is as good, while it holds.
	again, err := commit(ctx, a.session.store, txn{
		when: []clients.Compare{clients.CompareValue(a.mine, clients.Equal, []byte(a.id))},
		then: []clients.Op{clients.OpPut(a.stamp, []byte(a.id))},
	})
	switch {
	case err != nil:
		return 0, err
	case !again.Succeeded:
		return 0, ErrLost
	}
	return again.Results[0].Version, nil
}

// await waits for one who was in the way: the last before it in a queue, or else an obstacle. Each was there at the
// moment of the look, so that no change since is missed (F7).
func (a *attempt) await(ctx context.Context, r answer) error {
	for i := range a.queues {
		if before := r.Results[atAhead+i].Page.Pairs; len(before) > 0 {
			last := before[len(before)-1]
			return await(ctx, a.session.store, rival{last.Key, last.Version})
		}
	}
	for i, o := range a.free {
		shown := r.Results[atAhead+len(a.queues)+i]
		switch {
		case len(shown.Page.Pairs) > 0:
			return await(ctx, a.session.store, rival{shown.Page.Pairs[0].Key, shown.Page.Pairs[0].Version})
		case shown.Found:
			return await(ctx, a.session.store, rival{o.key, shown.Version})
		}
	}
	return nil
}

// removal removes all traces of the attempt, and nothing else.
func (a *attempt) removal() txn {
	var traces []clients.Op
	if a.waiter != "" {
		traces = append(traces, clients.OpDelete(a.waiter))
	}
	held := []clients.Op{clients.OpDelete(a.mine)}
	for _, p := range a.beside {
		held = append(held, clients.OpDelete(p.key))
	}
	return txn{
		when:  []clients.Compare{clients.CompareValue(a.mine, clients.Equal, []byte(a.id))},
		then:  append(held, traces...),
		other: traces,
	}
}

// leave gives up what the attempt holds. If that cannot be done before ctx ends, it is done in the background.
func (a *attempt) leave(ctx context.Context) error {
	ctx, release := a.session.bind(ctx)
	defer release()
	r, err := commit(ctx, a.session.store, a.removal())
	switch {
	case err != nil:
		return a.session.cleanUp(ctx, err, a.removal())
	case !r.Succeeded && r.repeated == nil:
		return ErrLost
	}
	return nil
}

// tidyEvery is how many tickets are given out before what they have left is dropped: the ranges that are looked
// at stay short, and few commands are spent on it.
const tidyEvery = 64

// tidy has the rests of deleted keys forgotten now and then, whose names are used only once. Whoever comes next
// does the same, so it is tried once.
func (a *attempt) tidy() {
	if a.ticket == 0 || a.ticket%tidyEvery != 0 {
		return
	}
	for _, queue := range append([]string{a.queue}, a.queues...) {
		a.session.tidy(a.ahead(queue))
	}
}
