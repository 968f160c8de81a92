package node

import (
	"errors"
	"fmt"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// Compaction says when old groups of the log are deleted (docs/protocol.md, K7).
type Compaction struct {
	Groups int // none is, before so many of the oldest
	Bytes  int // or so many bytes of them can be
	// Segment is how many groups count as one: they are deleted together.
	Segment int
}

// The defaults of Compaction keep a log of a few seconds, and one deleting turn in hundreds.
const (
	compactionGroups  = 256
	compactionBytes   = 4 << 20
	compactionSegment = 64
)

const (
	segmentBytes = 1 << 20 // ends a segment before it has all its groups
	dropMax      = 512     // groups that one turn deletes, but for a last segment
	dropBytesMax = 8 << 20
	rewriteMax   = 512  // records that one turn rewrites, but for those of a single group
	aboveMax     = 4096 // executed instances above a slot that is not: more are not said once more
	strayReach   = 1024 // segments behind a stray record that are looked at
)

// segment is some neighbouring groups of the log.
type segment struct {
	last   uint64
	groups int
	bytes  int
	tops   epaxos.Dependencies // at or above every record in it
}

// plan is a part of the log that the next group deletes.
type plan struct {
	groups int
	floor  epaxos.Dependencies // records at or below need not be kept
	marks  int                 // to be said once more
	ripe   bool                // the next group holds all marks, so it is the one that deletes
	sealed bool                // in a batch already
}

// bytes is what the deletion takes of a transaction, and what it says once more.
func (p *plan) bytes() int { return 12*p.marks + storage.WriteBytesOverhead*p.groups }

// history is what a node knows of its log: whether a group may be deleted depends on the highest slots in
// it alone.
type history struct {
	config   Compaction
	members  epaxos.Membership
	segments []segment           // the last one is still open
	pending  epaxos.Dependencies // at or above the records that are in no group yet
	bytes    int
	replayed int // size of the group that is being replayed
	plan     *plan
}

func (h *history) init(c Compaction) {
	if c.Groups == 0 {
		c.Groups = compactionGroups
	}
	if c.Bytes == 0 {
		c.Bytes = compactionBytes
	}
	if c.Segment == 0 {
		c.Segment = compactionSegment
	}
	h.config = c
}

// restart begins an epoch: nothing that earlier groups hold is needed in it.
func (h *history) restart(m epaxos.Membership) {
	h.members, h.pending, h.plan = m, make(epaxos.Dependencies, m.N()), nil
	for i := range h.segments {
		h.segments[i].tops = make(epaxos.Dependencies, m.N())
	}
}

// touch notes a record that the next group will hold.
func (h *history) touch(id epaxos.InstanceID) {
	if column, votes := h.members.Column(id.Replica); votes {
		h.pending[column] = max(h.pending[column], id.Slot)
	}
}

// add notes a saved group. The groups of one flush share their highest slots.
func (h *history) add(number uint64, bytes, dropped int) {
	last := len(h.segments) - 1
	if last < 0 || h.segments[last].groups >= h.config.Segment || h.segments[last].bytes >= segmentBytes {
		h.segments = append(h.segments, segment{tops: make(epaxos.Dependencies, h.members.N())})
		last++
	}
	s := &h.segments[last]
	s.last = number
	s.groups++
	s.bytes += bytes
	s.tops.Raise(h.pending)
	h.bytes += bytes
	if dropped > 0 {
		h.drop(dropped)
		h.plan = nil
	}
}

// close ends a flush: every record is in a group.
func (h *history) close() { clear(h.pending) }

// drop forgets deleted groups. A segment of which a part was deleted counts as smaller.
func (h *history) drop(groups int) {
	for groups > 0 {
		s := &h.segments[0]
		part := min(groups, s.groups)
		bytes := s.bytes * part / s.groups
		groups -= part
		s.groups -= part
		s.bytes -= bytes
		h.bytes -= bytes
		if s.groups == 0 {
			h.segments = h.segments[1:]
		}
	}
}

func (h *history) due() bool { return h.plan != nil && !h.plan.sealed }

// ripen tells that the next group comes behind all records and with all marks.
func (h *history) ripen() {
	if h.plan != nil {
		h.plan.ripe = true
	}
}

// covered counts the oldest groups that may be deleted as they are, up to what one turn deletes.
func (h *history) covered(floor epaxos.Dependencies) (groups, bytes int) {
	for i := range h.segments[:max(0, len(h.segments)-1)] {
		s := &h.segments[i]
		if !floor.CoversAll(s.tops) || groups >= dropMax || bytes >= dropBytesMax {
			break
		}
		groups += s.groups
		bytes += s.bytes
	}
	return groups, bytes
}

// enough reports whether deleting so much is worth a turn.
func (h *history) enough(groups, bytes int) bool {
	return groups >= h.config.Groups || groups > 0 && bytes >= h.config.Bytes
}

// strays reports whether the oldest segment holds back enough that could be deleted behind it.
func (h *history) strays(floor epaxos.Dependencies) bool {
	groups, bytes := 0, 0
	for i := 1; i < min(len(h.segments)-1, strayReach); i++ {
		if s := &h.segments[i]; floor.CoversAll(s.tops) {
			groups += s.groups
			bytes += s.bytes
		}
	}
	return h.enough(groups, bytes)
}

// considerCompaction plans the deletion of the beginning of the log, if enough of it can be.
func (n *Node) considerCompaction() {
	h := &n.history
	if h.plan != nil || n.fault != nil {
		return
	}
	floor := n.floor()
	groups, bytes := h.covered(floor)
	strays := groups == 0 && h.strays(floor)
	if !strays && !h.enough(groups, bytes) {
		return
	}
	marks := len(n.executedAbove())
	if marks > aboveMax {
		// Where many are executed above a slot that is not, that slot will come. Nothing was rewritten
		// yet: it would be again, tick after tick.
		return
	}
	if strays {
		groups = n.rewriteStrays(floor)
	}
	if groups == 0 || n.fault != nil {
		return
	}
	h.plan = &plan{groups: groups, floor: floor.Clone(), marks: marks}
}

// errEnough ends a reading of the log.
var errEnough = errors.New("enough")

// rewriteStrays has the records in the oldest groups that lie above the floor saved once more, whole, and
// returns how many groups need not be kept then.
func (n *Node) rewriteStrays(floor epaxos.Dependencies) (groups int) {
	last := n.history.segments[0].last
	strays := map[epaxos.InstanceID]bool{}
	err := n.config.Store.Groups(func(number uint64, body []byte) error {
		if number > last {
			return errEnough
		}
		group, err := wire.DecodeGroup(body)
		if err != nil {
			return fmt.Errorf("log group %d: %w", number, err)
		}
		if groups > 0 && len(strays)+len(group.Records) > rewriteMax {
			return errEnough
		}
		groups++
		for i := range group.Records {
			id := group.Records[i].ID
			column, _ := n.membership.Column(id.Replica)
			if id.Epoch == n.members.Epoch && !floor.Covers(column, id.Slot) && !strays[id] {
				strays[id] = true
				n.core.Rewrite(id)
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		n.fault = fmt.Errorf("read the beginning of the log: %w", err)
	}
	return groups
}

// truncate is what the deleting group says besides its records (rule K7).
func (n *Node) truncate() (rest wire.Group, drop int) {
	p := n.history.plan
	p.sealed = true
	for _, p := range n.peers {
		// Older groups told of every peer, and one of those is deleted.
		p.unsaved = p.unsaved || p.group > 0
	}
	return wire.Group{
		Executed: n.executedAbove(), Prefix: n.executedPrefix(), Truncated: p.floor, Epoch: n.members.Epoch,
		Origin: n.receiver.position,
	}, p.groups
}
