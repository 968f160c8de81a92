package recipes

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// book is what a run checks. It believes nothing that the recipes say of themselves but what they promise.
type book struct {
	w *world
	// honest: no process is paused, and no clock jumps or goes at another rate. Then no two may even believe that
	// they hold a lock at one time, with or without a fence.
	honest bool

	mu        sync.Mutex
	tokens    map[string]string // who has had a token of a lock
	believers map[string][]*believer
	resources map[string]*resource
	terms     map[uint64]string // the candidate of each term
	items     map[string]*item
	drained   []*item
	lostTakes int // takes of unknown outcome
	added     int64
	doubtful  int64 // adds of unknown outcome
	tally     tally
}

// tally shows that a run has met what it is for.
type tally struct {
	acquired, waited, cancelled, lost, busy int
	stale                                   int // accesses that a fence refused
	overlaps                                int // of holders that both believed
	observed, items, adds                   int
	unknowns, pauses, kills, crashes, jumps int
	trace                                   uint64 // digest of the run
}

func (t *tally) add(o tally) {
	t.acquired += o.acquired
	t.waited += o.waited
	t.cancelled += o.cancelled
	t.lost += o.lost
	t.busy += o.busy
	t.stale += o.stale
	t.overlaps += o.overlaps
	t.observed += o.observed
	t.items += o.items
	t.adds += o.adds
	t.unknowns += o.unknowns
	t.pauses += o.pauses
	t.kills += o.kills
	t.crashes += o.crashes
	t.jumps += o.jumps
	t.trace ^= o.trace
}

func newBook(w *world) *book {
	return &book{
		w: w, tokens: map[string]string{}, believers: map[string][]*believer{}, resources: map[string]*resource{},
		terms: map[uint64]string{}, items: map[string]*item{},
	}
}

func (b *book) violated(name, format string, args ...any) {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	b.w.fail(name, format, args...)
}

// believer is one that believes to hold a lock.
type believer struct {
	who     string
	token   uint64
	session *Session
	writes  bool
	left    bool
}

// took notes that somebody was told that it holds a lock.
func (b *book) took(lock string, one *believer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tally.acquired++
	name := fmt.Sprintf("%s/%d", lock, one.token)
	if before := b.tokens[name]; before != "" || one.token == 0 {
		b.violated("exclusion", "%s and %s have token %d of %s", before, one.who, one.token, lock)
	}
	b.tokens[name] = one.who
	if one.session.Err() != nil {
		return // it was told so at the same moment
	}
	kept := b.believers[lock][:0]
	for _, other := range b.believers[lock] {
		if other.left || other.session.Err() != nil {
			continue
		}
		kept = append(kept, other)
		if !one.writes && !other.writes {
			continue
		}
		b.tally.overlaps++
		if b.honest {
			b.violated("exclusion", "%s holds %s with token %d, and so does %s with token %d",
				one.who, lock, one.token, other.who, other.token)
		}
	}
	b.believers[lock] = append(kept, one)
}

func (b *book) leaves(one *believer) {
	b.mu.Lock()
	one.left = true
	b.mu.Unlock()
}

// resource is what a lock is for: a number with a fence. It checks itself what the fence lets in.
type resource struct {
	fence  Fence
	value  int
	writes int
	last   uint64 // the greatest token that was let in
	wrote  uint64 // the greatest that has written
}

func (b *book) resource(lock string) *resource {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.resources[lock] == nil {
		b.resources[lock] = &resource{}
	}
	return b.resources[lock]
}

// access is one message to a resource.
type access struct {
	lock   string
	token  uint64
	reads  bool // under a lock for reading
	change bool
	value  int
}

// reach carries an access over, which may take long, and the answer back.
func (b *book) reach(p *process, r *rand.Rand, a access) (value int, err error) {
	p.gate([]byte(a.lock))
	time.Sleep(time.Duration(r.Int64N(int64(3 * time.Millisecond))))
	if r.IntN(20) == 0 && !b.honest {
		time.Sleep(time.Duration(r.Int64N(int64(4 * time.Second))))
	}
	one := b.resource(a.lock)
	b.mu.Lock()
	value, err = b.admit(one, a)
	b.mu.Unlock()
	time.Sleep(time.Duration(r.Int64N(int64(3 * time.Millisecond))))
	p.gate([]byte(a.lock))
	return value, err
}

func (b *book) admit(one *resource, a access) (int, error) {
	ask := one.fence.Write
	if a.reads {
		ask = one.fence.Read
	}
	if err := ask(a.token); err != nil {
		if !errors.Is(err, ErrStale) {
			b.violated("fencing", "the fence says %v", err)
		}
		b.tally.stale++
		return 0, err
	}
	if a.token < one.wrote || a.token < one.last && !a.reads {
		b.violated("fencing", "token %d is let in after %d, and %d has written", a.token, one.last, one.wrote)
	}
	one.last = max(one.last, a.token)
	if !a.reads {
		one.wrote = max(one.wrote, a.token)
	}
	if a.change {
		one.value = a.value
		one.writes++
	}
	return one.value, nil
}

// term notes who leads in a term, as somebody has heard.
func (b *book) term(token uint64, candidate string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if before := b.terms[token]; before != "" && before != candidate {
		b.violated("exclusion", "%s and %s lead in term %d", before, candidate, token)
	}
	b.terms[token] = candidate
}

// item is what was put into a queue.
type item struct {
	value        string
	began, ended time.Duration
	put          bool // certainly
	taken        int
}

func (b *book) puts(value string) *item {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := &item{value: value, began: b.w.now(), ended: -1}
	b.items[value] = i
	return i
}

func (b *book) put(i *item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i.put, i.ended = true, b.w.now()
	b.tally.items++
}

func (b *book) took1(value string) *item {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.items[value]
	if i == nil {
		b.violated("once", "item %q was never put", value)
		return &item{}
	}
	i.taken++
	if i.taken > 1 {
		b.violated("once", "item %q was taken twice", value)
	}
	return i
}

// check compares, at the end, what is there with what was told.
func (b *book) check(counter int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for lock, r := range b.resources {
		if r.value != r.writes {
			b.violated("exclusion", "the resource of %s has value %d after %d increments under its lock",
				lock, r.value, r.writes)
		}
	}
	missing := 0
	for _, i := range b.items {
		if i.put && i.taken == 0 {
			missing++
		}
	}
	if missing > b.lostTakes {
		b.violated("once", "%d items are lost, and the outcome of %d takes is unknown", missing, b.lostTakes)
	}
	for i, one := range b.drained {
		for _, later := range b.drained[i+1:] {
			if later.ended >= 0 && later.ended < one.began {
				b.violated("order", "item %q comes out before %q", one.value, later.value)
			}
		}
	}
	if counter < b.added || counter > b.added+b.doubtful {
		b.violated("once", "the counter is %d; %d was added, and %d perhaps", counter, b.added, b.doubtful)
	}
}
