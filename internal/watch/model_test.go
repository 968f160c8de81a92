package watch

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// The model: a few replicas execute the same instances, those that interfere in one order and others in any, with
// restarts, states taken over and epochs; a few watchers ask one after the other and check what they are told.

// instance is one that some epoch has decided.
type instance struct {
	id      epaxos.InstanceID
	command *epaxos.Command // nil for a no-op
	ends    bool            // the epoch
	void    bool            // never executed: it is behind the end of its epoch
}

// truth is one change of a key in the order that is agreed.
type truth struct {
	id    epaxos.InstanceID
	index uint32
	event execution.Event
}

// world is one run.
type world struct {
	*rand.Rand
	t         *testing.T
	seed      uint64
	keys      []string
	instances []instance // in an order of execution
	slots     [modelReplicas]epaxos.Slot
	epoch     epaxos.Epoch
	truths    map[string][]truth
	reference *execution.State
	replicas  []*modelReplica
	watchers  []*watcher
	trace     []string
	proposals epaxos.ProposalID
	stats     modelStats
}

type modelStats struct{ events, resyncs, parts, states, stalls, hops, idles int }

const modelReplicas = 3

type nothingSaved struct{}

func (nothingSaved) Get([]byte) ([]byte, bool, error)                        { return nil, false, nil }
func (nothingSaved) Scan(_, _ []byte, _ func(key, value []byte) error) error { return nil }

// modelReplica executes on its own.
type modelReplica struct {
	w        *world
	index    int
	state    *execution.State
	watches  *Watches
	executed []int // of world.instances, in the order of this replica
	saved    int   // how many of them a crash leaves
	done     map[int]bool
	epoch    epaxos.Epoch
	polls    map[epaxos.ProposalID]*watcher
}

func (r *modelReplica) Event(c *execution.Change) (execution.Event, bool, error) {
	return execution.KV{}.Event(c)
}

func (r *modelReplica) Scan(from, to string, visit func(key string, value []byte) bool) error {
	return r.state.Scan(epaxos.SpaceState, from, to, visit)
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		Rand: rand.New(rand.NewPCG(seed, 1)), t: t, seed: seed, epoch: 1, truths: map[string][]truth{},
		reference: newState(),
	}
	for i := range 2 + w.IntN(5) {
		w.keys = append(w.keys, fmt.Sprintf("k%d", i))
	}
	bytesMax := []int{1, 600, 3000, 1 << 20}[w.IntN(4)]
	tokens := []int{20, 40, tokenMax}[w.IntN(3)]
	for i := range modelReplicas {
		r := &modelReplica{w: w, index: i, epoch: 1, done: map[int]bool{}, state: newState(), polls: map[epaxos.ProposalID]*watcher{}}
		r.watches = New(bytesMax, 1000)
		r.watches.journal.tokenMax = tokens
		r.watches.Restart(wire.InstanceSet{Epoch: 1})
		w.replicas = append(w.replicas, r)
	}
	for i := range 4 {
		w.watchers = append(w.watchers, newWatcher(w, i))
	}
	return w
}

func newState() *execution.State {
	s := execution.NewState(nothingSaved{})
	s.RecordChanges()
	return s
}

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	tail := w.trace[max(0, len(w.trace)-60):]
	w.t.Fatalf("seed %d: violation of watch: %s\n%s", w.seed, fmt.Sprintf(format, args...), strings.Join(tail, "\n"))
}

// op draws one change.
func (w *world) op() wire.Op {
	key := []byte(w.keys[w.IntN(len(w.keys))])
	switch w.IntN(8) {
	case 0, 1:
		return wire.Op{Kind: wire.OpDelete, Key: key}
	case 2, 3, 4:
		return wire.Op{Kind: wire.OpAdd, Key: key, Delta: int64(w.IntN(9)) - 4}
	case 5:
		return wire.Op{Kind: wire.OpPut, Key: key, Value: []byte("no number")}
	default:
		return wire.Op{Kind: wire.OpPut, Key: key, Value: strconv.AppendInt(nil, w.Int64N(100), 10)}
	}
}

// decide adds an instance to the order.
func (w *world) decide() {
	column := w.IntN(modelReplicas)
	w.slots[column]++
	one := instance{id: epaxos.InstanceID{Epoch: w.epoch, Replica: epaxos.ReplicaID(column + 1), Slot: w.slots[column]}}
	switch kind := w.IntN(40); {
	case kind == 0:
		one.ends = true
		one.command = &epaxos.Command{Footprint: epaxos.Footprint{{Mode: epaxos.Everything, Space: epaxos.SpaceEpoch}}}
	case kind < 4:
	default:
		op := w.op()
		if w.IntN(3) == 0 {
			op = wire.Op{Kind: wire.OpTxn, Then: []wire.Op{op}}
			for range 1 + w.IntN(4) {
				op.Then = append(op.Then, w.op())
			}
		}
		payload, err := wire.AppendOp(nil, &op), error(nil)
		one.command = &epaxos.Command{Requests: []epaxos.Request{{Payload: payload}}}
		if one.command.Footprint, err = (execution.KV{}).Footprint(payload); err != nil {
			w.t.Fatal(err)
		}
	}
	w.instances = append(w.instances, one)
	if one.ends {
		for range w.IntN(4) { // what is behind the end is void
			column := w.IntN(modelReplicas)
			w.slots[column]++
			id := epaxos.InstanceID{Epoch: w.epoch, Replica: epaxos.ReplicaID(column + 1), Slot: w.slots[column]}
			w.instances = append(w.instances, instance{id: id, void: true})
		}
		w.epoch, w.slots = w.epoch+1, [modelReplicas]epaxos.Slot{}
		return
	}
	for i, c := range w.perform(w.reference, &one) {
		e, ok, err := (execution.KV{}).Event(&c)
		if err != nil || !ok {
			w.t.Fatal(err, ok)
		}
		w.truths[c.Key] = append(w.truths[c.Key], truth{one.id, uint32(i), e})
	}
}

func (w *world) perform(s *execution.State, one *instance) []execution.Change {
	if one.command == nil || one.ends {
		return nil
	}
	if _, err := s.Perform(execution.KV{}, &execution.Vertex{ID: one.id, Command: one.command}); err != nil {
		w.t.Fatal(err)
	}
	return s.TakeChanges()
}

// ready reports whether a replica may execute an instance next: whatever interferes and comes before is executed.
func (r *modelReplica) ready(at int) bool {
	one := &r.w.instances[at]
	if r.done[at] || one.void || one.id.Epoch != r.epoch {
		return false
	}
	if one.command == nil {
		return true
	}
	for i := range at {
		other := &r.w.instances[i]
		if other.id.Epoch != r.epoch || r.done[i] || other.void {
			continue
		}
		if one.ends || other.command != nil && other.command.Footprint.Interferes(one.command.Footprint) {
			return false
		}
	}
	return true
}

// step executes one instance, if there is one.
func (r *modelReplica) step() bool {
	var ready []int
	for at := range r.w.instances {
		if r.ready(at) {
			ready = append(ready, at)
		}
	}
	if len(ready) == 0 {
		return false
	}
	r.execute(ready[r.w.IntN(len(ready))])
	return true
}

func (r *modelReplica) execute(at int) {
	one := &r.w.instances[at]
	r.watches.Executed(one.id.Replica, one.id.Slot, r.w.perform(r.state, one))
	r.done[at] = true
	r.executed = append(r.executed, at)
	r.w.note("replica %d executes %v", r.index, one.id)
	if one.ends {
		r.epoch++
		r.watches.Begin(r.epoch)
		r.saved = len(r.executed) // with the beginning of the next
	}
}

// set is what the replica has executed of its epoch.
func (r *modelReplica) set() wire.InstanceSet {
	s := wire.InstanceSet{Epoch: r.epoch}
	for at := range r.done {
		if id := r.w.instances[at].id; id.Epoch == r.epoch {
			s.Add(id.Replica, id.Slot)
		}
	}
	return s
}

// restart loses what is not saved, and the polls.
func (r *modelReplica) restart() {
	kept := r.executed[:r.saved:r.saved]
	r.state, r.executed, r.done = newState(), nil, map[int]bool{}
	for _, at := range kept {
		r.w.perform(r.state, &r.w.instances[at])
		r.executed, r.done[at] = append(r.executed, at), true
	}
	r.w.note("replica %d restarts with %d", r.index, len(kept))
	r.begin()
}

// begin voids the polls and begins the journal anew.
func (r *modelReplica) begin() {
	for _, id := range r.watches.Restart(r.set()) {
		r.polls[id].answered(nil)
		delete(r.polls, id)
	}
	if len(r.polls) > 0 {
		r.w.fail("%d polls are forgotten", len(r.polls))
	}
}

// install takes over the state at the beginning of an epoch that another has begun.
func (r *modelReplica) install(from *modelReplica) {
	if from.epoch <= r.epoch {
		return
	}
	r.epoch = from.epoch
	r.state, r.executed, r.done = newState(), nil, map[int]bool{}
	for at := range r.w.instances {
		if one := &r.w.instances[at]; one.id.Epoch < r.epoch && !one.void {
			r.w.perform(r.state, one)
			r.executed, r.done[at] = append(r.executed, at), true
		}
	}
	r.saved = len(r.executed)
	r.w.note("replica %d takes over the state of epoch %d", r.index, r.epoch)
	r.begin()
}

func (r *modelReplica) serve() {
	answers, err := r.watches.Serve(r)
	if err != nil {
		r.w.t.Fatal(err)
	}
	for _, a := range answers {
		result, err := wire.DecodeWatchResult(a.Result)
		if err != nil {
			r.w.t.Fatal(err)
		}
		who := r.polls[a.ID]
		delete(r.polls, a.ID)
		who.answered(&result)
	}
}

// watcher is a client that watches a span, and knows what it must be told.
type watcher struct {
	w         *world
	index     int
	from, end string
	withState bool
	begun     bool
	token     wire.WatchToken
	waiting   *modelReplica
	poll      epaxos.ProposalID
	told      map[string]map[truth0]bool
	view      map[string]shownKey
	sure      bool // the view is that of the whole span
}

// truth0 names a change.
type truth0 struct {
	id    epaxos.InstanceID
	index uint32
}

type shownKey struct {
	value   string
	version uint64
}

func newWatcher(w *world, index int) *watcher {
	who := &watcher{w: w, index: index, withState: w.IntN(2) == 0}
	switch w.IntN(3) {
	case 0:
		who.from = w.keys[w.IntN(len(w.keys))]
		who.end = who.from + "\x00"
	case 1:
		who.from, who.end = w.keys[0], w.keys[len(w.keys)/2]+"\x00"
	default:
	}
	return who
}

func (c *watcher) watches(key string) bool { return within(key, c.from, c.end) }

// ask opens a poll at some replica.
func (c *watcher) ask(r *modelReplica) {
	c.w.proposals++
	p := Poll{ID: c.w.proposals, From: c.from, End: c.end, State: c.withState, BytesMax: []int{1, 60, 0}[c.w.IntN(3)]}
	if c.begun {
		token, err := wire.DecodeWatchToken(wire.AppendWatchToken(nil, &c.token))
		if err != nil {
			c.w.t.Fatal(err)
		}
		p.Token = &token
	}
	if err := r.watches.Open(p); err != nil {
		c.w.t.Fatal(err)
	}
	c.waiting, c.poll = r, p.ID
	r.polls[p.ID] = c
	c.w.stats.hops++
	c.w.note("watcher %d asks replica %d with %+v", c.index, r.index, p.Token)
}

// giveUp takes the poll back, with what the replica says to that.
func (c *watcher) giveUp() {
	r := c.waiting
	delete(r.polls, c.poll)
	result := r.watches.End(c.poll)
	if result == nil {
		c.w.stats.stalls++
		c.answered(nil)
		return
	}
	c.w.stats.idles++
	decoded, err := wire.DecodeWatchResult(result)
	if err != nil || len(decoded.Events) > 0 {
		c.w.fail("an idle answer %+v, %v", decoded, err)
	}
	c.answered(&decoded)
}

// answered takes in an answer, of which the last part may get lost.
func (c *watcher) answered(result *wire.WatchResult) {
	c.waiting = nil
	c.w.note("watcher %d is told %+v", c.index, result)
	if result == nil || c.w.IntN(5) == 0 {
		return // lost
	}
	after, err := wire.DecodeWatchToken(result.Token)
	if err != nil {
		c.w.t.Fatal(err)
	}
	if !c.begun {
		c.begin(&after, len(result.Events) == 0 && !result.Current)
	}
	take, cursor := len(result.Events), c.token.Cursor
	if take > 0 && c.w.IntN(3) == 0 {
		take = c.w.IntN(take)
	}
	for i := range take {
		e := &result.Events[i]
		c.w.stats.events++
		if e.Kind == wire.WatchState {
			next := append(bytes.Clone(e.Key), 0)
			c.states(cursor, next, &after, e)
			cursor = next
		} else {
			c.change(e)
		}
		c.token.Pass(e, result.Events[i+1:], &after)
	}
	if take < len(result.Events) {
		c.exact()
		return
	}
	c.token = after
	switch {
	case result.Resync:
		c.w.stats.resyncs++
		c.sure = false
	case result.Current:
		c.states(cursor, nil, &after, nil)
		c.sure = true
		c.compare()
	case cursor != nil && after.Cursor != nil && !bytes.Equal(cursor, after.Cursor):
		c.states(cursor, after.Cursor, &after, nil)
	}
	if after.Part != nil {
		c.w.stats.parts++
	}
	c.exact()
}

// exact expects the token to name what was told, no more and no less.
func (c *watcher) exact() {
	for _, key := range c.w.keys {
		if !c.watches(key) || c.token.Cursor != nil && key >= string(c.token.Cursor) {
			continue
		}
		for _, one := range c.w.truths[key] {
			named := c.token.Told.Has(one.id)
			if p := c.token.Part; p != nil && (epaxos.InstanceID{Epoch: c.token.Told.Epoch, Replica: p.Replica, Slot: p.Slot}) == one.id {
				named = named || one.index < p.Index
			}
			if told := c.told[key][truth0{one.id, one.index}]; told != named {
				c.w.fail("watcher %d: %v/%d of %s told %v, named %v by %+v", c.index, one.id, one.index, key, told, named, c.token)
			}
		}
	}
}

// begin takes in where the watch begins.
func (c *watcher) begin(after *wire.WatchToken, now bool) {
	c.begun = true
	c.told, c.view = map[string]map[truth0]bool{}, map[string]shownKey{}
	if now {
		c.token, c.sure = *after, true
		for _, key := range c.w.keys {
			if c.watches(key) {
				c.adopt(key, after)
			}
		}
		return
	}
	c.token = wire.WatchToken{Span: after.Span, Cursor: []byte(c.from)}
}

// adopt makes what a token names told, for one key.
func (c *watcher) adopt(key string, token *wire.WatchToken) {
	before := c.told[key]
	c.told[key] = map[truth0]bool{}
	for _, one := range c.w.truths[key] {
		if token.Told.Has(one.id) {
			c.told[key][truth0{one.id, one.index}] = true
		}
	}
	for one := range before {
		if !c.told[key][one] {
			c.w.fail("watcher %d: the state of %s goes back behind %v", c.index, key, one)
		}
	}
	if state, found := c.fold(key); found {
		c.view[key] = state
	} else {
		delete(c.view, key)
	}
}

// fold is what a key holds after what was told of it.
func (c *watcher) fold(key string) (state shownKey, found bool) {
	version := uint64(0)
	for _, one := range c.w.truths[key] {
		if !c.told[key][truth0{one.id, one.index}] {
			continue
		}
		version++
		state, found = apply(state, found, &one.event, version)
	}
	return state, found
}

func apply(state shownKey, found bool, e *execution.Event, version uint64) (shownKey, bool) {
	switch e.Kind {
	case execution.EventPut:
		return shownKey{string(e.Value), e.Version}, true
	case execution.EventDelete:
		return shownKey{"", e.Version}, false
	default:
		sum := int64(0)
		if found {
			sum, _ = strconv.ParseInt(state.value, 10, 64)
		}
		return shownKey{strconv.FormatInt(sum+e.Delta, 10), version}, true
	}
}

// states takes in that the state of [from, to) was told, with what one key holds, if any of them exists.
func (c *watcher) states(from, to []byte, after *wire.WatchToken, e *wire.WatchEvent) {
	c.w.stats.states++
	for _, key := range c.w.keys {
		if !c.watches(key) || key < string(from) || to != nil && key >= string(to) {
			continue
		}
		c.adopt(key, after)
		state, found := c.view[key]
		switch {
		case e != nil && key == string(e.Key):
			if got := (shownKey{string(e.Value), e.Version}); !found || got != state {
				c.w.fail("watcher %d: %s holds %+v, the token names %+v, %v", c.index, key, got, state, found)
			}
		case found:
			c.w.fail("watcher %d: %s is not told, the token names %+v", c.index, key, state)
		}
	}
}

// change takes in one change.
func (c *watcher) change(e *wire.WatchEvent) {
	key, name := string(e.Key), truth0{e.Instance, e.Index}
	if !c.watches(key) {
		c.w.fail("watcher %d does not watch %s", c.index, key)
	}
	if c.told[key] == nil {
		c.told[key] = map[truth0]bool{}
	}
	if c.told[key][name] {
		c.w.fail("watcher %d: %v of %s comes again", c.index, name, key)
	}
	for _, one := range c.w.truths[key] {
		if (truth0{one.id, one.index}) == name {
			c.matches(e, &one.event)
			c.told[key][name] = true
			if state, found := c.fold(key); found {
				c.view[key] = state
			} else {
				delete(c.view, key)
			}
			return
		}
		commutes := one.event.Kind == execution.EventAdd && e.Kind == wire.WatchAdd
		if !commutes && !c.told[key][truth0{one.id, one.index}] {
			c.w.fail("watcher %d: %v of %s comes before %v, or that is lost", c.index, name, key, one.id)
		}
	}
	c.w.fail("watcher %d: %s has no change %v", c.index, key, name)
}

func (c *watcher) matches(e *wire.WatchEvent, want *execution.Event) {
	if kinds[want.Kind] != e.Kind || want.Version != e.Version || want.Delta != e.Delta || !bytes.Equal(want.Value, e.Value) {
		c.w.fail("watcher %d: got %+v, want %+v", c.index, e, want)
	}
}

// compare expects the view to be what was told.
func (c *watcher) compare() {
	for _, key := range c.w.keys {
		if !c.watches(key) || !c.sure {
			continue
		}
		want, found := c.fold(key)
		got, shown := c.view[key]
		if found != shown || found && want != got {
			c.w.fail("watcher %d: %s is %+v, %v, the changes make %+v, %v", c.index, key, got, shown, want, found)
		}
	}
}

// turn lets something happen.
func (w *world) turn() {
	r := w.replicas[w.IntN(len(w.replicas))]
	switch k := w.IntN(200); {
	case k < 40:
		w.decide()
	case k < 110:
		r.step()
	case k < 112:
		r.restart()
	case k < 114:
		r.install(w.replicas[w.IntN(len(w.replicas))])
	case k < 125:
		r.saved = r.saved + w.IntN(len(r.executed)-r.saved+1)
	case k < 160:
		r.serve()
	case k < 190:
		if c := w.watchers[w.IntN(len(w.watchers))]; c.waiting == nil {
			c.ask(r)
		}
	default:
		if c := w.watchers[w.IntN(len(w.watchers))]; c.waiting != nil {
			c.giveUp()
		}
	}
}

// finish lets all execute everything, and expects everybody to be told everything.
func (w *world) finish() {
	for _, r := range w.replicas {
		for r.step() {
		}
	}
	for _, c := range w.watchers {
		if c.waiting != nil {
			c.giveUp()
		}
		for range 10 * (len(w.instances) + 10) {
			c.ask(w.replicas[w.IntN(len(w.replicas))])
			c.waiting.serve()
			if c.waiting == nil {
				continue
			}
			if c.giveUp(); c.done() {
				break
			}
		}
		c.check()
	}
}

// done reports whether everything is told.
func (c *watcher) done() bool {
	if !c.begun || !c.sure {
		return false
	}
	for _, key := range c.w.keys {
		if c.watches(key) && len(c.told[key]) < len(c.w.truths[key]) {
			return false
		}
	}
	return true
}

func (c *watcher) check() {
	for _, key := range c.w.keys {
		for _, one := range c.w.truths[key] {
			if c.watches(key) && !c.told[key][truth0{one.id, one.index}] {
				c.w.fail("watcher %d: %v of %s is lost", c.index, one.id, key)
			}
		}
	}
	if !c.sure {
		c.w.fail("watcher %d never came to the end of the state", c.index)
	}
	c.compare()
}

var (
	runsFlag = flag.Uint64("runs", 0, "how many seeds of the model to run; 0 is a few")
	seedFlag = flag.Uint64("seed", 1, "the first of them")
)

// runModel is one run of the model.
func runModel(t *testing.T, seed uint64) modelStats {
	w := newWorld(t, seed)
	for range 600 {
		w.turn()
	}
	w.finish()
	return w.stats
}

func TestEveryChangeIsToldOnce(t *testing.T) {
	runs := uint64(300)
	switch {
	case *runsFlag > 0:
		runs = *runsFlag
	case testing.Short():
		runs = 100
	}
	var all modelStats
	for seed := *seedFlag; seed < *seedFlag+runs; seed++ {
		s := runModel(t, seed)
		all.events += s.events
		all.resyncs += s.resyncs
		all.parts += s.parts
		all.states += s.states
		all.stalls += s.stalls
		all.hops += s.hops
		all.idles += s.idles
	}
	t.Logf("%d runs: %+v", runs, all)
	for _, n := range []int{all.events, all.resyncs, all.parts, all.states, all.stalls, all.hops, all.idles} {
		if n == 0 {
			t.Errorf("something never happened: %+v", all)
		}
	}
}
