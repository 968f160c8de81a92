package watch

import (
	"errors"
	"slices"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Errors that refuse a poll at once.
var (
	// ErrCrowded: too many polls are open.
	ErrCrowded = errors.New("too many watches wait at this replica: use another, or try again later")
	// ErrSpan: the token is of a watch of other keys.
	ErrSpan = errors.New("the token belongs to a watch of other keys")
)

// Poll is a client's question: what has changed in [From, End) that its token does not name?
type Poll struct {
	ID       epaxos.ProposalID
	From     string
	End      string           // empty is no bound
	Token    *wire.WatchToken // nil begins a watch
	State    bool             // one that begins is told first what the keys hold
	BytesMax int
	Ready    func() bool // nil, or whether this replica has executed what a watch that begins has to show
}

// Answer ends a poll.
type Answer struct {
	ID     epaxos.ProposalID
	Result []byte // a wire.WatchResult
}

// Site is the replica as a poll sees it.
type Site interface {
	// Event is that of execution.Watched.
	Event(c *execution.Change) (e execution.Event, ok bool, err error)
	// Scan is that of execution.State in the space of the state machine.
	Scan(from, to string, visit func(key string, value []byte) bool) error
}

// Watches is the journal of a replica and the polls that wait for something to be added to it.
type Watches struct {
	journal Journal
	openMax int

	open    map[epaxos.ProposalID]*poll
	points  map[string][]*poll // wait for a change of one key
	ranges  []*poll            // wait for a change of some key
	ripe    []*poll            // something may have come for them
	stalled []*poll            // wait for something else to be executed
}

// poll is one that is open.
//
// Invariant: no step in front of seen, if that is not 0, is to be told to it any more.
type poll struct {
	Poll
	seen  uint64
	lean  bool // Token.Told is left out: it was all executed before seen
	place place
	at    int // in the list of its place, but for ripe and stalled
}

type place uint8

const (
	placeStalled place = iota
	placePoint
	placeRange
	placeRipe
)

// New returns a journal of at most bytesMax bytes, in which nothing is executed yet, and no polls, of which there may
// be openMax.
func New(bytesMax, openMax int) *Watches {
	return &Watches{
		journal: newJournal(bytesMax), openMax: openMax,
		open: map[epaxos.ProposalID]*poll{}, points: map[string][]*poll{},
	}
}

// Restart forgets what was executed so far but for the fact, and all polls, which it returns. Whoever is not sure to
// have been told all of it has to look at the state anew.
func (w *Watches) Restart(executed wire.InstanceSet) (void []epaxos.ProposalID) {
	w.journal.restart(executed)
	return w.Void()
}

// Begin starts the next epoch, behind the end of the one before.
func (w *Watches) Begin(epoch epaxos.Epoch) { w.journal.begin(epoch) }

// Executed takes in that an instance of the present epoch was executed, with the changes that it has made, which
// the journal keeps. Told again of one, it does nothing.
func (w *Watches) Executed(replica epaxos.ReplicaID, slot epaxos.Slot, changes []execution.Change) {
	if !w.journal.add(replica, slot, changes) || len(w.points)+len(w.ranges) == 0 {
		return
	}
	id := epaxos.InstanceID{Epoch: w.journal.executed.Epoch, Replica: replica, Slot: slot}
	for i := range changes {
		w.ripen(w.points[changes[i].Key], changes[i].Key, id)
		w.ripen(w.ranges, changes[i].Key, id)
	}
}

// ripen finds who waits for a change of a key. The step that was added last makes it.
func (w *Watches) ripen(waiting []*poll, key string, id epaxos.InstanceID) {
	for i := len(waiting) - 1; i >= 0; i-- { // backwards: the last takes the place of one that is taken out
		p := waiting[i]
		if !within(key, p.From, p.End) || p.Token.Told.Has(id) {
			continue
		}
		w.remove(p)
		p.seen, p.place = w.journal.next-1, placeRipe
		w.ripe = append(w.ripe, p)
	}
}

func within(key, from, end string) bool { return from <= key && (end == "" || key < end) }

// Open takes a poll. Its answer comes from Serve.
func (w *Watches) Open(p Poll) error {
	switch {
	case len(w.open) >= w.openMax:
		return ErrCrowded
	case p.Token != nil && p.Token.Span != wire.SpanSum([]byte(p.From), []byte(p.End)):
		return ErrSpan
	}
	if p.BytesMax <= 0 || p.BytesMax > wire.WatchBytesMax {
		p.BytesMax = wire.WatchBytesMax
	}
	one := &poll{Poll: p}
	w.open[p.ID] = one
	w.stalled = append(w.stalled, one)
	return nil
}

// One call of Serve gives no more answers, and about as many bytes: a change of a key that thousands watch must not
// hold up everything else.
const (
	serveMax      = 1024
	serveBytesMax = 8 << 20
)

// Serve answers the polls that there is something for. There may be more, see Due.
func (w *Watches) Serve(site Site) ([]Answer, error) {
	if len(w.ripe)+len(w.stalled) == 0 {
		return nil, nil
	}
	var answers []Answer
	bytes := 0
	due := slices.Concat(w.ripe, w.stalled)
	w.ripe, w.stalled = w.ripe[:0], w.stalled[:0]
	for i, p := range due {
		if w.open[p.ID] != p {
			continue
		}
		if len(answers) >= serveMax || bytes >= serveBytesMax {
			w.ripe = append(w.ripe, due[i:]...)
			break
		}
		t := telling{journal: &w.journal, site: site, poll: p}
		switch verdict := t.run(); {
		case t.err != nil:
			return answers, t.err
		case verdict == waits:
			w.wait(p)
		case verdict == stalls:
			p.place = placeStalled
			w.stalled = append(w.stalled, p)
		default:
			delete(w.open, p.ID)
			answers = append(answers, Answer{ID: p.ID, Result: wire.AppendWatchResult(nil, &t.result)})
			bytes += len(answers[len(answers)-1].Result)
		}
	}
	return answers, nil
}

// wait puts a poll that was told everything where changes of its keys find it.
func (w *Watches) wait(p *poll) {
	j := &w.journal
	p.seen = j.next
	if j.executed.Covers(&p.Token.Told) && j.fits(&j.executed) {
		p.Token.Told, p.lean = wire.InstanceSet{}, true // so little is kept of many that wait
	}
	if p.End == p.From+"\x00" {
		p.place, p.at = placePoint, len(w.points[p.From])
		w.points[p.From] = append(w.points[p.From], p)
		return
	}
	p.place, p.at = placeRange, len(w.ranges)
	w.ranges = append(w.ranges, p)
}

// remove takes a poll from the list in which it waits.
func (w *Watches) remove(p *poll) {
	list := w.ranges
	if p.place == placePoint {
		list = w.points[p.From]
	}
	last := len(list) - 1
	list[p.at] = list[last]
	list[p.at].at = p.at
	list[last] = nil
	switch {
	case p.place == placeRange:
		w.ranges = list[:last]
	case last == 0:
		delete(w.points, p.From)
	default:
		w.points[p.From] = list[:last]
	}
}

// End takes a poll back because its time is up. If it was told everything the result says so, with a token that
// names all that was executed here; otherwise it is nil, and the client may ask anyone again.
func (w *Watches) End(id epaxos.ProposalID) (result []byte) {
	p := w.open[id]
	if p == nil {
		return nil
	}
	delete(w.open, id)
	if p.place != placePoint && p.place != placeRange {
		return nil // Serve passes over it
	}
	w.remove(p)
	token := *p.Token
	token.Told = token.Told.Clone()
	token.Told.Unite(&w.journal.executed)
	if !w.journal.fits(&token.Told) {
		return nil
	}
	return wire.AppendWatchResult(nil, &wire.WatchResult{Token: wire.AppendWatchToken(nil, &token)})
}

// Void takes all polls back, and returns them in their order.
func (w *Watches) Void() []epaxos.ProposalID {
	ids := make([]epaxos.ProposalID, 0, len(w.open))
	//lint:ordered they are sorted below
	for id := range w.open {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	clear(w.open)
	clear(w.points)
	w.ranges, w.ripe, w.stalled = nil, nil, nil
	return ids
}

// Due reports whether Serve has more to answer.
func (w *Watches) Due() bool { return len(w.ripe) > 0 }

// Waiting is the number of polls that are open.
func (w *Watches) Waiting() int { return len(w.open) }

// Bytes is the size of the journal.
func (w *Watches) Bytes() int { return w.journal.bytes }
