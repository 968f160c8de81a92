package server

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/config"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// Config is what a replica runs with. Load makes one from the file that `epaxos init` writes; its
// fields may be changed before Open.
type Config struct {
	Cluster     [16]byte
	Replica     epaxos.ReplicaID
	Incarnation uint64 // which life of the replica's directory this is
	Dir         string // data directory, made by `epaxos init`
	Listen      string // UDP host:port for members and clients
	// Conn, if set, is used instead of a socket at Listen. The replica owns and closes it.
	Conn net.PacketConn
	// Members are the voters of the first epoch, this replica included; or, of one that joins, the replicas
	// that it asks. Once the replica has a state, the members are part of it, and these count no more.
	Members []Member
	Join    bool // the replica is none of the first epoch
	F, E    int  // of the first epoch: crashes tolerated, and tolerated without leaving the fast path
	// Format is the format level of the first epoch, 0 is 1. FormatMax is the highest that this replica takes part
	// at, as if its program were of an older version; 0 is all that it knows.
	Format, FormatMax uint32

	CAFile, CertFile, KeyFile string // PEM

	Limits          epaxos.Limits
	ClientRequests  int // open requests of one client connection
	PeerQueueBytes  int // messages waiting for one member
	Watches         int // polls of watches that wait at a time; 0 is 16384
	JournalBytes    int // changes kept in memory for watches that come back; 0 is 64 MiB
	TransferRate    int // bytes of state in a second, to all others together; 0 is 32 MiB
	PeerConnections int // QUIC connections to each member; more than one helps on lossy paths
	Timing          Timing

	Eviction Eviction // when voters that lag are removed; zero is never

	ScrubPeriod      time.Duration // all that is saved is read and verified within it; 0 is never
	FreeReserveBytes uint64        // free disk below which work is refused
	MemTableBytes    int64         // size of a Badger memory table

	// Protocol, if set, runs in place of EPaxos*. It is for experiments: its type is internal to this module, no
	// configuration file names it, and what serves leaves it nil.
	Protocol *node.Protocol

	Logger *slog.Logger      // nil is silence
	Trace  func(line string) // one line per protocol message and record, from the replica's goroutine
}

// Member is one voter.
type Member struct {
	ID          epaxos.ReplicaID
	Addr        string // host:port
	Fingerprint [32]byte
	Incarnation uint64
	Name        string // site or region, may be empty
}

// Timing holds the periods of a replica. None decides anything: a wrong value costs time only.
type Timing struct {
	Tick      time.Duration // how often the replica looks at what is overdue
	Heartbeat time.Duration
	Suspect   time.Duration // silence after which a member counts as dead
	WriteBack time.Duration // what nobody waits for is on disk at the latest after this
	Core      epaxos.Timing
}

// Load reads the configuration file of a replica. Flags and environment play no part.
func Load(path string) (Config, error) {
	settings, err := config.Load(config.Source{File: path})
	if err != nil {
		return Config{}, err
	}
	return FromSettings(settings), nil
}

// FromSettings takes a validated configuration, wherever it came from.
func FromSettings(s config.Config) Config {
	membership := s.Membership()
	limits := epaxos.DefaultLimits()
	limits.InFlight, limits.InFlightPerKey, limits.Queue = s.Limits.InFlight, s.Limits.InFlightPerKey, s.Limits.Queue
	core := epaxos.DefaultTiming()
	core.Resend, core.Stagger = s.Timing.Resend, s.Timing.RecoverStagger
	c := Config{
		Cluster: s.Cluster, Replica: s.Replica, Incarnation: s.Incarnation, Dir: s.Dir, Listen: s.Listen,
		Format: uint32(s.Format), FormatMax: uint32(s.FormatMax), //nolint:gosec // small
		Join: s.Join, F: membership.F, E: membership.E,
		CAFile: s.TLS.CA, CertFile: s.TLS.Cert, KeyFile: s.TLS.Key,
		Limits: limits, ClientRequests: s.Limits.ClientRequests,
		PeerQueueBytes: int(s.Limits.PeerQueueBytes), PeerConnections: s.PeerConnections,
		Watches: s.Limits.Watches, JournalBytes: int(s.Watch.JournalBytes),
		TransferRate: int(s.Limits.TransferRate),
		Timing: Timing{
			Tick: s.Timing.Tick, Heartbeat: s.Timing.Heartbeat, Suspect: s.Timing.Suspect,
			WriteBack: writeBack, Core: core,
		},
		Eviction: Eviction{
			After: s.Eviction.EvictAfter, Instances: uint64(s.Eviction.EvictLag), //nolint:gosec // not negative
			LogBytes: int(s.Eviction.EvictBytes),
		},
		ScrubPeriod: s.Storage.ScrubPeriod, FreeReserveBytes: uint64(s.Storage.ReserveBytes),
		MemTableBytes: int64(s.Storage.MemtableBytes),
	}
	for _, m := range s.Members {
		c.Members = append(c.Members, Member{
			ID: m.ID, Addr: m.Addr, Fingerprint: m.Fingerprint, Incarnation: m.Incarnation, Name: m.Name,
		})
	}
	return c
}

// writeBack is short enough that a restart has little to repeat, and long enough that the writes of
// many turns share a transaction.
const writeBack = 100 * time.Millisecond

// checkFirst reports why the configured members make no cluster, or none to join.
func (c *Config) checkFirst() error {
	m := c.firstMembers()
	if _, _, listed := m.Find(c.Replica); listed == c.Join {
		return fmt.Errorf("members must list replica %d, unless it joins them: correct members or join", c.Replica)
	}
	if most := c.formatMax(); most < wire.FormatMin || most > wire.Format || !c.Join && m.Format > most {
		return fmt.Errorf("format level %d up to %d: this program knows %d to %d: correct format and format_max",
			m.Format, most, wire.FormatMin, wire.Format)
	}
	return m.Validate()
}

func (c *Config) formatMax() uint32 { return cmp.Or(c.FormatMax, wire.Format) }

// firstMembers is the record of the first epoch.
func (c *Config) firstMembers() wire.Members {
	m := wire.Members{Epoch: 1, F: c.F, E: c.E, Format: max(c.Format, 1)}
	for _, one := range c.Members {
		m.Voters = append(m.Voters, wire.Member{
			Replica: one.ID, Incarnation: one.Incarnation, Fingerprint: one.Fingerprint, Addr: one.Addr, Name: one.Name,
		})
		m.NextReplica = max(m.NextReplica, one.ID+1)
	}
	slices.SortFunc(m.Voters, func(a, b wire.Member) int { return cmp.Compare(a.Replica, b.Replica) })
	return m
}

func (c *Config) storeOptions() storage.Options {
	return storage.Options{
		Dir:              c.Dir,
		Identity:         storage.Identity{Cluster: c.Cluster, Replica: uint32(c.Replica), Incarnation: c.Incarnation},
		FreeReserveBytes: c.FreeReserveBytes, MemTableBytes: c.MemTableBytes, Logger: c.Logger,
	}
}

// checkBudget refuses limits under which one strongly connected component could exceed what the store
// saves at once. A component holds at most what all members have in flight, and each may have one
// command beyond its limit.
func (c *Config) checkBudget(voters, saveBytesMax int) error {
	worst := voters * (c.Limits.InFlightBytes + PayloadBytesMax)
	if worst > saveBytesMax {
		return fmt.Errorf("%d members with %d bytes in flight each and requests up to %d bytes can fill a component of "+
			"%d bytes, more than the %d that are saved at once: fewer members, or lower limits",
			voters, c.Limits.InFlightBytes, PayloadBytesMax, worst, saveBytesMax)
	}
	return nil
}

// resetKey derives the key of stateless resets from the replica's private key, so that it survives
// restarts without a file of its own.
func (c *Config) resetKey() ([32]byte, error) {
	pem, err := os.ReadFile(c.KeyFile)
	if err != nil {
		return [32]byte{}, fmt.Errorf("read the private key: %w", err)
	}
	return sha256.Sum256(append([]byte("stateless reset\x00"), pem...)), nil
}

func (c *Config) listen() (net.PacketConn, error) {
	if c.Conn != nil {
		return c.Conn, nil
	}
	addr, err := net.ResolveUDPAddr("udp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen at %q: %w", c.Listen, err)
	}
	conn, err := net.ListenUDP("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen at %q: %w", c.Listen, err)
	}
	return conn, nil
}
