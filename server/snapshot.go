package server

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/264bc8cf/epaxos/clients/gateway"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// A client copies the state of the cluster at one cut, while all serve: a barrier names the cut, the store keeps
// the state at it readable, and the client asks for one part after another.

const (
	snapshotsMax      = 4                // open at a time
	snapshotIdle      = time.Minute      // after which one that nobody asks about ends
	snapshotPartBytes = 384 << 10        // of keys and values in one part, unless a single one is larger
	snapshotBarrier   = 30 * time.Second // that the barrier may take
)

// snapshots are those that clients are copying. Any goroutine.
type snapshots struct {
	mu     sync.Mutex
	open   map[uint64]*snapshot
	unpin  func(group uint64)
	closed bool
}

// snapshot is one that a client is copying.
type snapshot struct {
	mu     sync.Mutex // held while a part is read
	group  uint64     // whose state is pinned
	expiry *time.Timer
}

var (
	errNoSnapshot   = errors.New("the replica has no such snapshot (any more): begin a new one")
	errSnapshots    = fmt.Errorf("%d snapshots are being copied from this replica: use another, or wait", snapshotsMax)
	errPartTooLarge = errors.New("an entry of the state does not fit in a part")
)

// snapshot serves one request of a client.
func (s *Server) snapshot(request gateway.Request, done func(gateway.Answer)) {
	r, err := wire.DecodeSnapshotRequest(request.Payload)
	switch {
	case err != nil:
		done(answerOf(Reply{Outcome: NotApplied}, fmt.Errorf("%w: %w", ErrInvalid, err)))
	case r.ID == 0:
		s.beginSnapshot(request.Deadline, done)
	case r.End:
		s.snapshots.end(r.ID)
		done(answerOf(Reply{}, nil))
	default:
		go func() { done(s.answerPart(r.ID, r.After, nil)) }() // the disk takes its time
	}
}

// beginSnapshot proposes the barrier, and answers with the first part.
func (s *Server) beginSnapshot(deadline time.Time, done func(gateway.Answer)) {
	if !s.snapshots.room() {
		done(gateway.Answer{
			Code: wire.CodeOverloaded, Outcome: NotApplied, Retry: true, Detail: errSnapshots.Error(),
		})
		return
	}
	if latest := time.Now().Add(snapshotBarrier); deadline.After(latest) {
		deadline = latest
	}
	barrier := wire.AppendControl(nil, &wire.Control{Kind: wire.ControlBarrier})
	begun := func(reply Reply, err error) {
		if err != nil {
			done(answerOf(reply, err))
			return
		}
		go func() { done(s.firstPart(reply)) }() // this is the replica's own goroutine
	}
	s.submitControl(&call{
		request: epaxos.Request{Payload: barrier}, deadline: deadline, done: begun, takesCut: true,
	})
}

func (s *Server) firstPart(reply Reply) gateway.Answer {
	result, err := wire.DecodeControlResult(reply.Result)
	if err == nil && reply.cut == 0 {
		err = errors.New("the disk is too full to keep the state at the cut")
	}
	if err != nil {
		s.snapshots.drop(reply.cut)
		return answerOf(Reply{Outcome: NotApplied}, err)
	}
	id, ok := s.snapshots.begin(reply.cut)
	if !ok {
		return answerOf(Reply{Outcome: NotApplied}, errSnapshots)
	}
	return s.answerPart(id, nil, &wire.SnapshotHead{
		Cluster: s.config.Cluster, Replica: s.config.Replica, Members: result.Members,
	})
}

// answerPart reads one part. The snapshot stays until the client has the last, which it may have to ask for twice.
func (s *Server) answerPart(id uint64, after []byte, head *wire.SnapshotHead) gateway.Answer {
	one := s.snapshots.find(id)
	if one == nil {
		return answerOf(Reply{Outcome: NotApplied}, fmt.Errorf("%w: %w", ErrInvalid, errNoSnapshot))
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	part := wire.SnapshotPart{ID: id, Head: head, Last: true}
	bytes := 0
	errFull := errors.New("full")
	err := s.store.Changes(0, one.group, after, func(w storage.Write) error {
		size := len(w.Key) + len(w.Value)
		if bytes > 0 && bytes+size > snapshotPartBytes {
			return errFull
		}
		if size > wire.ResultMax {
			return errPartTooLarge
		}
		bytes += size
		part.Entries = append(part.Entries, wire.SnapshotEntry{
			Key: append([]byte(nil), w.Key...), Value: append([]byte(nil), w.Value...),
		})
		return nil
	})
	if errors.Is(err, errFull) {
		part.Last, err = false, nil
	}
	if err != nil {
		s.snapshots.end(id)
		return answerOf(Reply{Outcome: NotApplied}, fmt.Errorf("read the state at group %d: %w", one.group, err))
	}
	return answerOf(Reply{Result: wire.AppendSnapshotPart(nil, &part)}, nil)
}

func (s *snapshots) room() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open) < snapshotsMax && !s.closed
}

// begin takes over a pinned group, or gives it back.
func (s *snapshots) begin(group uint64) (id uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) >= snapshotsMax || s.closed {
		if !s.closed {
			s.unpin(group)
		}
		return 0, false
	}
	for id == 0 || s.open[id] != nil {
		id = rand.Uint64() //nolint:gosec // no secret: who may ask at all has all rights
	}
	s.open[id] = &snapshot{group: group, expiry: time.AfterFunc(snapshotIdle, func() { s.end(id) })}
	return id, true
}

// drop gives back a group that no snapshot has taken over; 0 is none.
func (s *snapshots) drop(group uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if group != 0 && !s.closed {
		s.unpin(group)
	}
}

func (s *snapshots) find(id uint64) *snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.open[id]
	if one != nil {
		one.expiry.Reset(snapshotIdle)
	}
	return one
}

func (s *snapshots) end(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.open[id]; one != nil {
		one.expiry.Stop()
		delete(s.open, id)
		s.unpin(one.group)
	}
}

// close ends all, before the store is closed.
func (s *snapshots) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for id, one := range s.open {
		one.expiry.Stop()
		delete(s.open, id)
	}
}
