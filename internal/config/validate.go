package config

import (
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

const (
	nameBytesMax       = 64
	pathBytesMax       = 4096
	peerQueueBytesMin  = 1 * MiB // one frame between replicas
	memtableBytesMin   = 1 * MiB
	transferRateMin    = 64 * KiB
	journalBytesMin    = 64 * KiB
	memtableBytesMax   = 64 * MiB // what the store can cut a turn for
	tickMin            = time.Millisecond
	tickMax            = time.Second
	periodMax          = time.Hour
	peerConnectionsMax = 16
)

// Validate reports every setting that no replica can run with, as an *Error, or nil.
func (c Config) Validate() error {
	if problems := c.check(); len(problems) > 0 {
		return &Error{Problems: problems}
	}
	return nil
}

// checker gathers problems.
type checker struct{ problems []Problem }

func (ch *checker) that(holds bool, key, format string, args ...any) bool {
	if !holds {
		ch.problems = append(ch.problems, Problem{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	return holds
}

func (ch *checker) text(key, value string, bytesMax int) {
	ch.that(len(value) <= bytesMax, key, "has %d bytes: at most %d", len(value), bytesMax)
	if err := readPrintable(value); err != nil {
		ch.that(false, key, "%v", err)
	}
}

func (ch *checker) path(key, value string) {
	ch.that(value != "", key, "is empty: name a path")
	ch.text(key, value, pathBytesMax)
}

// reachable demands an address that others can dial.
func (ch *checker) reachable(key, address string) {
	if err := readAddress(address); err != nil {
		ch.that(false, key, "%v", err)
		return
	}
	host, _, _ := net.SplitHostPort(address)
	ch.that(!slices.Contains([]string{"", "0.0.0.0", "::"}, host), key,
		"%q names no host: others must be able to reach it", address)
}

func (ch *checker) between(key string, value, low, high int) {
	ch.that(low <= value && value <= high, key, "%d is impossible: between %d and %d", value, low, high)
}

func (c Config) check() []Problem {
	ch := &checker{}
	c.checkIdentity(ch)
	c.checkMembers(ch)
	c.checkQuorums(ch)
	c.checkLimits(ch)
	c.checkTiming(ch)
	c.checkUpkeep(ch)
	c.checkShell(ch)
	return ch.problems
}

func (c Config) checkIdentity(ch *checker) {
	ch.that(c.Cluster != ClusterID{}, "cluster", "is zero: take the id that init made")
	ch.that(c.Replica != 0, "replica", "0 is impossible: ids count from 1")
	ch.that(c.Incarnation != 0, "incarnation", "0 is impossible: take the one that init made")
	ch.text("name", c.Name, nameBytesMax)
	for _, path := range []struct{ key, value string }{
		{"dir", c.Dir}, {"tls.ca", c.TLS.CA}, {"tls.cert", c.TLS.Cert}, {"tls.key", c.TLS.Key},
	} {
		ch.path(path.key, path.value)
	}
	if err := readAddress(c.Listen); err != nil {
		ch.that(false, "listen", "%v", err)
	}
}

func (c Config) checkMembers(ch *checker) {
	n := len(c.Members)
	if !ch.that(n > 0, "members", "is empty: list the voters of the first epoch, or, to join, replicas to ask") {
		return
	}
	ch.that(n <= epaxos.VotersMax, "members", "has %d entries: at most %d", n, epaxos.VotersMax)
	for i, member := range c.Members {
		key := fmt.Sprintf("members[%d]", i)
		member.check(ch, key)
		for j, other := range c.Members[:i] {
			ch.that(other.ID != member.ID, key+".id", "%d is also the id of members[%d]", member.ID, j)
			ch.that(other.Addr != member.Addr, key+".addr", "%s is also the address of members[%d]", member.Addr, j)
			ch.that(other.Fingerprint != member.Fingerprint, key+".fingerprint",
				"is also that of members[%d]: every replica has a key of its own", j)
		}
	}
	self, listed := c.Self()
	if c.Join {
		ch.that(!listed, "join", "is true, but members list replica %d itself: they are whom it asks", c.Replica)
		return
	}
	ch.that(listed || c.Replica == 0, "members", "do not list replica %d, which this file configures", c.Replica)
	if listed {
		ch.that(self.Incarnation == c.Incarnation, "incarnation",
			"is %#x, but members say %#x of replica %d", c.Incarnation, self.Incarnation, c.Replica)
	}
}

func (m Member) check(ch *checker, key string) {
	ch.that(m.ID != 0, key+".id", "0 is impossible: ids count from 1")
	ch.that(m.Fingerprint != Fingerprint{}, key+".fingerprint", "is zero: take the one that init made")
	ch.that(m.Incarnation != 0, key+".incarnation", "0 is impossible: take the one that init made")
	ch.text(key+".name", m.Name, nameBytesMax)
	ch.reachable(key+".addr", m.Addr)
}

func (c Config) checkQuorums(ch *checker) {
	n, m := len(c.Members), c.Membership()
	// Between a majority quorum and unanimity; with f above it two quorums need not meet.
	if !ch.that(m.F >= 0 && n >= 2*m.F+1, "f",
		"%d crashes of %d members are too many: at most %d", m.F, n, max(n-1, 0)/2) {
		return
	}
	largest := epaxos.LargestE(n, m.F)
	ch.that(m.E >= 0 && m.E <= largest, "e",
		"%d is impossible with %d members and f=%d: at most %d", m.E, n, m.F, largest)
}

func (c Config) checkLimits(ch *checker) {
	ch.between("limits.in_flight", c.Limits.InFlight, 1, 1<<16)
	ch.between("limits.in_flight_per_key", c.Limits.InFlightPerKey, 1, 1<<16)
	ch.between("limits.queue", c.Limits.Queue, 1, 1<<20)
	ch.between("limits.client_requests", c.Limits.ClientRequests, 1, 1<<16)
	ch.bytes("limits.peer_queue_bytes", c.Limits.PeerQueueBytes, peerQueueBytesMin, 1*GiB)
	ch.between("limits.watches", c.Limits.Watches, 1, 1<<20)
	ch.bytes("watch.journal_bytes", c.Watch.JournalBytes, journalBytesMin, 16*GiB)
	ch.bytes("limits.transfer_rate", c.Limits.TransferRate, transferRateMin, 4*GiB)
	ch.bytes("storage.memtable_bytes", c.Storage.MemtableBytes, memtableBytesMin, memtableBytesMax)
	ch.that(c.Storage.ReserveBytes >= 4*c.Storage.MemtableBytes, "storage.reserve_bytes",
		"%v is too little: at least four memtables, %v, since the store dies on a full disk",
		c.Storage.ReserveBytes, 4*c.Storage.MemtableBytes)
}

func (ch *checker) bytes(key string, value, low, high Bytes) {
	ch.that(low <= value && value <= high, key, "%v is impossible: between %v and %v", value, low, high)
}

func (c Config) checkTiming(ch *checker) {
	t := c.Timing
	ch.that(tickMin <= t.Tick && t.Tick <= tickMax, "timing.tick",
		"%v is impossible: between %v and %v", t.Tick, tickMin, tickMax)
	for _, period := range []struct {
		key   string
		value time.Duration
	}{
		{"timing.heartbeat", t.Heartbeat}, {"timing.suspect", t.Suspect},
		{"timing.resend", t.Resend}, {"timing.recover_stagger", t.RecoverStagger},
	} {
		ch.that(t.Tick <= period.value && period.value <= periodMax, period.key,
			"%v is impossible: between one tick, %v, and %v", period.value, t.Tick, periodMax)
	}
	ch.that(t.Suspect >= 3*t.Heartbeat, "timing.suspect",
		"%v is too short: at least three heartbeats, %v, or one lost packet raises suspicion", t.Suspect, 3*t.Heartbeat)
}

const (
	scrubPeriodMin = time.Second
	scrubPeriodMax = 365 * 24 * time.Hour
	evictAfterMin  = 10 * time.Second
	evictLagMin    = 1000
	evictBytesMin  = 64 * MiB // the log of some seconds must not cost a replica its place
	formatMax      = 1 << 16  // what a program knows it tells itself
)

// checkUpkeep checks what is off where it is zero.
func (c Config) checkUpkeep(ch *checker) {
	period := c.Storage.ScrubPeriod
	ch.that(period == 0 || scrubPeriodMin <= period && period <= scrubPeriodMax, "storage.scrub_period",
		"%v is impossible: 0s, or between %v and %v", period, scrubPeriodMin, scrubPeriodMax)
	ch.between("format", c.Format, 1, formatMax)
	ch.between("format_max", c.FormatMax, 0, formatMax)
	after := c.Eviction.EvictAfter
	ch.that(after == 0 || after >= max(evictAfterMin, 3*c.Timing.Suspect), "membership.evict_after",
		"%v is too short: 0s, or at least %v: a restart must not cost a replica its place", after,
		max(evictAfterMin, 3*c.Timing.Suspect))
	ch.that(c.Eviction.EvictBytes == 0 || c.Eviction.EvictBytes >= evictBytesMin, "membership.evict_bytes",
		"%v is too little: 0, or at least %v", c.Eviction.EvictBytes, evictBytesMin)
	ch.that(c.Eviction.EvictLag == 0 || c.Eviction.EvictLag >= evictLagMin, "membership.evict_lag",
		"%d is too little: 0, or at least %d, which is what a moment of load makes", c.Eviction.EvictLag, evictLagMin)
}

func (c Config) checkShell(ch *checker) {
	ch.between("peer_connections", c.PeerConnections, 1, peerConnectionsMax)
	if err := readFormat(c.Log.Format); err != nil {
		ch.that(false, "log.format", "%v", err)
	}
}
