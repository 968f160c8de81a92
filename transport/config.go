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
// may call any method of the host but Close and Refresh.
type Config struct {
	Self epaxos.ReplicaID
	// Conn is the replica's socket: a *net.UDPConn, or an emulated one. The host owns it from the
	// call of NewHost on, and closes it even if NewHost fails.
	Conn       net.PacketConn
	Credential *identity.Credential
	Members    *identity.Members // Self among them
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

	Lanes             int           // connections to each peer; 0 is 1
	QueueBytes        int           // bytes waiting for one peer; 0 is DefaultQueueBytes
	FrameBytesMax     int           // longest body sent or received; 0 is DefaultFrameBytesMax
	HeartbeatInterval time.Duration // 0 is DefaultHeartbeatInterval
	SuspectAfter      time.Duration // silence after which Suspected; 0 is DefaultSuspectAfter
	ClientsMax        int           // client connections open at a time; 0 is DefaultClientsMax

	Logger *slog.Logger   // nil is silence
	Rand   func() float64 // in [0,1), for the jitter of redials; nil is the runtime's generator
}

// withDefaults fills in what is zero and refuses what cannot work.
func (c Config) withDefaults() (Config, error) {
	c.Lanes = orDefault(c.Lanes, 1)
	c.QueueBytes = orDefault(c.QueueBytes, DefaultQueueBytes)
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
	case c.HeartbeatInterval < time.Millisecond || c.SuspectAfter < c.HeartbeatInterval:
		return fmt.Errorf("transport: heartbeat every %v, suspicion after %v: need 1ms <= heartbeat <= suspicion",
			c.HeartbeatInterval, c.SuspectAfter)
	}
	member, err := c.Members.Verify(c.Credential.Certificate)
	if err != nil {
		return fmt.Errorf("transport: own certificate: %w", err)
	}
	if member.Replica != c.Self {
		return fmt.Errorf("transport: this is replica %d, but its certificate is that of replica %d",
			c.Self, member.Replica)
	}
	return nil
}
