package wire

import (
	"errors"
	"fmt"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Limits of what one encoding holds. Decoders refuse more.
const (
	PeerFrameMax   = 1 << 20 // bytes of the body of a frame between replicas
	ClientFrameMax = 1 << 20 // bytes of the body of a frame between a client and a replica

	// CommandMax bounds Command.Size. It leaves room in a peer frame for the lengths of RequestsMax
	// requests and FootprintMax accesses, and for two dependency vectors.
	CommandMax   = PeerFrameMax - 128<<10
	RequestsMax  = 1024 // requests in one command
	FootprintMax = 4096 // accesses of one command

	KeyMax    = 4096      // bytes of a key of the key-value machine
	ValueMax  = 256 << 10 // bytes of a value of the key-value machine
	ResultMax = 512 << 10 // bytes of the values in the results of one transaction
	OpsMax    = 128       // comparisons, and operations of each branch, in one transaction

	NameMax     = 64   // bytes of the name of a client or a member
	EndpointMax = 256  // bytes of host:port
	DetailMax   = 1024 // bytes of the explanation in a response
	MembersMax  = 256  // members told to a client
	TokenMax    = 1024 // bytes of a token

	WatchTokenMax  = 12 << 10  // bytes of a token of a watch
	WatchEventsMax = 512       // events in one answer to a watch
	WatchBytesMax  = 384 << 10 // bytes of keys and values in one answer to a watch, unless a single event has more

	SessionWindow = 1024 // numbers from its floor on that a session takes

	LeaseKeysMax  = 512       // keys attached to one lease
	LeaseBytesMax = 64 << 10  // bytes of their names
	LeaseTTLMax   = 86400_000 // milliseconds that count of the time to live of a session: a day
)

// ErrTooLarge is wrapped by errors about commands that fit in no frame.
var ErrTooLarge = errors.New("too large")

// CheckCommand reports why a command must not be proposed, or nil. What passes is accepted by every
// decoder and fits in one peer frame with the rest of its message; what does not would be refused by
// every peer, again and again.
func CheckCommand(c *epaxos.Command) error {
	switch {
	case len(c.Requests) > RequestsMax:
		return fmt.Errorf("command of %d requests is %w: at most %d, propose them in parts",
			len(c.Requests), ErrTooLarge, RequestsMax)
	case len(c.Footprint) > FootprintMax:
		return fmt.Errorf("command that touches %d keys is %w: at most %d, split it or use ranges",
			len(c.Footprint), ErrTooLarge, FootprintMax)
	case c.Size() > CommandMax:
		return fmt.Errorf("command of %d bytes, keys included, is %w: at most %d, split it",
			c.Size(), ErrTooLarge, CommandMax)
	}
	return nil
}
