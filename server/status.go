package server

import (
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Status is a replica's view of itself and its peers, at most half a second old. The JSON form is
// what `epaxos status` shows.
type Status struct {
	Replica    epaxos.ReplicaID `json:"replica"`
	Name       string           `json:"name,omitempty"`
	Cluster    string           `json:"cluster"`
	Admitted   bool             `json:"admitted"`          // has heard from a quorum since it started
	NoRoom     string           `json:"no_room,omitempty"` // why it takes no work
	UptimeMS   int64            `json:"uptime_ms"`
	FastQuorum int              `json:"fast_quorum"`
	SlowQuorum int              `json:"slow_quorum"`
	Executed   []uint64         `json:"executed"` // contiguous prefix of each column
	Tops       []uint64         `json:"tops"`     // highest slot heard of, of each column
	Pending    int              `json:"pending"`  // committed, waiting for others
	Led        uint64           `json:"led"`
	Fast       uint64           `json:"fast"`
	Slow       uint64           `json:"slow"`
	Recoveries uint64           `json:"recoveries"`
	NoOps      uint64           `json:"no_ops"`
	InFlight   int              `json:"in_flight"`
	Queued     int              `json:"queued"`
	Malformed  uint64           `json:"malformed"`
	Groups     uint64           `json:"groups"`
	// What may be forgotten (docs/protocol.md, K).
	Stable      []uint64         `json:"stable"`      // executed durably by every replica, of each column
	Truncated   []uint64         `json:"truncated"`   // known to every replica to be so
	GroupFirst  uint64           `json:"group_first"` // the oldest group of the log
	LogBytes    uint64           `json:"log_bytes"`
	Collectable int              `json:"collectable"`      // groups that the next deletions take
	HeldBy      epaxos.ReplicaID `json:"held_by"`          // the replica that is furthest behind this one; 0 if none is
	Held        uint64           `json:"held_instances"`   // which it has not executed durably
	HeldMS      int64            `json:"held_progress_ms"` // since it last told of progress
	DiskBytes   uint64           `json:"disk_bytes"`
	DiskFree    uint64           `json:"disk_free"`
	Peers       []PeerStatus     `json:"peers"`
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
			Replica: p.Replica, Name: s.name(p.Replica), Addr: p.Addr, Up: p.Up, Suspected: p.Suspected,
			RTTMicros: p.RTT.Microseconds(), Dropped: p.FramesDropped, LastError: p.LastError,
		})
	}
	return status
}

func (s *Server) name(id epaxos.ReplicaID) string {
	for _, m := range s.config.Members {
		if m.ID == id {
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
	if now.Milliseconds()-s.status.Load().UptimeMS >= statusInterval.Milliseconds() {
		s.publishStatus()
	}
}

// publishStatus runs on the replica's goroutine, or before it starts.
func (s *Server) publishStatus() {
	n := s.node.Status()
	usage := s.store.Usage()
	status := &Status{
		Replica: s.config.Replica, Name: s.name(s.config.Replica), Cluster: hex.EncodeToString(s.config.Cluster[:]),
		Admitted: n.Admitted, NoRoom: n.NoRoom, UptimeMS: s.now().Milliseconds(),
		FastQuorum: s.membership.FastQuorum(), SlowQuorum: s.membership.SlowQuorum(),
		Pending: n.Pending, Led: n.Stats.Led, Fast: n.Stats.Fast, Slow: n.Stats.Slow,
		Recoveries: n.Stats.Recoveries, NoOps: n.Stats.NoOps, InFlight: n.Stats.InFlight, Queued: n.Stats.Queued,
		Malformed: n.Stats.Malformed, Groups: n.Group, DiskBytes: usage.DiskBytes, DiskFree: usage.FreeBytes,
	}
	status.GroupFirst, status.LogBytes, status.Collectable = n.GroupFirst, uint64(n.LogBytes), n.Collectable
	status.HeldBy, status.Held, status.HeldMS = n.Held.Replica, n.Held.Instances, n.Held.For.Milliseconds()
	for column := range s.membership.Voters {
		status.Executed = append(status.Executed, uint64(n.Executed[column]))
		status.Tops = append(status.Tops, uint64(n.Tops[column]))
		status.Stable = append(status.Stable, uint64(n.Watermarks.Stable[column]))
		status.Truncated = append(status.Truncated, uint64(n.Watermarks.Truncated[column]))
	}
	s.status.Store(status)
}

// StatusNow is Status with counters of this moment, for measurements. After the replica has stopped
// it is the last status published.
func (s *Server) StatusNow() Status {
	s.inbox.do(s.publishStatus)
	return s.Status()
}
