package sim

import (
	"math/rand/v2"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Clients that watch keys (docs/protocol.md, H): each asks again and again with its token, at any replica, takes a part
// of an answer only, and loses answers. It is told of each change once, in the order of its key, or that it has to look
// anew.

// watcher is one of them.
type watcher struct {
	w         *world
	number    int
	rand      *rand.Rand
	from, end string
	state     bool // it begins with what the keys hold

	token   []byte // empty until it has begun
	home    int
	life    int // of its home, when it asked there last
	asking  epaxos.ProposalID
	begun   bool
	looking bool   // it is told what the keys hold
	cursor  string // of those before, everything was told
	told    map[string]*progress
	seen    map[string]uint64 // the versions that its beginning has to show
}

// watchingClients is how many there are in a run with Options.Watching.
const watchingClients = 24

func (w *world) startWatchers() {
	r := stream(w.options.Seed, streamWatchers, 0)
	count := r.IntN(4)
	if w.options.Watching {
		count = watchingClients
	}
	for i := range count {
		one := &watcher{w: w, number: i, rand: stream(w.options.Seed, streamWatchers, i+1)}
		one.draw()
		w.watchers = append(w.watchers, one)
		w.after(between(one.rand, 0, w.options.Faults/2), one.ask)
	}
}

// draw chooses what to watch.
func (c *watcher) draw() {
	prefix := []string{"", "", "hot", "many", deletedKey, forgottenKey, tallyKey, "own"}[c.rand.IntN(8)]
	c.from = prefix
	if prefix != "" {
		c.end = prefix + "~"
	}
	if c.rand.IntN(4) == 0 {
		c.from = []string{"hot0", "count", sumKey, "log", deletedKey, tallyKey + ".sum", "own0"}[c.rand.IntN(7)]
		c.end = c.from + "\x00"
	}
	c.state = c.rand.IntN(2) == 0
	c.home = c.rand.IntN(len(c.w.hosts))
	c.forget()
}

func (c *watcher) forget() { c.told, c.cursor = map[string]*progress{}, "" }

func (c *watcher) watches(key string) bool { return key >= c.from && (c.end == "" || key < c.end) }

// rest is how long a watcher waits before it asks again.
func (c *watcher) rest() time.Duration {
	if c.w.options.Watching {
		return between(c.rand, 0, 30*time.Millisecond)
	}
	return between(c.rand, 0, 200*time.Millisecond)
}

// ask asks some replica, often another one than before.
func (c *watcher) ask() {
	w := c.w
	if c.asking != 0 || w.err != nil || w.watched {
		return
	}
	if c.rand.IntN(3) == 0 || !w.asks(c.home) {
		c.home = c.rand.IntN(len(w.hosts))
	}
	i := c.home
	if !w.asks(i) || !c.poll(i) {
		w.after(between(c.rand, 5*time.Millisecond, 60*time.Millisecond), c.ask)
		c.home = c.rand.IntN(len(w.hosts))
		return
	}
	w.turn(i)
	asking := c.asking
	w.after(between(c.rand, 10*time.Millisecond, 400*time.Millisecond), func() { c.expire(i, asking) })
}

// poll sends the question, and reports whether it was taken.
func (c *watcher) poll(i int) bool {
	w, h := c.w, c.w.hosts[i]
	request := wire.WatchRequest{
		From: []byte(c.from), End: []byte(c.end), Token: c.token, State: c.state,
		BytesMax: []uint64{1, 60, 400, 1 << 16}[c.rand.IntN(4)],
	}
	request, err := wire.DecodeWatchRequest(wire.AppendWatchRequest(nil, &request))
	if err != nil {
		w.violated("integrity", "a request to watch does not decode: %v", err)
		return false
	}
	w.seq++
	p := node.Poll{Proposal: epaxos.ProposalID(w.seq), Request: request} //nolint:gosec // small
	if len(c.token) == 0 {
		c.seen = map[string]uint64{}
		if c.rand.IntN(2) == 0 {
			other := w.clients[c.rand.IntN(len(w.clients))]
			p.After = other.token
			for key, version := range other.seen { // each is looked at by itself
				c.seen[key] = version
			}
		}
	}
	if h.node.Watch(w.local(i), p) != nil {
		return false
	}
	if c.life != h.life<<8|i {
		c.life = h.life<<8 | i
		w.report.Reconnects++
	}
	h.polls[p.Proposal] = c
	c.asking = p.Proposal
	return true
}

// expire takes the question back when its time is up.
func (c *watcher) expire(i int, asking epaxos.ProposalID) {
	w, h := c.w, c.w.hosts[i]
	if c.asking != asking || h.node == nil || h.polls[asking] != c {
		return
	}
	delete(h.polls, asking)
	c.asking = 0
	if result := h.node.EndWatch(asking); result != nil {
		c.answered(i, result)
	}
	w.after(c.rest(), c.ask)
}

// lost is a question whose replica crashed, or cannot tell any more.
func (c *watcher) lost() {
	c.asking = 0
	c.w.after(c.rest(), c.ask)
}

// told takes the answer to a question.
func (c *watcher) heard(i int, a *node.Answer) {
	c.asking = 0
	c.w.after(c.rest(), c.ask)
	if a.Void {
		return
	}
	c.answered(i, a.Result)
}

// answered takes an answer, or a part of it, or loses it.
func (c *watcher) answered(i int, body []byte) {
	w := c.w
	w.note(noteAnswer, i, body)
	result, err := wire.DecodeWatchResult(body)
	if err != nil {
		w.violated("integrity", "what a watcher is told does not decode: %v", err)
		return
	}
	if w.faults && c.rand.IntN(12) == 0 {
		w.report.Reconnects++ // it was on its way when the connection broke
		c.life = 0
		return
	}
	if result.Resync {
		w.report.Resyncs++
		c.forget()
		c.looking = true
		c.token = result.Token
		return
	}
	begins := len(c.token) == 0
	if begins && c.state {
		c.looking = true
	}
	if begins {
		w.report.Watches++
		c.begins(i)
	}
	if w.faults && len(result.Events) > 1 && !begins && c.rand.IntN(6) == 0 {
		c.part(i, &result)
		return
	}
	for n := range result.Events {
		c.event(i, &result.Events[n])
	}
	c.token = result.Token
	switch {
	case result.Current:
		c.current(i)
	case c.looking:
		c.passed(i)
	case !result.More && !c.looking:
		c.complete(i)
	}
}

// part takes some of the events only, since the connection broke, or whoever watches went away.
func (c *watcher) part(i int, result *wire.WatchResult) {
	token, err := wire.DecodeWatchToken(c.token)
	after, other := wire.DecodeWatchToken(result.Token)
	if err != nil || other != nil {
		c.w.violated("integrity", "a token does not decode: %v, %v", err, other)
		return
	}
	for n := range 1 + c.rand.IntN(len(result.Events)-1) {
		c.event(i, &result.Events[n])
		token.Pass(&result.Events[n], result.Events[n+1:], &after)
	}
	c.token = wire.AppendWatchToken(nil, &token)
	if c.looking {
		c.passed(i)
	}
	c.life = 0
	c.w.report.Reconnects++
}

// passed notes of the keys whose state would have been told by now, and was not, that they do not exist.
func (c *watcher) passed(i int) {
	token, err := wire.DecodeWatchToken(c.token)
	if err != nil {
		c.w.violated("integrity", "a token does not decode: %v", err)
		return
	}
	has := c.w.executed(i)
	for _, key := range c.w.check.lineages.names {
		if c.watches(key) && c.cursor <= key && key < string(token.Cursor) && c.told[key] == nil {
			c.absent(i, key, has)
		}
	}
	c.cursor = string(token.Cursor)
}

// absent notes that a key was not told, and so must not exist.
func (c *watcher) absent(i int, key string, has func(epaxos.InstanceID) bool) {
	of := c.w.check.lineages.keys[key]
	at := of.of(has)
	if value, version, found := of.holds(&at); found {
		c.w.violated("watch", "r%d does not tell watcher %d that %q holds %q at version %d", replicaOf(i), c.number, key,
			value, version)
	}
	c.told[key] = &at
}

// executed reports what a host has executed.
func (w *world) executed(i int) func(epaxos.InstanceID) bool {
	epoch := w.hosts[i].order.epoch
	done := w.check.book(epoch).orders.at(i).done
	return func(id epaxos.InstanceID) bool { return id.Epoch < epoch || id.Epoch == epoch && done[id] }
}

// begins takes where a watch begins: behind what the replica has executed.
func (c *watcher) begins(i int) {
	has := c.w.executed(i)
	for _, key := range c.w.check.lineages.names {
		if !c.watches(key) {
			continue
		}
		of := c.w.check.lineages.keys[key]
		p := of.of(has)
		if _, version, _ := of.holds(&p); lasting(key) && version < c.seen[key] {
			c.w.violated("linearizability", "watcher %d begins at r%d with %q at version %d, and has to show %d", c.number,
				replicaOf(i), key, version, c.seen[key])
		}
		if !c.looking {
			c.told[key] = &p
		}
	}
	c.begun = true
}

// event takes one event.
func (c *watcher) event(i int, e *wire.WatchEvent) {
	w := c.w
	w.report.Events++
	key := string(e.Key)
	of, p := w.check.lineages.keys[key], c.told[key]
	if of == nil || !c.watches(key) {
		w.violated("watch", "r%d tells watcher %d of %q, which nobody has changed, or it does not watch", replicaOf(i),
			c.number, key)
		return
	}
	if e.Kind == wire.WatchState {
		at := of.of(w.executed(i))
		value, version, found := of.holds(&at)
		if !c.looking || p != nil || !found || value != string(e.Value) || version != e.Version {
			w.violated("watch", "r%d tells watcher %d that %q holds %q at version %d; it holds %q at %d there, told before %v",
				replicaOf(i), c.number, key, e.Value, e.Version, value, version, p != nil)
		}
		c.told[key] = &at
		return
	}
	if p == nil {
		if c.looking && key >= c.cursor {
			w.violated("watch", "r%d tells watcher %d of a change of %q before what it holds", replicaOf(i), c.number, key)
		}
		p = &progress{last: -1, adds: map[int]bool{}}
		c.told[key] = p
	}
	if why := of.takes(p, e); why != "" {
		w.violated("watch", "r%d tells watcher %d of %+v: %s; it was told of %d of %d and %v behind", replicaOf(i), c.number,
			*e, why, p.last+1, len(of.deeds), len(p.adds))
	}
}

// takes moves on by one event, and says what is wrong with it.
func (l *lineage) takes(p *progress, e *wire.WatchEvent) string {
	next := l.next(p)
	if e.Kind == wire.WatchAdd {
		for i := p.last + 1; i < next; i++ {
			if d := &l.deeds[i]; !p.adds[i] && d.id == e.Instance && d.delta == e.Delta {
				p.adds[i] = true
				return ""
			}
		}
		return "no such add is to be told now"
	}
	if next == len(l.deeds) {
		return "nothing but adds is left to be told"
	}
	d := &l.deeds[next]
	kind := map[deedKind]wire.WatchKind{puts: wire.WatchPut, deletes: wire.WatchDelete}[d.kind]
	if d.id != e.Instance || kind != e.Kind || d.version != e.Version || d.value != string(e.Value) {
		return "the next is of " + d.id.String()
	}
	for i := p.last + 1; i < next; i++ {
		if !p.adds[i] {
			return "an add of " + l.deeds[i].id.String() + " comes before"
		}
	}
	*p = progress{last: next, adds: map[int]bool{}}
	return ""
}

// complete is an answer behind which nothing is left to tell: all that was executed there was told, here or elsewhere.
func (c *watcher) complete(i int) {
	has := c.w.executed(i)
	for _, key := range c.w.check.lineages.names {
		if !c.watches(key) {
			continue
		}
		of, p := c.w.check.lineages.keys[key], c.told[key]
		if p == nil {
			p = &progress{last: -1}
		}
		for n := p.last + 1; n < len(of.deeds); n++ {
			if d := &of.deeds[n]; has(d.id) && !p.has(n) {
				c.w.violated("watch", "r%d has executed %v, and does not tell watcher %d what that did to %q", replicaOf(i),
					d.id, c.number, key)
				return
			}
		}
	}
}

// current is the end of the state, all of it as of one point.
func (c *watcher) current(i int) {
	has := c.w.executed(i)
	for _, key := range c.w.check.lineages.names {
		if !c.watches(key) {
			continue
		}
		of := c.w.check.lineages.keys[key]
		at := of.of(has)
		p := c.told[key]
		if p == nil && key >= c.cursor {
			c.absent(i, key, has)
			continue
		}
		if p == nil {
			p = &progress{last: -1}
		}
		same := p.last == at.last && len(p.adds) == len(at.adds)
		for n := range p.adds {
			same = same && at.adds[n]
		}
		if !same {
			c.w.violated("watch", "r%d tells watcher %d that its keys are as of one point; of %q it was told %d and %d, and "+
				"%d and %d are executed there", replicaOf(i), c.number, key, p.last+1, len(p.adds), at.last+1, len(at.adds))
		}
	}
	c.looking = false
}

// behind reports whether a watcher was not told everything yet.
func (c *watcher) behind() bool {
	if !c.begun || c.looking {
		return true
	}
	for _, key := range c.w.check.lineages.names {
		if !c.watches(key) {
			continue
		}
		of, p := c.w.check.lineages.keys[key], c.told[key]
		if p == nil || p.last+len(p.adds)+1 < len(of.deeds) {
			return true
		}
	}
	return false
}

// loseWatchers is what a crash does to those who have asked a host.
func (h *host) loseWatchers(w *world) {
	for _, c := range w.watchers {
		if c.asking != 0 && h.polls[c.asking] == c {
			c.lost()
		}
	}
	clear(h.polls)
}
