package server

import (
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Status is a replica's view of itself and its peers, at most half a second old. The JSON form is
// what `epaxos status` shows.
type Status struct {
	Replica    epaxos.ReplicaID `json:"replica"`
	Name       string           `json:"name,omitempty"`
	Cluster    string           `json:"cluster"`
	Role       Role             `json:"role"`
	Members    MembersStatus    `json:"members"`
	Formats    []uint32         `json:"formats"`           // lowest and highest level that the program knows
	Admitted   bool             `json:"admitted"`          // has heard from a quorum since it started
	NoRoom     string           `json:"no_room,omitempty"` // why it takes no work
	UptimeMS   int64            `json:"uptime_ms"`
	FastQuorum int              `json:"fast_quorum"`
	SlowQuorum int              `json:"slow_quorum"`
	// Of the epoch that runs; a column for each voter, in the order of Members.Voters.
	Executed   []uint64 `json:"executed"` // contiguous prefix of each column
	Tops       []uint64 `json:"tops"`     // highest slot heard of, of each column
	Pending    int      `json:"pending"`  // committed, waiting for others
	Led        uint64   `json:"led"`
	Fast       uint64   `json:"fast"`
	Slow       uint64   `json:"slow"`
	Recoveries uint64   `json:"recoveries"`
	NoOps      uint64   `json:"no_ops"`
	InFlight   int      `json:"in_flight"`
	Queued     int      `json:"queued"`
	Watches    int      `json:"watches"`
	Sessions   int      `json:"sessions"` // that are open, leases too
	Journal    int      `json:"journal_bytes"`
	Malformed  uint64   `json:"malformed"`
	Groups     uint64   `json:"groups"`
	// What may be forgotten (docs/protocol.md, K).
	Stable      []uint64         `json:"stable"`      // executed durably by every replica, of each column
	Truncated   []uint64         `json:"truncated"`   // known to every replica to be so
	GroupFirst  uint64           `json:"group_first"` // the oldest group of the log
	LogBytes    uint64           `json:"log_bytes"`
	Collectable int              `json:"collectable"`      // groups that the next deletions take
	HeldBy      epaxos.ReplicaID `json:"held_by"`          // the replica that is furthest behind this one; 0 if none is
	Held        uint64           `json:"held_instances"`   // which it has not executed durably
	HeldMS      int64            `json:"held_progress_ms"` // since it last told of progress
	Lags        []LagStatus      `json:"lags,omitempty"`   // of the other voters
	Transfer    TransferStatus   `json:"transfer"`
	Cuts        []CutStatus      `json:"cuts,omitempty"`   // whose state is kept for reads
	EpochHeld   bool             `json:"epoch_held"`       // the state with which the epoch began is kept,
	EpochBytes  uint64           `json:"epoch_held_bytes"` // and what was saved since, which is not given back
	Scrubs      uint64           `json:"scrubs"`           // finished since the start
	ScrubbedMS  int64            `json:"scrubbed_ms"`      // since the last was finished
	DiskBytes   uint64           `json:"disk_bytes"`
	DiskFree    uint64           `json:"disk_free"`
	Peers       []PeerStatus     `json:"peers"`
}

// CutStatus is a cut that can be read at a replica.
type CutStatus struct {
	ID    string `json:"id"`
	Left  int64  `json:"left_ms"` // until its time is up
	Bytes uint64 `json:"bytes"`   // saved since, which is not given back meanwhile
}

// LagStatus is how far a voter is behind this replica.
type LagStatus struct {
	Replica    epaxos.ReplicaID `json:"replica"`
	Instances  uint64           `json:"instances"`   // that it has not executed durably
	ProgressMS int64            `json:"progress_ms"` // since it last told of progress
}

// PeerStatus is what a replica knows of another.
type PeerStatus struct {
	Replica   epaxos.ReplicaID `json:"replica"`
	Name      string           `json:"name,omitempty"`
	Addr      string           `json:"addr"`
	Up        bool             `json:"up"`
	Suspected bool             `json:"suspected"`
	RTTMicros int64            `json:"rtt_us"` // smoothed; 0 if unknown
	Dropped   uint64           `json:"dropped"`
	SentBytes uint64           `json:"sent_bytes"` // handed to QUIC, heartbeats included
	LastError string           `json:"last_error,omitempty"`
}

// statusInterval is how old a published status may get.
const statusInterval = 500 * time.Millisecond

// Status returns the replica's view of itself.
func (s *Server) Status() Status {
	status := *s.status.Load()
	status.Peers = nil
	if s.host == nil {
		return status
	}
	for _, p := range s.host.Peers() {
		status.Peers = append(status.Peers, PeerStatus{
			Replica: p.Replica, Name: status.name(p.Replica), Addr: p.Addr, Up: p.Up, Suspected: p.Suspected,
			RTTMicros: p.RTT.Microseconds(), Dropped: p.FramesDropped, SentBytes: p.BytesSent + p.BulkBytesSent,
			LastError: p.LastError,
		})
	}
	return status
}

func (s *Status) name(id epaxos.ReplicaID) string {
	for _, m := range slices.Concat(s.Members.Voters, s.Members.Learners) {
		if m.Replica == id {
			return m.Name
		}
	}
	return ""
}

func (s *Server) statusJSON() []byte {
	body, err := json.Marshal(s.Status())
	if err != nil {
		return nil
	}
	return body
}

func (s *Server) refreshStatus(now time.Duration) {
	last := s.status.Load()
	if now.Milliseconds()-last.UptimeMS >= statusInterval.Milliseconds() || s.node.Admitted() != last.Admitted {
		s.publishStatus()
	}
}

// publishStatus runs on the replica's goroutine, or before it starts.
func (s *Server) publishStatus() {
	n := s.node.Status()
	usage := s.store.Usage()
	membership := n.Members.Membership()
	status := &Status{
		Replica: s.config.Replica, Role: Role(n.Role.String()), Members: membersStatus(&n.Members),
		Formats:  []uint32{wire.FormatMin, s.config.formatMax()},
		Cluster:  hex.EncodeToString(s.config.Cluster[:]),
		Admitted: n.Admitted, NoRoom: n.NoRoom, UptimeMS: s.now().Milliseconds(),
		FastQuorum: membership.FastQuorum(), SlowQuorum: membership.SlowQuorum(),
		Pending: n.Pending, Led: n.Stats.Led, Fast: n.Stats.Fast, Slow: n.Stats.Slow,
		Recoveries: n.Stats.Recoveries, NoOps: n.Stats.NoOps, InFlight: n.Stats.InFlight, Queued: n.Stats.Queued,
		Watches: n.Watches, Journal: n.Journal, Sessions: n.Sessions,
		Malformed: n.Stats.Malformed, Groups: n.Group, DiskBytes: usage.DiskBytes, DiskFree: usage.FreeBytes,
	}
	status.GroupFirst, status.LogBytes, status.Collectable = n.GroupFirst, uint64(n.LogBytes), n.Collectable
	status.HeldBy, status.Held, status.HeldMS = n.Held.Replica, n.Held.Instances, n.Held.For.Milliseconds()
	status.Name = status.name(s.config.Replica)
	status.Executed, status.Tops = slots(n.Executed), slots(n.Tops)
	status.Stable, status.Truncated = slots(n.Watermarks.Stable), slots(n.Watermarks.Truncated)
	for _, lag := range n.Watermarks.Lags {
		status.Lags = append(status.Lags, LagStatus{
			Replica: lag.Replica, Instances: lag.Instances, ProgressMS: lag.For.Milliseconds(),
		})
	}
	for _, cut := range n.Cuts {
		status.Cuts = append(status.Cuts, CutStatus{
			ID: cut.ID.String(), Left: cut.Left.Milliseconds(), Bytes: cut.Bytes,
		})
	}
	status.EpochHeld, status.EpochBytes = usage.Held != 0, usage.HeldBytes
	if status.Scrubs = s.scrubs.Load(); status.Scrubs > 0 {
		status.ScrubbedMS = (s.now() - time.Duration(s.scrubbed.Load())).Milliseconds()
	}
	status.Transfer = transferStatus(&n.Transfer)
	s.status.Store(status)
	s.watchLags(s.now(), &n)
}

func slots(d epaxos.Dependencies) []uint64 {
	all := make([]uint64, len(d))
	for column, slot := range d {
		all[column] = uint64(slot)
	}
	return all
}

// StatusNow is Status with counters of this moment, for measurements. After the replica has stopped
// it is the last status published.
func (s *Server) StatusNow() Status {
	s.inbox.do(s.publishStatus)
	return s.Status()
}
