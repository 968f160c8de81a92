package node

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// unsaved is what the store does not hold yet.
type unsaved struct {
	records  []byte              // encoded, in order
	ends     []int               // the end of each record, so that a large turn can be cut between two
	executed []epaxos.InstanceID // marks of what the pending state writes come from
	since    time.Duration       // when the oldest of these came up; meaningful while dirty
	dirty    bool
	batches  []storage.Batch     // sealed, in the order they must be saved
	spare    []byte              // memory of a group that is saved, for the next one
	prefix   epaxos.Dependencies // what is executed durably once batches are saved; nil if unchanged
	hold     storage.HoldAction  // what the next group with applied state does to the durable hold
}

func (u *unsaved) touch(now time.Duration) {
	if !u.dirty {
		u.dirty, u.since = true, now
	}
}

// groupOverhead is what a group takes beside its records.
const groupOverhead = 16 << 10

// Save makes the turn durable as far as its messages and decisions rely on it, and returns the
// messages, which may leave now and are valid until the next call. While the disk is full nothing
// leaves and the turn is kept for the next call. An error is final.
func (n *Node) Save(now time.Duration) ([]epaxos.Envelope, error) {
	n.advance(now)
	n.takeReady()
	if n.fault != nil {
		return nil, n.fault
	}
	// On probation nothing is written: the log would grow again up to the group that a peer remembers and
	// the disk has lost, and nobody could tell any more (rule S8).
	overdue := n.admitted && n.unsaved.dirty && n.now-n.unsaved.since >= n.config.WriteBack || n.history.plan != nil
	if n.pending.MustSync || overdue || len(n.unsaved.batches) > 0 {
		if err := n.flush(overdue); err != nil {
			return nil, n.settle(err)
		}
	}
	if err := n.transfer(); err != nil {
		return nil, n.settle(err)
	}
	n.noRoom = nil
	messages := n.pending.Messages
	if n.next != nil { // perhaps saved by now: what was not sent before the end of the epoch is never sent (rule M7)
		messages = slices.DeleteFunc(slices.Clone(messages), func(e epaxos.Envelope) bool {
			return epaxos.EpochOf(e.Message) == n.members.Epoch
		})
	}
	n.pending.Messages, n.pending.MustSync = nil, false
	if n.config.Trace != nil {
		for _, e := range messages {
			n.config.Trace(n.membership.FormatEnvelope(e))
		}
	}
	return messages, nil
}

// Flush saves everything that is still in memory. The node may be used on.
func (n *Node) Flush() error {
	n.takeReady()
	if n.fault != nil || !n.admitted {
		return n.fault // on probation there is nothing that a replay would not bring back
	}
	return n.flush(true)
}

// NoRoom says why the replica takes no work for now, or nil.
func (n *Node) NoRoom() error { return n.noRoom }

// settle keeps a turn that a full disk refused, and makes any other failure final.
func (n *Node) settle(err error) error {
	if errors.Is(err, storage.ErrNoSpace) {
		n.noRoom = err
		n.giveUpCuts(errCutNoRoom) // what they keep may be what fills the disk
		p := &n.pending
		p.Messages, p.Led = slices.Clone(p.Messages), slices.Clone(p.Led)
		p.Learned, p.Committed = slices.Clone(p.Learned), slices.Clone(p.Committed)
		return nil
	}
	n.fault = err
	return err
}

// takeReady adds what the core wants done to the running turn.
func (n *Node) takeReady() {
	if n.core == nil {
		return
	}
	if id, forgot := n.core.Forgotten(); forgot && n.fault == nil {
		n.fault = fmt.Errorf("peers know instance %v of this replica: %w", id, ErrForgot)
	}
	if !n.core.HasReady() {
		return
	}
	ready := n.core.Ready()
	for i := range ready.Records {
		if n.config.Trace != nil {
			n.config.Trace(n.membership.FormatRecord(n.config.ID, ready.Records[i]))
		}
		n.unsaved.records = wire.AppendRecord(n.unsaved.records, &ready.Records[i])
		n.unsaved.ends = append(n.unsaved.ends, len(n.unsaved.records))
		n.history.touch(ready.Records[i].ID)
		n.unsaved.touch(n.now)
	}
	p := &n.pending
	p.MustSync = p.MustSync || ready.MustSync
	p.Messages = joined(p.Messages, ready.Messages)
	p.Learned = joined(p.Learned, ready.Learned)
	p.Committed = joined(p.Committed, ready.Committed)
	p.Led = joined(p.Led, ready.Led)
	n.pointReads(ready.Reads)
}

// joined keeps what waits over several turns in memory of its own; what is done with in its turn
// stays in the core's.
func joined[T any](a, b []T) []T {
	switch {
	case len(a) == 0:
		return b
	case len(b) == 0:
		return a
	default:
		return append(slices.Clip(a), b...)
	}
}

// flush saves all records, and with them the applied state if asked to or if much of it waits.
func (n *Node) flush(state bool) error {
	u := &n.unsaved
	n.seal(state || n.state.PendingBytes() >= writeBackBytes/2)
	for len(u.batches) > 0 {
		if err := n.config.Store.Save(u.batches[0]); err != nil {
			return fmt.Errorf("save group %d: %w", n.config.Store.LastGroup()+1, err)
		}
		n.history.add(n.config.Store.LastGroup(), len(u.batches[0].Group), u.batches[0].DropGroups)
		n.cuts.saved += uint64(u.batches[0].Bytes())
		u.spare = u.batches[0].Group[:0]
		u.batches = u.batches[1:]
	}
	u.batches = nil
	n.history.close()
	if u.prefix != nil {
		n.state.Saved()
		if n.core != nil {
			n.core.ExecutedDurably(u.prefix)
		}
		u.prefix = nil
	}
	u.dirty = len(u.executed) > 0 // marks that still wait keep their date
	return nil
}

// seal cuts what is pending into batches below the budget of a transaction. The applied state goes
// with the last records if both fit, else into a group of its own; writes and marks are never apart.
func (n *Node) seal(withState bool) {
	u := &n.unsaved
	budget := n.config.Store.BatchBytesMax() - groupOverhead
	from, first := 0, 0
	cut := func(end int) {
		if end > first {
			n.sealGroup(sealed{records: u.records[from:u.ends[end-1]], count: end - first})
			from, first = u.ends[end-1], end
		}
	}
	for i, end := range u.ends {
		if end-from > budget {
			cut(i)
		}
	}
	if withState && (len(u.executed) > 0 || n.history.due() || u.hold != storage.HoldKeep) {
		writes, bytes := n.takeWrites()
		if n.history.due() {
			if again := n.history.plan.bytes(); bytes+again > budget {
				n.history.plan = nil // another turn has more room
			} else {
				bytes += again
			}
		}
		if len(u.records)-from+bytes > budget {
			cut(len(u.ends))
		}
		n.history.ripen()
		n.sealGroup(sealed{
			records: u.records[from:], count: len(u.ends) - first, executed: u.executed, writes: writes, hold: u.hold,
		})
		u.hold = storage.HoldKeep
		u.executed, u.prefix = u.executed[:0], n.executedPrefix()
	} else {
		cut(len(u.ends))
	}
	u.records, u.ends = u.records[:0], u.ends[:0]
}

// sealed is the content of one batch.
type sealed struct {
	records  []byte
	count    int
	executed []epaxos.InstanceID
	writes   []storage.Write
	hold     storage.HoldAction
}

func (n *Node) sealGroup(s sealed) {
	batch := storage.Batch{Writes: s.writes, Hold: s.hold}
	rest := wire.Group{Executed: s.executed}
	if n.history.due() && n.history.plan.ripe {
		rest, batch.DropGroups = n.truncate()
	}
	rest.Heard = n.takeHeard()
	batch.Group = wire.AppendGroupRecords(n.unsaved.spare, s.records, s.count, &rest)
	n.unsaved.spare = nil
	n.unsaved.batches = append(n.unsaved.batches, batch)
}

// takeWrites drains the applied state, and tells how many bytes it takes with its marks.
func (n *Node) takeWrites() (writes []storage.Write, bytes int) {
	bytes = 12 * len(n.unsaved.executed)
	for _, w := range n.state.Take() {
		writes = append(writes, storage.Write(w))
		bytes += len(w.Key) + len(w.Value) + storage.WriteBytesOverhead
	}
	return writes, bytes
}
