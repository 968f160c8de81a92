package node

import (
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/storage"
)

// Core is a replication protocol as a machine of values. *epaxos.Replica is the one that ships;
// the interface is what another protocol has to offer to run on the same node.
type Core interface {
	Propose(now time.Duration, id epaxos.ProposalID, request epaxos.Request, footprint epaxos.Footprint) error
	Cancel(id epaxos.ProposalID) bool
	Step(now time.Duration, e epaxos.Envelope)
	Tick(now time.Duration)
	Suspect(now time.Duration, id epaxos.ReplicaID, suspected bool)
	Blocked(now time.Duration, ids []epaxos.InstanceID)
	Executed(now time.Duration, ids []epaxos.InstanceID)
	ExecutedDurably(prefix epaxos.Dependencies)
	HasReady() bool
	Quiet() bool
	Ready() epaxos.Ready
	Restore(record epaxos.Record) error
	Restored(now time.Duration) error
	Forgotten() (epaxos.InstanceID, bool)
	Stats() epaxos.Stats
	Tops() epaxos.Dependencies
	RestoreTruncated(floor epaxos.Dependencies) error
	Truncated() epaxos.Dependencies
	Rewrite(id epaxos.InstanceID) bool
	Watermarks() epaxos.Watermarks
	End(now time.Duration, executed []epaxos.InstanceID) []epaxos.Unfinished
	Adopt(now time.Duration, u epaxos.Unfinished)
	Read(now time.Duration, id epaxos.ProposalID, footprint epaxos.Footprint)
}

// Orderer turns committed instances into one order of execution. *execution.Graph is the one that
// ships.
type Orderer interface {
	Restore(id epaxos.InstanceID)
	RestorePrefix(prefix epaxos.Dependencies)
	Learn(id epaxos.InstanceID, command *epaxos.Command)
	Commit(id epaxos.InstanceID, command *epaxos.Command, deps epaxos.Dependencies)
	Next() []execution.Vertex
	TakeExecuted() []epaxos.InstanceID
	Executed() epaxos.Dependencies
	ExecutedAbove() []epaxos.InstanceID
	ExecutedTops() epaxos.Dependencies
	Passed(footprint epaxos.Footprint, upTo epaxos.Dependencies) bool
	Blocked() []epaxos.InstanceID
	Pending() int
}

// Protocol makes what a node runs in an epoch in which its replica votes: a fresh core, and then the orderer that
// goes with it.
type Protocol struct {
	NewCore    func(epaxos.Membership) (Core, error)
	NewOrderer func(epaxos.Membership) Orderer
}

// Store is the part of storage.Store that a node uses.
type Store interface {
	Save(batch storage.Batch) error
	Get(key []byte) (value []byte, found bool, err error)
	Scan(from, to []byte, visit func(key, value []byte) error) error
	Groups(visit func(number uint64, group []byte) error) error
	LastGroup() uint64
	BatchBytesMax() int
	storage.Versions
	storage.Staging
}
