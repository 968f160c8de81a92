package transport

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/identity"
)

// Defaults of Config.
const (
	DefaultQueueBytes        = 8 << 20
	DefaultBulkQueueBytes    = 4 << 20
	DefaultBulkIdle          = 30 * time.Second
	DefaultBulkRate          = 64 << 20
	DefaultFrameBytesMax     = 16 << 20
	DefaultHeartbeatInterval = 300 * time.Millisecond
	DefaultSuspectAfter      = time.Second
	DefaultClientsMax        = 4096

	// LanesMax bounds Config.Lanes, and with it what one member can cost another.
	LanesMax = 16
	// HelloBytesMax bounds a hello.
	HelloBytesMax = 4096
)

// Config is what a Host needs. The callbacks run on the host's goroutines, several at a time; they
// may call any method of the host but Close.
type Config struct {
	Self epaxos.ReplicaID
	// Conn is the replica's socket: a *net.UDPConn, or an emulated one. The host owns it from the
	// call of NewHost on, and closes it even if NewHost fails.
	Conn       net.PacketConn
	Credential *identity.Credential
	// Members is the first membership, see Host.SetMembers. A replica that is about to join is not among
	// them yet; it calls them until they know it.
	Members *identity.Members
	// ResetKey makes stateless resets. The same key across restarts lets peers notice them at once.
	ResetKey [32]byte

	// Hello makes the first frame to a peer: at most HelloBytesMax bytes, anew per connection. Nothing
	// means that this replica is stopping: the connection is not made.
	Hello func(to epaxos.ReplicaID) []byte
	// CheckHello judges a peer's hello, valid during the call. An error refuses the connection; its
	// text is sent to the peer as the reason.
	CheckHello func(from epaxos.ReplicaID, hello []byte) error
	// Receive takes a body, valid during the call. Calls for one lane of one peer are sequential.
	// Blocking holds that lane back.
	Receive func(from epaxos.ReplicaID, body []byte)
	// PeerUp, if set, says that the first lane to a peer stands; hello is the peer's, valid during
	// the call. PeerDown, if set, says that the last one is gone, and why. They alternate.
	PeerUp   func(peer epaxos.ReplicaID, hello []byte)
	PeerDown func(peer epaxos.ReplicaID, err error)
	// Disowned, if set, says that a member closed or refused a connection because this replica is no
	// member. CloseNotMember may change: that member may not know of the membership that adds this
	// replica. CloseRemoved is for good, since replica ids are never used again. It is called again at
	// every attempt.
	Disowned func(by epaxos.ReplicaID, why *PeerError)

	Lanes          int // connections to each peer; 0 is 1
	QueueBytes     int // bytes waiting for one peer; 0 is DefaultQueueBytes
	BulkQueueBytes int // the same, of SendBulk; 0 is DefaultBulkQueueBytes
	// BulkBytesPerSecond is how fast SendBulk goes to one peer at most, less while that makes the round
	// trip to it grow; 0 is DefaultBulkRate.
	BulkBytesPerSecond int
	BulkIdle           time.Duration // a bulk connection unused for so long is closed; 0 is DefaultBulkIdle
	FrameBytesMax      int           // longest body sent or received; 0 is DefaultFrameBytesMax
	HeartbeatInterval  time.Duration // 0 is DefaultHeartbeatInterval
	SuspectAfter       time.Duration // silence after which Suspected; 0 is DefaultSuspectAfter
	ClientsMax         int           // client connections open at a time; 0 is DefaultClientsMax

	Logger *slog.Logger   // nil is silence
	Rand   func() float64 // in [0,1), for the jitter of redials; nil is the runtime's generator
}

// withDefaults fills in what is zero and refuses what cannot work.
func (c Config) withDefaults() (Config, error) {
	c.Lanes = orDefault(c.Lanes, 1)
	c.QueueBytes = orDefault(c.QueueBytes, DefaultQueueBytes)
	c.BulkQueueBytes = orDefault(c.BulkQueueBytes, DefaultBulkQueueBytes)
	c.BulkBytesPerSecond = orDefault(c.BulkBytesPerSecond, DefaultBulkRate)
	c.BulkIdle = orDefault(c.BulkIdle, DefaultBulkIdle)
	c.FrameBytesMax = orDefault(c.FrameBytesMax, DefaultFrameBytesMax)
	c.HeartbeatInterval = orDefault(c.HeartbeatInterval, DefaultHeartbeatInterval)
	c.SuspectAfter = orDefault(c.SuspectAfter, DefaultSuspectAfter)
	c.ClientsMax = orDefault(c.ClientsMax, DefaultClientsMax)
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if c.Rand == nil {
		c.Rand = rand.Float64
	}
	return c, c.validate()
}

func orDefault[T int | time.Duration](value, otherwise T) T {
	if value == 0 {
		return otherwise
	}
	return value
}

func (c Config) validate() error {
	switch {
	case c.Conn == nil || c.Credential == nil || c.Members == nil:
		return errors.New("transport: Conn, Credential and Members are needed")
	case c.Hello == nil || c.CheckHello == nil || c.Receive == nil:
		return errors.New("transport: Hello, CheckHello and Receive are needed")
	case c.Lanes < 1 || c.Lanes > LanesMax:
		return fmt.Errorf("transport: %d lanes: between 1 and %d are possible", c.Lanes, LanesMax)
	case c.FrameBytesMax < 1 || c.FrameBytesMax > frameBytesLimit:
		return fmt.Errorf("transport: frames of %d bytes: between 1 and %d are possible",
			c.FrameBytesMax, frameBytesLimit)
	case c.QueueBytes < 1 || c.ClientsMax < 1:
		return errors.New("transport: QueueBytes and ClientsMax must be positive")
	case c.BulkQueueBytes < 1 || c.BulkBytesPerSecond < 1 || c.BulkIdle < 0:
		return errors.New("transport: BulkQueueBytes, BulkBytesPerSecond and BulkIdle must be positive")
	case c.HeartbeatInterval < time.Millisecond || c.SuspectAfter < c.HeartbeatInterval:
		return fmt.Errorf("transport: heartbeat every %v, suspicion after %v: need 1ms <= heartbeat <= suspicion",
			c.HeartbeatInterval, c.SuspectAfter)
	}
	return c.validateIdentity()
}

func (c Config) validateIdentity() error {
	name := c.Credential.Name
	switch member, found := c.Members.Lookup(c.Self); {
	case name.Cluster != c.Members.Cluster():
		return fmt.Errorf("transport: own certificate: %s belongs to another cluster: this is %s",
			name, c.Members.Cluster())
	case name.Replica != c.Self || c.Self == 0:
		return fmt.Errorf("transport: this is replica %d, but its certificate is that of %s", c.Self, name)
	case found && member.Fingerprint != c.Credential.Fingerprint():
		return fmt.Errorf("transport: this replica's key is %s, but the membership binds replica %d to key %s",
			identity.Fingerprint(c.Credential.Fingerprint()), c.Self, member.Fingerprint)
	}
	return nil
}
