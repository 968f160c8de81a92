package clients

import (
	"fmt"
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

const (
	// tickBusy is the grain of deadlines, retries and suspicion while operations are open.
	tickBusy = 10 * time.Millisecond
	// sweepEvery is how often contexts of operations that nobody waits for are looked at.
	sweepEvery = 100 * time.Millisecond
	// settling probes follow a new connection ten times as fast as later ones, so that a client
	// finds its nearest replica within the first second.
	settling = 5
)

// watch is what the keeper remembers of one session between ticks. Only the keeper touches it.
type watch struct {
	nextProbe  time.Time
	probes     int
	seen       load
	stillSince time.Time // operations are open, and none has been answered, since
	silent     bool      // a probe is long overdue, and the operations were moved away
}

// keep is the client's only clock: deadlines, retries, probes, suspicion and the choice.
func (c *Client) keep() {
	defer c.wg.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	watches := make(map[*session]*watch)
	var swept time.Time
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-c.poke:
		case <-timer.C:
		}
		now := time.Now()
		full := now.Sub(swept) >= sweepEvery
		if full {
			swept = now
		}
		c.tick(watches, now, full)
		timer.Reset(c.nap(watches, now))
	}
}

func (c *Client) wakeKeeper() {
	select {
	case c.poke <- struct{}{}:
	default:
	}
}

// nap returns how long the keeper may sleep: until the next probe, or the next tick while
// operations are open. Start wakes the keeper if it finds it asleep.
func (c *Client) nap(watches map[*session]*watch, now time.Time) time.Duration {
	c.asleep.Store(true)
	c.mu.Lock()
	waiting := len(c.waiting)
	c.mu.Unlock()
	if len(c.slots) > 0 || c.operating.Load() > 0 || waiting > 0 {
		c.asleep.Store(false)
		return tickBusy
	}
	pause := c.probeEvery
	for _, w := range watches {
		pause = min(pause, w.nextProbe.Sub(now))
		if w.seen.probing > 0 { // without traffic, too, a silent replica is to be noticed in time
			pause = min(pause, c.probeEvery/4)
		}
	}
	return max(pause, time.Millisecond)
}

func (c *Client) tick(watches map[*session]*watch, now time.Time, full bool) {
	c.mu.Lock()
	sessions := slices.Clone(c.sessions)
	c.mu.Unlock()
	for s := range watches {
		if !slices.Contains(sessions, s) {
			delete(watches, s)
		}
	}
	for _, s := range sessions {
		w := watches[s]
		if w == nil {
			w = &watch{nextProbe: now, stillSince: now}
			watches[s] = w
		}
		if !now.Before(w.nextProbe) {
			c.schedule(w, now)
			s.startProbe()
		}
		c.inspect(s, w, s.sweep(now, full), now)
	}
	c.finishLeaving(now, full)
	c.mu.Lock()
	c.reselect(now)
	c.mu.Unlock()
	c.serveWaiting(now)
}

func (c *Client) schedule(w *watch, now time.Time) {
	every := c.probeEvery
	if w.probes < settling {
		every = max(every/10, probeEveryMin)
	}
	w.probes++
	w.nextProbe = now.Add(every)
}

// inspect draws the conclusions from what a session reports: is its replica silent, does it carry
// out what it is asked to?
func (c *Client) inspect(s *session, w *watch, l load, now time.Time) {
	answered, failed := l.answered != w.seen.answered, l.failed != w.seen.failed
	busy := l.open > 0 || failed
	stalled := false
	switch {
	case answered || !busy:
		w.stillSince, w.seen.failed = now, l.failed
	case now.Sub(w.stillSince) >= c.policy.StallAfter:
		stalled = true
		w.stillSince, w.seen.failed = now, l.failed
	}
	w.seen.answered, w.seen.probing = l.answered, l.probing

	silent := l.probing >= c.policy.SuspectAfter
	replica := s.hello.Replica
	c.mu.Lock()
	c.selector.overdue(replica, l.probing)
	if answered {
		c.selector.serving(replica)
	}
	if stalled {
		c.selector.hold(replica, now)
	}
	// What can be served elsewhere goes there, once; if there is nowhere, sending it here again would
	// only make things worse.
	evacuate := (stalled || silent && !w.silent) && c.selector.alternative(replica, now) != 0
	w.silent = silent && (w.silent || evacuate)
	if evacuate {
		c.log.Warn("replica does not answer", "replica", replica, "probe", l.probing, "open", l.open)
		c.reselect(now)
	}
	c.mu.Unlock()
	if evacuate {
		for _, f := range s.evacuate() {
			c.rescue(f, replica)
		}
	}
}

// serveWaiting ends the operations in waiting whose time is up, and places those whose pause is over.
func (c *Client) serveWaiting(now time.Time) {
	var due []*Future
	var ended []ending
	c.mu.Lock()
	kept := c.waiting[:0]
	for _, f := range c.waiting {
		cause := f.overdue(now)
		switch {
		case f.finished():
		case cause != nil:
			ended = append(ended, ending{f, cause})
		case now.Before(f.notBefore):
			kept = append(kept, f)
		default:
			due = append(due, f)
		}
	}
	clear(c.waiting[len(kept):])
	c.waiting = kept
	c.mu.Unlock()
	for _, e := range ended {
		e.future.expire(e.cause)
	}
	for _, f := range due {
		c.place(f)
	}
}

// reselect asks the selector, and redirects new operations if its choice changed. The caller
// holds mu.
func (c *Client) reselect(now time.Time) {
	was := c.selector.current
	choice := c.selector.choose(now)
	s := c.session(choice)
	if c.closed || s == c.current.Load() {
		return
	}
	c.current.Store(s)
	if was != choice {
		c.log.Info("moved", "from", was, "to", choice)
	}
}

// attach makes a session available. It returns the one that the replica has already, if any, and no
// error, or why the replica is of no use.
func (c *Client) attach(l *link, s *session) (other *session, err error) {
	now := time.Now()
	replica := s.hello.Replica
	c.mu.Lock()
	l.replica = replica
	if c.closed {
		c.mu.Unlock()
		return nil, ErrClosed
	}
	former := c.learn(&s.hello)
	other = c.session(replica)
	switch {
	case !c.isMember(replica):
		err = errLeft
	case other == nil:
		c.sessions = append(c.sessions, s)
		c.selector.up(replica)
		c.selector.serves(replica, c.votes(replica))
		c.selector.observe(replica, s.helloIn)
		c.selector.drain(replica, s.hello.Draining)
	}
	c.reselect(now)
	c.mu.Unlock()
	c.relieve(former)
	if other != nil || err != nil {
		return other, err
	}
	c.firstUp.open()
	c.wakeKeeper()
	return nil, nil
}

func (c *Client) detach(s *session) {
	is := func(other *session) bool { return other == s }
	c.mu.Lock()
	c.leaving = slices.DeleteFunc(c.leaving, is)
	if i := slices.IndexFunc(c.sessions, is); i >= 0 {
		c.sessions = slices.Delete(c.sessions, i, i+1)
		c.selector.down(s.hello.Replica)
		c.reselect(time.Now())
	}
	if len(c.sessions) == 0 {
		for _, l := range c.links {
			l.wake() // resting ones are wanted again
		}
	}
	c.mu.Unlock()
	c.wakeKeeper()
}

// measured takes the round trip of a probe.
func (c *Client) measured(s *session, rtt time.Duration) {
	c.mu.Lock()
	if c.session(s.hello.Replica) == s {
		c.selector.observe(s.hello.Replica, rtt)
		c.reselect(time.Now())
	}
	c.mu.Unlock()
}

// greeted takes a hello that was sent again, because the replica drains or the members changed.
func (c *Client) greeted(s *session, hello *wire.ServerHello) {
	c.mu.Lock()
	if c.session(s.hello.Replica) == s {
		c.selector.drain(s.hello.Replica, hello.Draining)
	}
	former := c.learn(hello)
	c.reselect(time.Now())
	c.mu.Unlock()
	c.relieve(former)
}

// refused notes that a replica could not serve, so that the next operations need not find out.
func (c *Client) refused(replica epaxos.ReplicaID) {
	now := time.Now()
	c.mu.Lock()
	c.selector.hold(replica, now)
	c.reselect(now)
	c.mu.Unlock()
}

func (c *Client) linkFailed(l *link, err error, refused bool) {
	c.log.Debug("cannot connect", "error", err)
	c.mu.Lock()
	defer c.mu.Unlock()
	l.lastErr, l.refused = err, refused
	if !slices.ContainsFunc(c.links, func(l *link) bool { return !l.refused }) {
		c.hopeless.open()
	}
}

// checkHello says whether the replica belongs to our cluster and speaks our format.
func (c *Client) checkHello(hello *wire.ServerHello) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cluster == ([16]byte{}) {
		c.cluster = hello.Cluster
	}
	switch {
	case hello.Cluster != c.cluster:
		return fmt.Errorf("%w: it is of %x, this client of %x; correct the endpoint or the cluster",
			errWrongCluster, hello.Cluster, c.cluster)
	case hello.Format < wire.FormatMin || hello.Format > wire.Format:
		return fmt.Errorf("%w hello: the replica answers in format %d, this client reads %d to %d; upgrade the older",
			wire.ErrMalformed, hello.Format, wire.FormatMin, wire.Format)
	case hello.Replica == 0:
		return fmt.Errorf("%w: hello of replica 0", wire.ErrMalformed)
	}
	return nil
}
