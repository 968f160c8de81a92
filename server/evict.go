package server

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// What a voter has not executed all others keep. So one that stays away is told of loudly, and left out if that is
// configured.

// Eviction says when a voter that lags is removed. Zero values are never.
type Eviction struct {
	After     time.Duration // without any progress, while there is something to do
	Instances uint64        // that it has not executed and the others have
	LogBytes  int           // that are kept, for the one that is furthest behind
}

const (
	lagWarning  = 10 * time.Second // without progress, after which the log tells of it,
	lagRepeat   = time.Minute      // again and again
	evictStride = 10 * time.Second // between the voters that propose to evict the same one
)

// lagging is a voter that is behind.
type lagging struct {
	warned time.Duration // when the log last told of it
	due    time.Duration // since when it is to be evicted; 0 if it is not
}

// watchLags looks at who holds the others back. It runs on the replica's goroutine, twice a second.
func (s *Server) watchLags(now time.Duration, n *node.Status) {
	before := s.lagging
	s.lagging = map[epaxos.ReplicaID]*lagging{}
	for _, lag := range n.Watermarks.Lags {
		if lag.Instances == 0 {
			continue
		}
		l := before[lag.Replica]
		if l == nil {
			l = &lagging{}
		}
		s.lagging[lag.Replica] = l
		if lag.For >= lagWarning && (l.warned == 0 || now-l.warned >= lagRepeat) {
			l.warned = now
			s.log.Warn("a replica holds the others back: bring it back, remove or replace it (epaxos member)",
				"laggard", lag.Replica, "instances", lag.Instances, "silent", lag.For.Truncate(time.Second))
		}
		s.considerEviction(now, l, lag, n)
	}
}

func (s *Server) considerEviction(now time.Duration, l *lagging, lag epaxos.Lag, n *node.Status) {
	limits := &s.config.Eviction
	over := limits.After > 0 && lag.For >= limits.After ||
		limits.Instances > 0 && lag.Instances >= limits.Instances ||
		limits.LogBytes > 0 && n.LogBytes >= limits.LogBytes && lag.Replica == n.Held.Replica
	if !over || n.Role != node.Voter || !n.Admitted {
		l.due = 0
		return
	}
	if l.due == 0 {
		l.due = max(now, 1)
	}
	next, turn := withoutLaggard(&n.Members, lag.Replica, s.config.Replica)
	if next == nil || now-l.due < time.Duration(turn)*evictStride {
		return
	}
	l.due = now // tried again after another turn, should this come to nothing
	s.log.Warn("evicts a replica that holds the others back", "laggard", lag.Replica, "instances", lag.Instances,
		"silent", lag.For.Truncate(time.Second), "epoch", next.Epoch)
	control := wire.Control{Kind: wire.ControlReconfigure, Members: next}
	payload := wire.AppendControl(nil, &control)
	s.propose(now, &call{
		id: s.calls.next(), request: epaxos.Request{Payload: payload}, footprint: control.Footprint(),
		done: func(reply Reply, err error) {
			result, unread := wire.DecodeControlResult(reply.Result)
			if err = cmp.Or(err, unread); err == nil && result.Refused != "" {
				err = errors.New(result.Refused)
			}
			if err != nil {
				s.log.Warn("the eviction came to nothing", "laggard", lag.Replica, "reason", err)
			}
		},
	})
}

// withoutLaggard is the membership without one voter, and after how many others it is this replica's turn to
// propose it. There is none if it would tolerate no crash: then a person has to decide.
func withoutLaggard(m *wire.Members, laggard, self epaxos.ReplicaID) (next *wire.Members, turn int) {
	n := m.Clone()
	n.Epoch++
	n.Voters = slices.DeleteFunc(n.Voters, func(v wire.Member) bool { return v.Replica == laggard })
	n.F = min(n.F, (len(n.Voters)-1)/2)
	n.E = min(n.E, epaxos.LargestE(len(n.Voters), max(n.F, 0)))
	turn = slices.IndexFunc(n.Voters, func(v wire.Member) bool { return v.Replica == self })
	if n.F < 1 || turn < 0 || len(n.Voters) == len(m.Voters) {
		return nil, 0
	}
	return &n, turn
}
