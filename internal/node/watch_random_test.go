package node_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// An audience watches a company in trouble. Each spectator asks one replica after the other, loses answers, and knows
// by the versions of each key whether a change is missing or comes twice. In the end it must have seen what is there.

type audience struct {
	*company
	rand  *rand.Rand
	mark  func(id epaxos.ProposalID) // of what the company need not judge
	all   []*spectator
	stats struct{ events, resyncs, asked, void int }
}

type spectator struct {
	a         *audience
	name      int
	from, end string
	begun     bool
	current   bool // all keys were told
	token     wire.WatchToken
	view      map[string]*sight
	host      int
	poll      epaxos.ProposalID // 0: none is open
	patience  int
}

// sight is a key as a spectator knows it.
type sight struct {
	found   bool
	value   string
	version uint64 // 0 is unknown
}

func newAudience(c *company, r *rand.Rand, mark func(epaxos.ProposalID)) *audience {
	a := &audience{company: c, rand: r, mark: mark}
	spans := [][2]string{{"", ""}, {"a", "d"}, {"w0", "w0\x00"}, {"w", "x"}, {"k", "l"}}
	for i, span := range spans {
		a.all = append(a.all, &spectator{a: a, name: i, from: span[0], end: span[1], view: map[string]*sight{}})
	}
	return a
}

func (s *spectator) fail(format string, args ...any) {
	s.a.t.Helper()
	s.a.t.Fatalf("violation of watch: spectator %d: %s", s.name, fmt.Sprintf(format, args...))
}

// act lets one of the audience do something.
func (a *audience) act() {
	s := a.all[a.rand.IntN(len(a.all))]
	if s.poll == 0 {
		s.ask(a.rand.IntN(len(a.nodes)))
		return
	}
	s.look()
	if s.patience--; s.poll != 0 && s.patience < 0 {
		s.giveUp()
	}
}

// write changes a key that nobody but the audience cares for.
func (a *audience) write() {
	i := a.rand.IntN(len(a.nodes))
	if a.nodes[i] == nil {
		return
	}
	op := a.op()
	if a.rand.IntN(4) == 0 {
		op = wire.Op{Kind: wire.OpTxn, Then: []wire.Op{a.op(), a.op(), a.op()}}
	}
	payload := wire.AppendOp(nil, &op)
	footprint, err := execution.KV{}.Footprint(payload)
	if err != nil {
		a.t.Fatal(err)
	}
	a.last++
	a.mark(a.last)
	_ = a.nodes[i].Propose(a.now, a.last, epaxos.Request{Payload: payload}, footprint)
}

func (a *audience) op() wire.Op {
	key := fmt.Appendf(nil, "w%d", a.rand.IntN(4))
	switch a.rand.IntN(6) {
	case 0:
		return wire.Op{Kind: wire.OpDelete, Key: key}
	case 1, 2, 3:
		return wire.Op{Kind: wire.OpAdd, Key: key, Delta: a.rand.Int64N(9) - 4}
	default:
		return wire.Op{Kind: wire.OpPut, Key: key, Value: strconv.AppendInt(nil, a.rand.Int64N(100), 10)}
	}
}

func (s *spectator) ask(i int) {
	a := s.a
	if a.nodes[i] == nil {
		return
	}
	r := wire.WatchRequest{From: []byte(s.from), End: []byte(s.end), State: true, BytesMax: a.rand.Uint64N(300)}
	if s.begun {
		r.Token = wire.AppendWatchToken(nil, &s.token)
	}
	a.last++
	a.mark(a.last)
	err := a.nodes[i].Watch(a.now, node.Poll{Proposal: a.last, Request: r})
	if errors.Is(err, node.ErrWatch) {
		s.fail("%v", err)
	}
	if err == nil {
		s.host, s.poll, s.patience = i, a.last, a.rand.IntN(60)
		a.stats.asked++
	}
}

// giveUp takes back a poll, unless the replica has forgotten it in a crash.
func (s *spectator) giveUp() {
	n, id := s.a.nodes[s.host], s.poll
	s.poll = 0
	if n == nil {
		return
	}
	if result := n.EndWatch(id); result != nil {
		s.take(result)
	}
}

// look takes in an answer, if there is one.
func (s *spectator) look() {
	answer, there := s.a.answers[s.poll]
	if !there {
		return
	}
	s.poll = 0
	switch {
	case answer.Void:
		s.a.stats.void++
	case s.a.rand.IntN(10) > 0: // or it is lost
		s.take(answer.Result)
	}
}

func (s *spectator) take(body []byte) {
	result, err := wire.DecodeWatchResult(body)
	if err != nil {
		s.fail("%v", err)
	}
	after, err := wire.DecodeWatchToken(result.Token)
	if err != nil {
		s.fail("%v", err)
	}
	if !s.begun {
		s.begun, s.token = true, wire.WatchToken{Span: after.Span, Cursor: []byte(s.from)}
	}
	for i := range result.Events {
		if s.a.rand.IntN(40) == 0 {
			return // the client crashes, and goes on from here
		}
		s.see(&result.Events[i])
		s.token.Pass(&result.Events[i], result.Events[i+1:], &after)
	}
	if result.Resync {
		s.a.stats.resyncs++
		s.current = false
	}
	s.clear(&after)
	s.token = after
	s.current = s.current || result.Current
}

// clear forgets the keys of which an answer tells that they do not exist, by telling of others behind them.
func (s *spectator) clear(after *wire.WatchToken) {
	if s.token.Cursor == nil || string(s.token.Cursor) == string(after.Cursor) && after.Cursor != nil {
		return
	}
	for key, one := range s.view {
		if key >= string(s.token.Cursor) && (after.Cursor == nil || key < string(after.Cursor)) {
			one.found, one.version = false, 0
		}
	}
}

func (s *spectator) see(e *wire.WatchEvent) {
	s.a.stats.events++
	key := string(e.Key)
	one := s.view[key]
	if one == nil {
		one = &sight{}
		s.view[key] = one
	}
	switch e.Kind {
	case wire.WatchState:
		for other, passed := range s.view { // keys between the last told and this one do not exist
			if other >= string(s.token.Cursor) && other < key {
				passed.found, passed.version = false, 0
			}
		}
		if one.version > e.Version {
			s.fail("%s goes back from version %d to %d", key, one.version, e.Version)
		}
		one.found, one.value, one.version = true, string(e.Value), e.Version
		return
	case wire.WatchAdd:
		sum := int64(0)
		if one.found {
			var err error
			if sum, err = strconv.ParseInt(one.value, 10, 64); err != nil {
				s.fail("%s holds %q, and %d is added", key, one.value, e.Delta)
			}
		}
		one.found, one.value = true, strconv.FormatInt(sum+e.Delta, 10)
		if one.version > 0 {
			one.version++
		}
		return
	default:
	}
	if one.version > 0 && e.Version != one.version+1 {
		s.fail("%s: version %d after %d, by %v", key, e.Version, one.version, e.Instance)
	}
	one.found, one.value, one.version = e.Kind == wire.WatchPut, string(e.Value), e.Version
}

// matches reports whether a spectator sees what a replica holds, and what differs.
func (s *spectator) matches(n *node.Node) (difference string) {
	if !s.current {
		return "the state was not told"
	}
	err := n.State().Scan(epaxos.SpaceState, s.from, s.end, func(key string, saved []byte) bool {
		want, ok, err := execution.KV{}.Event(&execution.Change{Key: key, Kind: execution.ChangePut, Value: saved})
		if err != nil || !ok {
			s.fail("%v", err)
		}
		one := s.view[key]
		if one == nil {
			one = &sight{}
		}
		found := want.Kind == execution.EventPut
		if one.found != found || found && one.value != string(want.Value) ||
			one.version != 0 && one.version != want.Version {
			difference = fmt.Sprintf("%s is %+v, the replica holds %+v", key, *one, want)
		}
		return difference == ""
	})
	if err != nil {
		s.fail("%v", err)
	}
	return difference
}

// judge lets the audience look until it has seen everything, at replicas that have come to rest.
func (a *audience) judge(voters []int, turns func()) {
	a.t.Helper()
	for _, s := range a.all {
		if s.poll != 0 {
			s.giveUp()
		}
		difference := ""
		for range 3000 {
			s.ask(voters[a.rand.IntN(len(voters))])
			turns()
			if s.poll != 0 {
				s.look()
			}
			if s.poll != 0 {
				s.giveUp()
			}
			if difference = s.matches(a.nodes[voters[0]]); difference == "" {
				break
			}
		}
		if difference != "" {
			s.fail("%s, and there is nothing more to tell", difference)
		}
	}
}

func (a *audience) limitJournals() {
	for i := range a.configs {
		a.configs[i].Watching.JournalBytes = []int{1, 3000, 0}[a.rand.IntN(3)]
	}
}

// SPECTATORS is how many seeds.
func TestSpectators(t *testing.T) {
	seeds, err := strconv.Atoi(cmp.Or(os.Getenv("SPECTATORS"), "12"))
	if err != nil {
		t.Fatal(err)
	}
	if testing.Short() {
		seeds = min(seeds, 3)
	}
	events, resyncs := 0, 0
	for seed := range uint64(seeds) { //nolint:gosec // few
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newTurmoil(t, seed)
			a := newAudience(w.company, w.rand, func(id epaxos.ProposalID) { w.asked[id] = call{control: true} })
			a.limitJournals()
			for i := range w.nodes {
				w.restart(i)
			}
			for range 6000 {
				w.step()
				for range 2 {
					a.act()
				}
				if w.chance(15) {
					a.write()
				}
			}
			w.heal()
			w.check()
			var voters []int
			for _, m := range w.newest().Voters {
				voters = append(voters, int(m.Replica)-1)
			}
			a.judge(voters, func() {
				for i := range w.nodes {
					w.save(i)
					w.execute(i)
				}
			})
			t.Logf("%+v", a.stats)
			events, resyncs = events+a.stats.events, resyncs+a.stats.resyncs
		})
	}
	if !t.Failed() && (events == 0 || resyncs == 0) {
		t.Fatalf("%d events, %d resyncs: this tests nothing", events, resyncs)
	}
}

func TestSpectatorsOfAnUpheaval(t *testing.T) {
	seeds, err := strconv.Atoi(cmp.Or(os.Getenv("SPECTATORS"), "8"))
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(seeds) { //nolint:gosec // few
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c := newCompany(t, 3)
			m := &upheaval{
				company: c, rand: rand.New(rand.NewPCG(seed, 2)), bad: int(seed % 4 * 3), //nolint:gosec // reproducible
				down: make([]bool, 3), retired: make([]bool, 3), sent: map[epaxos.ProposalID]string{},
			}
			c.lost = m.loses
			a := newAudience(c, m.rand, func(epaxos.ProposalID) {})
			a.limitJournals()
			for i := range c.nodes {
				c.crash(i)
			}
			for range 60 {
				m.step()
				for range 20 {
					a.act()
				}
				a.write()
			}
			m.calm()
			m.check()
			var voters []int
			for _, one := range m.newest().Voters {
				voters = append(voters, int(one.Replica)-1)
			}
			a.judge(voters, func() { m.settle(50 * time.Millisecond) })
			t.Logf("%+v", a.stats)
		})
	}
}
