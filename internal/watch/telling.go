package watch

import (
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
)

const (
	// tokenMax bounds the tokens that a replica makes. Clients add to them what they have taken of one answer.
	tokenMax = 4 << 10
	// scanMax is how many keys, deleted ones too, one answer looks at to tell what they hold: it is done between two
	// commands.
	scanMax = 4 << 10
)

// fits reports whether a set is small enough for a token.
func (j *Journal) fits(told *wire.InstanceSet) bool {
	return len(wire.AppendWatchToken(nil, &wire.WatchToken{Told: *told})) <= j.tokenMax
}

// verdict says how it goes on with a poll.
type verdict uint8

const (
	answers verdict = iota // result is its answer
	waits                  // for a change of its keys
	stalls                 // for something else
)

// telling looks for what there is for one poll.
type telling struct {
	journal *Journal
	site    Site
	poll    *poll
	result  wire.WatchResult
	err     error

	end   string // of the keys whose changes are told
	bytes int
	whole []epaxos.InstanceID // of which everything was told now
}

// run decides about the poll. The order matters: what is told must be named by the token, and nothing else.
func (t *telling) run() verdict {
	p, j := t.poll, t.journal
	if p.Ready != nil && !p.Ready() {
		return stalls
	}
	p.Ready = nil
	if p.Token == nil {
		p.Token = &wire.WatchToken{Span: wire.SpanSum([]byte(p.From), []byte(p.End))}
		p.Token.Cursor = []byte(p.From)
		if !p.State {
			return t.now()
		}
	}
	token := p.Token
	t.end = p.End
	if token.Cursor != nil {
		// The state of the next keys must show all that the token names, or it would be lost for them.
		if !j.executed.Covers(&token.Told) {
			return stalls
		}
		if t.end = string(token.Cursor); t.end == p.From {
			return t.state(&token.Told)
		}
	}
	if p.seen == 0 {
		position, ok := j.locate(&token.Told)
		if !ok {
			return t.resync()
		}
		p.seen = position
	}
	if !j.holds(p.seen) {
		return t.resync()
	}
	return t.changes(j.next)
}

// now begins a watch with what is executed next.
func (t *telling) now() verdict {
	executed := &t.journal.executed
	if !t.journal.fits(executed) {
		t.poll.Token = nil
		return stalls
	}
	return t.answer(wire.WatchToken{Told: *executed})
}

// resync makes the client look at the state anew, once this replica has executed all that the client was told of.
func (t *telling) resync() verdict {
	token := *t.poll.Token
	token.Told = token.Told.Clone()
	if t.poll.lean { // it was told no more than this, and the state must not go back behind what it was told
		if !t.journal.fits(&t.journal.executed) {
			return stalls
		}
		token.Told = t.journal.executed
	}
	if token.Part != nil {
		token.Told.Add(token.Part.Replica, token.Part.Slot)
	}
	token.Part, token.Cursor = nil, []byte(t.poll.From)
	t.result = wire.WatchResult{Resync: true, More: true}
	return t.answer(token)
}

// changes tells the changes in the steps up to a position.
func (t *telling) changes(to uint64) verdict {
	p, j := t.poll, t.journal
	told := p.Token.Told.Clone()
	if part := p.Token.Part; part != nil {
		// The rest of an instance is told before anything else. What was executed here before it and is not told does
		// not interfere with it, or it would have been told where the first part was.
		switch next, found := t.part(&told, part); {
		case !found:
			return next
		case next == answers:
			return answers
		}
		told.Add(part.Replica, part.Slot)
	}
	stopped, index := to, 0
	j.visit(p.seen, to, func(position uint64, id epaxos.InstanceID, changes []execution.Change) bool {
		if told.Has(id) {
			return true
		}
		next, full := t.tell(id, changes, 0)
		if full {
			stopped, index = position, next
			return false
		}
		return t.err == nil
	})
	switch {
	case t.err != nil:
		return stalls
	case stopped == j.next && p.Token.Cursor != nil:
		return t.state(&told)
	case len(t.result.Events) == 0 && stopped == j.next:
		if p.Token.Part != nil { // all of it was told elsewhere
			p.Token.Told, p.Token.Part = told, nil
		}
		return waits
	}
	return t.stop(&told, stopped, index)
}

// part tells the rest of an instance; found is false if it is not in the journal, and then the verdict says what
// follows from that.
func (t *telling) part(told *wire.InstanceSet, part *wire.WatchPart) (v verdict, found bool) {
	id := epaxos.InstanceID{Epoch: told.Epoch, Replica: part.Replica, Slot: part.Slot}
	if !t.journal.executed.Has(id) {
		return stalls, false
	}
	next, full := 0, false
	t.journal.visit(t.poll.seen, t.journal.next,
		func(_ uint64, at epaxos.InstanceID, changes []execution.Change) bool {
			if found = at == id; found {
				next, full = t.tell(id, changes, int(part.Index))
			}
			return !found
		})
	switch {
	case t.err != nil:
		return stalls, false
	case !found:
		return t.resync(), false
	case full:
		rest := *part
		rest.Index = uint32(next) //nolint:gosec // an instance has no so many changes
		t.result.More = true
		return t.answer(wire.WatchToken{Told: *told, Part: &rest, Cursor: t.poll.Token.Cursor}), true
	}
	return waits, true
}

// stop ends an answer in front of the change of an index in the step at a position.
func (t *telling) stop(told *wire.InstanceSet, position uint64, index int) verdict {
	t.result.More = position < t.journal.next
	token := wire.WatchToken{Told: told.Clone(), Cursor: t.poll.Token.Cursor}
	executed := t.journal.executedBefore(position)
	token.Told.Unite(&executed)
	if index > 0 {
		t.journal.visit(position, position+1, func(_ uint64, id epaxos.InstanceID, _ []execution.Change) bool {
			//nolint:gosec // an instance has no so many changes
			token.Part = &wire.WatchPart{Replica: id.Replica, Slot: id.Slot, Index: uint32(index)}
			return false
		})
	}
	if t.journal.fits(&token.Told) {
		return t.answer(token)
	}
	return t.shorten(told, token, position)
}

// shorten finds a smaller token: one without what was executed beyond a gap and is none of the client's business, or
// one that goes less far. If there is none, the client waits until the gaps are closed.
func (t *telling) shorten(told *wire.InstanceSet, token wire.WatchToken, position uint64) verdict {
	executed := t.journal.executedBefore(position)
	prefixes := executed.Prefixes()
	if told.Epoch == executed.Epoch { // else what is above the prefixes must have been told now, or is named by nothing
		token.Told = told.Clone()
		token.Told.Unite(&prefixes)
		for _, id := range t.whole {
			token.Told.Add(id.Replica, id.Slot)
		}
		if t.journal.fits(&token.Told) {
			return t.answer(token)
		}
	}
	for i := len(t.journal.segments) - 1; i > 0 && t.journal.segments[i].first > t.poll.seen; i-- {
		s := &t.journal.segments[i]
		if s.first >= position {
			continue
		}
		shorter := told.Clone()
		shorter.Unite(&s.before)
		if !t.journal.fits(&shorter) {
			continue
		}
		again := telling{journal: t.journal, site: t.site, poll: t.poll, end: t.end}
		v := again.changes(s.first)
		if t.result, t.err = again.result, again.err; len(t.result.Events) == 0 {
			return stalls // what there is to tell lies behind
		}
		return v
	}
	return stalls
}

// tell adds the changes of an instance from an index on, and returns where the answer was full.
func (t *telling) tell(id epaxos.InstanceID, changes []execution.Change, from int) (next int, full bool) {
	some := false
	for i := from; i < len(changes); i++ {
		c := &changes[i]
		if !within(c.Key, t.poll.From, t.end) {
			continue
		}
		e, ok, err := t.site.Event(c)
		if err != nil {
			t.err = err
			return i, true
		}
		if !ok {
			continue
		}
		event := wire.WatchEvent{
			Kind: kinds[e.Kind], Instance: id, Index: uint32(i), //nolint:gosec // an instance has no so many changes
			Key: []byte(c.Key), Value: e.Value, Version: e.Version, Delta: e.Delta,
		}
		if !t.add(event) {
			return i, true
		}
		some = true
	}
	if some {
		t.whole = append(t.whole, id)
	}
	return len(changes), false
}

var kinds = [...]wire.WatchKind{
	execution.EventPut: wire.WatchPut, execution.EventDelete: wire.WatchDelete, execution.EventAdd: wire.WatchAdd,
}

// add appends an event if there is room for it.
func (t *telling) add(e wire.WatchEvent) bool {
	size := len(e.Key) + len(e.Value) + wire.PairOverhead
	if n := len(t.result.Events); n > 0 && (t.bytes+size > t.poll.BytesMax || n >= wire.WatchEventsMax) {
		return false
	}
	t.bytes += size
	t.result.Events = append(t.result.Events, e)
	return true
}

// state tells what the next keys hold. Everything that has changed in those before is told.
func (t *telling) state(told *wire.InstanceSet) verdict {
	p, executed := t.poll, &t.journal.executed
	if !t.journal.fits(executed) {
		if len(t.result.Events) == 0 {
			return stalls
		}
		return t.stop(told, t.journal.next, 0)
	}
	scanned := 0
	var cursor []byte
	err := t.site.Scan(string(p.Token.Cursor), p.End, func(key string, saved []byte) bool {
		if scanned++; scanned > scanMax || !t.hold(key, saved) {
			cursor = []byte(key)
			return false
		}
		return true
	})
	if t.err == nil {
		t.err = err
	}
	t.result.Current, t.result.More = cursor == nil, cursor != nil
	return t.answer(wire.WatchToken{Told: *executed, Cursor: cursor})
}

// hold tells what a key holds, if there is room for it.
func (t *telling) hold(key string, saved []byte) bool {
	e, ok, err := t.site.Event(&execution.Change{Key: key, Kind: execution.ChangePut, Value: saved})
	if err != nil {
		t.err = err
		return false
	}
	return !ok || e.Kind != execution.EventPut || t.add(wire.WatchEvent{
		Kind: wire.WatchState, Key: []byte(key), Value: append([]byte{}, e.Value...), Version: e.Version,
	})
}

// answer ends with a token.
func (t *telling) answer(token wire.WatchToken) verdict {
	token.Span = t.poll.Token.Span
	t.result.Token = wire.AppendWatchToken(nil, &token)
	return answers
}
