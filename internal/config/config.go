package config

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Auto, as F or E, takes the largest value that the number of members allows.
const Auto = -1

// Config is everything one replica needs to run. Load and Default make one. File names in it are
// relative to the working directory or absolute.
type Config struct {
	Cluster     ClusterID        `mapstructure:"cluster"`
	Replica     epaxos.ReplicaID `mapstructure:"replica"`
	Incarnation uint64           `mapstructure:"incarnation"`
	Name        string           `mapstructure:"name"`   // site or region, may be empty
	Dir         string           `mapstructure:"dir"`    // data directory
	Listen      string           `mapstructure:"listen"` // UDP host:port, for peers and clients

	Members   []Member `mapstructure:"members"`    // voters of the first epoch, or whom to ask
	Join      bool     `mapstructure:"join"`       // this replica is none of members
	Format    int      `mapstructure:"format"`     // level of the first epoch
	FormatMax int      `mapstructure:"format_max"` // highest level that this replica takes part at; 0 is any
	F         int      `mapstructure:"f"`          // Auto: from the number of members
	E         int      `mapstructure:"e"`          // Auto: from the number of members and F

	TLS             TLS      `mapstructure:"tls"`
	Eviction        Eviction `mapstructure:"membership"`
	Limits          Limits   `mapstructure:"limits"`
	Watch           Watch    `mapstructure:"watch"`
	Timing          Timing   `mapstructure:"timing"`
	Storage         Storage  `mapstructure:"storage"`
	PeerConnections int      `mapstructure:"peer_connections"` // QUIC connections to each peer
	Log             Log      `mapstructure:"log"`
}

// Member is one voter, as all replicas know it.
type Member struct {
	ID          epaxos.ReplicaID `mapstructure:"id"`
	Addr        string           `mapstructure:"addr"`        // host:port
	Fingerprint Fingerprint      `mapstructure:"fingerprint"` // of its public key
	Incarnation uint64           `mapstructure:"incarnation"`
	Name        string           `mapstructure:"name"` // site or region, may be empty
}

// TLS names the PEM files of the replica's identity.
type TLS struct {
	CA   string `mapstructure:"ca"`
	Cert string `mapstructure:"cert"`
	Key  string `mapstructure:"key"`
}

// Eviction says when a voter that holds the others back is removed. Zero is never.
type Eviction struct {
	EvictAfter time.Duration `mapstructure:"evict_after"` // without progress
	EvictLag   int           `mapstructure:"evict_lag"`   // commands that it lacks
	EvictBytes Bytes         `mapstructure:"evict_bytes"` // of log that is kept for it
}

// Limits bounds what a replica takes on.
type Limits struct {
	InFlight       int   `mapstructure:"in_flight"`         // own instances proposed and not yet executed here
	InFlightPerKey int   `mapstructure:"in_flight_per_key"` // the same, for one key
	Queue          int   `mapstructure:"queue"`             // requests waiting for a place in flight
	ClientRequests int   `mapstructure:"client_requests"`   // open requests of one client connection
	PeerQueueBytes Bytes `mapstructure:"peer_queue_bytes"`  // waiting messages to one peer
	TransferRate   Bytes `mapstructure:"transfer_rate"`     // of state handed to others, in a second
	Watches        int   `mapstructure:"watches"`           // polls that wait for a change
}

// Watch is about what clients are told that watch keys.
type Watch struct {
	JournalBytes Bytes `mapstructure:"journal_bytes"` // changes kept for those that come back
}

// Timing holds the periods of a replica. None of them decides anything: a wrong value costs time,
// never safety.
type Timing struct {
	Tick           time.Duration `mapstructure:"tick"`            // the unit of all others
	Heartbeat      time.Duration `mapstructure:"heartbeat"`       // between heartbeats to a peer
	Suspect        time.Duration `mapstructure:"suspect"`         // silence after which a peer counts as down
	Resend         time.Duration `mapstructure:"resend"`          // before an unanswered message is sent again
	RecoverStagger time.Duration `mapstructure:"recover_stagger"` // between the replicas in line to recover
}

// Storage sizes the store.
type Storage struct {
	ReserveBytes  Bytes         `mapstructure:"reserve_bytes"`  // free disk below which work is refused
	MemtableBytes Bytes         `mapstructure:"memtable_bytes"` // one Badger memtable; three may live
	ScrubPeriod   time.Duration `mapstructure:"scrub_period"`   // everything is read within it; 0 is never
}

// Log says what the process logs, and how.
type Log struct {
	Level  slog.Level `mapstructure:"level"`
	Format string     `mapstructure:"format"` // "text" or "json"
}

// ClusterID names a cluster: 16 random bytes, written as 32 hexadecimal digits. Zero is none.
type ClusterID [16]byte

// String is the form of the file.
func (id ClusterID) String() string { return hex.EncodeToString(id[:]) }

// UnmarshalText reads the form of String.
func (id *ClusterID) UnmarshalText(text []byte) error { return decodeHex(id[:], text) }

// Fingerprint is the SHA-256 of a member's public key (its SubjectPublicKeyInfo), written as 64
// hexadecimal digits. Zero is none.
type Fingerprint [32]byte

// String is the form of the file.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// UnmarshalText reads the form of String.
func (f *Fingerprint) UnmarshalText(text []byte) error { return decodeHex(f[:], text) }

func decodeHex(into, text []byte) error {
	if len(text) != hex.EncodedLen(len(into)) {
		return fmt.Errorf("has %d characters: need %d hexadecimal digits", len(text), hex.EncodedLen(len(into)))
	}
	if _, err := hex.Decode(into, text); err != nil {
		return fmt.Errorf("%q is not hexadecimal", text)
	}
	return nil
}

// Bytes is an amount of memory or disk.
type Bytes int64

// Units of Bytes.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
)

// String writes the amount in the largest unit that divides it.
func (b Bytes) String() string {
	for _, unit := range byteUnits {
		if b != 0 && b%unit.size == 0 {
			return strconv.FormatInt(int64(b/unit.size), 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

var byteUnits = []struct {
	name string
	size Bytes
}{{"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}}

// Default is a Config with the default of every setting that has one. What names the replica and
// its cluster is empty.
func Default() Config {
	var c Config
	if err := decode(merged(keys), &c); err != nil {
		panic("config: a default does not fit its setting: " + err.Error())
	}
	return c
}

// Membership is who votes in the first epoch, with the quorums that F and E ask for.
func (c Config) Membership() epaxos.Membership {
	ids := make([]epaxos.ReplicaID, len(c.Members))
	for i, member := range c.Members {
		ids[i] = member.ID
	}
	m := epaxos.NewMembership(1, ids...)
	if c.F != Auto {
		m.F = c.F
		m.E = epaxos.LargestE(m.N(), m.F)
	}
	if c.E != Auto {
		m.E = c.E
	}
	return m
}

// Self is the member that this replica is; false if the members do not list it.
func (c Config) Self() (Member, bool) {
	for _, member := range c.Members {
		if member.ID == c.Replica {
			return member, true
		}
	}
	return Member{}, false
}
