package node

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/storage"
)

// sender hands this replica's state to peers.
type sender struct {
	config  Transfer
	askers  []*asker // ascending by replica
	next    int      // whose turn it is
	credit  int      // bytes that may leave; a single part may overdraw it
	counted time.Duration
	served  uint64
}

// asker is a peer that takes the state.
type asker struct {
	replica  epaxos.ReplicaID
	request  *epaxos.StateRequest // not answered yet
	heard    time.Duration
	base     view // which it has
	target   view // which it takes
	boundary view // of an epoch that began meanwhile
}

// view is the state as of a group of the own log.
type view struct {
	group    uint64
	epoch    epaxos.Epoch
	boundary bool // with which that epoch began
	pinned   bool
	executed epaxos.Dependencies
}

const (
	askerPatience    = 30 * time.Second // a view is kept so long for one that has fallen silent
	chunkWriteBytes  = 32               // of a write in a part, beside its key and value
	transferBurst    = 8                // parts of a second's bytes that may leave at once
	transferBytesMax = 1 << 30          // bounds the rate, so that it can be counted in nanoseconds
)

func (s *sender) waits() bool {
	return slices.ContainsFunc(s.askers, func(a *asker) bool { return a.request != nil })
}

// hearRequest keeps the newest request of a peer until its turn comes.
func (n *Node) hearRequest(p *peer, m epaxos.StateRequest) {
	if !n.admitted || n.role == Joining {
		return
	}
	s := &n.sender
	at, found := slices.BinarySearchFunc(s.askers, p.Replica, func(a *asker, id epaxos.ReplicaID) int {
		return int(int64(a.replica) - int64(id))
	})
	if !found {
		s.askers = slices.Insert(s.askers, at, &asker{replica: p.Replica})
	}
	s.askers[at].request, s.askers[at].heard = &m, n.now
}

// serve answers what was asked, each peer once a turn, as far as the rate allows.
func (n *Node) serve() error {
	s := &n.sender
	s.refill(n.now)
	for range s.askers {
		if s.credit <= 0 {
			return nil
		}
		a := s.askers[s.next%len(s.askers)]
		s.next++
		if a.request == nil {
			continue
		}
		request := a.request
		a.request = nil
		chunk, err := n.part(a, request)
		if err != nil {
			return err
		}
		n.say(a.replica, chunk)
	}
	return nil
}

func (s *sender) refill(now time.Duration) {
	rate := min(s.config.BytesPerSecond, transferBytesMax)
	elapsed := min(now-s.counted, time.Second)
	s.credit = min(s.credit+int(elapsed)*rate/int(time.Second), max(rate/transferBurst, s.config.ChunkBytes))
	s.counted = now
}

// part cuts the next part of what a peer takes.
func (n *Node) part(a *asker, r *epaxos.StateRequest) (epaxos.StateChunk, error) {
	c := epaxos.StateChunk{Since: r.Since, At: r.At, Epoch: n.members.Epoch, After: r.After}
	if r.At == 0 && !n.choose(a, r) || r.At != 0 && !n.resume(a, r.At) {
		c.Gone = true
		return c, nil
	}
	v := &a.target
	c.At, c.Epoch, c.Boundary, c.Executed, c.Sum = v.group, v.epoch, v.boundary, v.executed, r.Sum
	if r.After == nil {
		c.Sum = chainStart(r.Since, v.group, v.epoch, v.boundary)
	}
	size := 0
	err := n.config.Store.Changes(r.Since, v.group, r.After, func(w storage.Write) error {
		more := len(w.Key) + len(w.Value) + chunkWriteBytes
		if len(c.Writes) > 0 && size+more > n.sender.config.ChunkBytes {
			return errEnough
		}
		size += more
		write := epaxos.StateWrite{Key: bytes.Clone(w.Key), Value: bytes.Clone(w.Value), Delete: w.Delete}
		c.Writes, c.Sum = append(c.Writes, write), chain(c.Sum, write)
		n.sender.served += uint64(len(w.Key) + len(w.Value))
		return nil
	})
	switch {
	case errors.Is(err, errEnough):
	case errors.Is(err, storage.ErrGone):
		c = epaxos.StateChunk{Since: r.Since, At: r.At, Epoch: n.members.Epoch, After: r.After, Gone: true}
	case err != nil:
		n.fault = fmt.Errorf("read the state of group %d for replica %d: %w", v.group, a.replica, err)
		return c, n.fault
	default:
		c.Last, c.Sum = true, chainEnd(c.Sum)
	}
	n.sender.credit -= size
	return c, nil
}

// choose settles which state a peer takes. One that is to vote gets the state with which the epoch began and no
// other (rule M9); a learner the newest, but none beyond a beginning that it has not seen (rule M11).
func (n *Node) choose(a *asker, r *epaxos.StateRequest) bool {
	switch {
	case r.Since > 0 && r.Since == a.target.group:
		n.release(&a.base)
		a.base, a.target = a.target, view{}
	case r.Since == 0 || r.Since != a.base.group:
		n.release(&a.base)
	}
	n.release(&a.target)
	held := n.config.Store.Held()
	_, votes, _ := n.members.Find(a.replica)
	switch {
	case r.Epoch > n.members.Epoch, votes && r.Epoch == n.members.Epoch:
		return false // it is ahead, or has begun
	case held > r.Since && (votes || r.Since > 0):
		a.target = view{group: held, epoch: n.members.Epoch, boundary: true}
		if a.boundary.group == held {
			a.target, a.boundary = a.boundary, view{}
		}
		a.target.executed = make(epaxos.Dependencies, n.membership.N())
	case votes:
		return false
	default:
		a.target = view{
			group: n.config.Store.Pin(), epoch: n.members.Epoch, pinned: true,
		}
		if n.core != nil {
			a.target.executed = n.core.Watermarks().Executed.Clone()
		}
	}
	if a.boundary.group <= a.target.group {
		n.release(&a.boundary)
	}
	return true
}

// resume goes on with a state that was chosen, perhaps before this replica has restarted.
func (n *Node) resume(a *asker, at uint64) bool {
	if a.target.group == at {
		return true
	}
	if at != n.config.Store.Held() {
		return false
	}
	n.release(&a.target)
	a.target = view{
		group: at, epoch: n.members.Epoch, boundary: true, executed: make(epaxos.Dependencies, n.membership.N()),
	}
	return true
}

func (n *Node) release(v *view) {
	if v.pinned {
		n.config.Store.Unpin(v.group)
	}
	*v = view{}
}

// pinBoundary keeps the state with which an epoch begins for those who follow this replica. The durable hold
// may end before they come to it, and with it what they have would end too.
func (n *Node) pinBoundary(e epaxos.Epoch) {
	for _, a := range n.sender.askers {
		n.release(&a.boundary)
		a.boundary = view{group: n.config.Store.Pin(), epoch: e, boundary: true, pinned: true}
	}
}

// settleAskers lets go of what is kept for peers that have fallen silent; of all of it if told to.
func (n *Node) settleAskers(all bool) {
	n.sender.askers = slices.DeleteFunc(n.sender.askers, func(a *asker) bool {
		if !all && n.now-a.heard < askerPatience {
			return false
		}
		n.release(&a.base)
		n.release(&a.target)
		n.release(&a.boundary)
		return true
	})
}
