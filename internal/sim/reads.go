package sim

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Reads without an instance (docs/protocol.md, Q). Those that must be linearizable are judged by the histories, as all
// else is. Those of a session, and stale ones, are judged here, by the versions of keys, which only ever grow.

// least is the lowest version of a key that a read may show.
type least struct {
	key     string
	version uint64
	why     string
}

// reads says whether a request goes without an instance, and which kind of read it is; 0 is none.
func (w *world) reads(o *operation) node.Consistency {
	draw := fingerprint(w.options.Seed)
	draw.add(uint64(w.seq)) //nolint:gosec // small
	draw.add(streamReads)
	ranged := o.op.Kind == wire.OpRange && o.op.Limit == 0 && o.op.Options == 0
	if o.op.Kind != wire.OpGet && !ranged || float64(draw>>40)/(1<<24) >= w.setup.reads {
		return 0
	}
	switch {
	case (draw&3 < 2 || !w.setup.old) && ranged:
		return 0 // it has to stand in one place of the order
	case draw&3 < 2 || !w.setup.old:
		return node.Linearizable
	case draw&3 == 2:
		return node.Session
	default:
		return node.Stale
	}
}

// read asks a replica, or somebody else where the read may show old values: whoever runs.
func (c *client) read(i int, id epaxos.ProposalID, o *operation, footprint epaxos.Footprint) error {
	w := c.w
	r := node.Read{Proposal: id, Payload: o.payload, Footprint: footprint, Consistency: o.consistency}
	switch o.consistency {
	case node.Session:
		r.Token = c.token
		o.least = c.mustShow(&o.op)
	case node.Stale:
		w.freshen(i)
		o.least = w.mustShow(&o.op, w.hosts[i].fresh.asOf)
	}
	w.hosts[i].reading[string(o.payload)] = true
	return w.hosts[i].node.Read(w.local(i), r)
}

// old reports whether a read may show old values.
func (o *operation) old() bool { return o.consistency == node.Session || o.consistency == node.Stale }

// elsewhere is where a read goes that any replica may serve, learners too.
func (c *client) elsewhere(i int) int {
	if j := c.rand.IntN(2 * len(c.w.hosts)); j < len(c.w.hosts) && c.w.ready(j) {
		return j
	}
	return i
}

// lasting reports whether the versions of a key tell what is new: it is never deleted, so it is never absent again.
func lasting(key string) bool {
	return !strings.HasPrefix(key, deletedKey) && !strings.HasPrefix(key, forgottenKey)
}

// concerns reports whether a read shows a key.
func concerns(op *wire.Op, key string) bool {
	if op.Kind != wire.OpRange {
		return key == string(op.Key)
	}
	return key >= string(op.Key) && (len(op.End) == 0 || key < string(op.End))
}

// mustShow is what a client has seen of what it reads.
func (c *client) mustShow(op *wire.Op) []least {
	var all []least
	for key, version := range c.seen { // the worst is told, so the order does not matter
		if concerns(op, key) {
			all = append(all, least{key, version, fmt.Sprintf("client %d has seen that", c.number)})
		}
	}
	return all
}

// shown is a version that somebody was told.
type shown struct {
	at      time.Duration
	version uint64 // the highest so far
}

// mustShow is what was told to anybody before an instant.
func (w *world) mustShow(op *wire.Op, before time.Duration) []least {
	var all []least
	if before == 0 {
		return nil
	}
	for key, told := range w.told {
		if !concerns(op, key) {
			continue
		}
		n := sort.Search(len(told), func(i int) bool { return told[i].at >= before })
		if n > 0 {
			all = append(all, least{key, told[n-1].version, fmt.Sprintf("it is as of %v, when that had been told", before)})
		}
	}
	return all
}

// freshness is what a host knows of the age of its state, as the server finds it out.
type freshness struct {
	asOf   time.Duration // everything that was answered anywhere before is executed here; 0 is unknown
	asking epaxos.ProposalID
	began  time.Duration
}

// freshEvery is how often a replica that is asked for stale reads finds out how old its state is.
const freshEvery = 100 * time.Millisecond

// freshen asks how old the state of a host is.
func (w *world) freshen(i int) {
	h := w.hosts[i]
	if h.fresh.asking != 0 || w.now-h.fresh.asOf < freshEvery {
		return
	}
	w.seq++
	id := epaxos.ProposalID(w.seq) //nolint:gosec // small
	err := h.node.Read(w.local(i), node.Read{
		Proposal: id, Footprint: epaxos.Footprint{{Mode: epaxos.Everything}}, Consistency: node.Linearizable, Point: true,
	})
	if err == nil {
		h.fresh.asking, h.fresh.began = id, w.now
	}
}

// fresh takes the answer to that, and reports whether it is one.
func (h *host) freshened(a *node.Answer) bool {
	if a.Proposal != h.fresh.asking || a.Proposal == 0 {
		return false
	}
	h.fresh.asking = 0
	if !a.Void {
		h.fresh.asOf = h.fresh.began
	}
	return true
}

// saw takes what an answer shows of keys that last.
func (c *client) saw(i int, o *operation, r *wire.Result, token node.Token) {
	versions := map[string]uint64{}
	versionsOf(&o.op, r, versions)
	for _, l := range o.least {
		if version := versions[l.key]; version < l.version {
			c.w.worst(found("linearizability", "r%d shows client %d %q at version %d, by a read of kind %d from %v to %v; %s "+
				"at version %d", replicaOf(i), c.number, l.key, version, o.consistency, o.called, c.w.now, l.why, l.version))
		}
	}
	c.w.stop(c.w.found)
	if o.consistency == node.Session {
		c.w.report.OfSession++
	}
	if o.consistency == node.Stale {
		c.w.report.Stale++
	}
	if len(token.Deps) > 0 || o.consistency != node.Stale {
		for key, version := range versions {
			c.seen[key] = max(c.seen[key], version)
		}
		c.raise(token)
	}
	if o.old() {
		return
	}
	for key, version := range versions {
		if told := c.w.told[key]; len(told) > 0 {
			version = max(version, told[len(told)-1].version)
		}
		c.w.told[key] = append(c.w.told[key], shown{c.w.now, version})
	}
}

// worst keeps the least of several violations, so that a seed tells the same each time.
func (w *world) worst(v *Violation) {
	if w.found == nil || v.Text < w.found.Text {
		w.found = v
	}
}

// versionsOf collects the versions of keys that last that a result tells.
func versionsOf(op *wire.Op, r *wire.Result, into map[string]uint64) {
	switch {
	case op.Kind == wire.OpTxn:
		branch := op.Then
		if !r.Succeeded {
			branch = op.Else
		}
		for i := range min(len(branch), len(r.Results)) {
			versionsOf(&branch[i], &r.Results[i], into)
		}
	case op.Kind == wire.OpRange:
		for i := range r.Pairs {
			if key := string(r.Pairs[i].Key); lasting(key) {
				into[key] = max(into[key], r.Pairs[i].Version)
			}
		}
	case !op.Kind.Ranged() && lasting(string(op.Key)):
		into[string(op.Key)] = max(into[string(op.Key)], r.Version)
	}
}

// raise makes the client's token name what another names.
func (c *client) raise(token node.Token) {
	own := wire.Token{Epoch: c.token.Epoch, Deps: slices.Clone(c.token.Deps)}
	own.Raise(wire.Token{Epoch: token.Epoch, Deps: slices.Clone(token.Deps)})
	c.token = node.Token{Epoch: own.Epoch, Deps: own.Deps}
}

// listen takes over the token of another client, at times, with what that has seen.
func (c *client) listen() {
	if c.rand.IntN(20) > 0 {
		return
	}
	other := c.w.clients[c.rand.IntN(len(c.w.clients))]
	c.raise(other.token)
	for key, version := range other.seen {
		c.seen[key] = max(c.seen[key], version)
	}
}

// checkValues checks that one version of a key has one value, whoever reads it and how. Where increments commute
// replicas may differ meanwhile, and a version that began anew says nothing.
func checkValues(operations []*operation) *Violation {
	type written struct {
		key     string
		version uint64
	}
	added := map[string]bool{}
	for _, o := range operations {
		if o.op.Kind == wire.OpAdd {
			added[string(o.op.Key)] = true
		}
	}
	values := map[written]string{}
	for _, o := range operations {
		key := string(o.op.Key)
		if !o.known || added[key] || strings.HasPrefix(key, forgottenKey) || o.result.Version == 0 {
			continue
		}
		value := string(o.op.Value)
		switch {
		case o.op.Kind == wire.OpGet && o.result.Found:
			value = string(o.result.Value)
		case o.op.Kind != wire.OpPut:
			continue
		}
		at := written{key, o.result.Version}
		if other, known := values[at]; known && other != value {
			return found("linearizability", "%q at version %d is both %q and %q", key, at.version, other, value)
		}
		values[at] = value
	}
	return nil
}
