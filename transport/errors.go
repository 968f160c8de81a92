package transport

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/quic-go/quic-go"
)

// CloseCode says why a connection between replicas was closed. It travels with the close.
type CloseCode uint64

const (
	CloseShutdown     CloseCode = iota + 1 // the host is closing
	CloseHelloRefused                      // CheckHello refused; the reason is its error
	CloseProtocol                          // a frame that must not be
	CloseSuperseded                        // the same peer opened the same lane anew
	CloseBusy                              // too many connections; come back later
	CloseRemoved                           // the peer is no longer a member, and never will be again
	CloseTimeout                           // no hello in time
	CloseNotMember                         // the peer is not a member, as far as is known here
	CloseRedial                            // the peer's key, address or incarnation changed
	CloseIdle                              // a bulk connection that nobody uses
)

func (c CloseCode) String() string {
	switch c {
	case CloseShutdown:
		return "shutting down"
	case CloseHelloRefused:
		return "hello refused"
	case CloseProtocol:
		return "protocol violation"
	case CloseSuperseded:
		return "superseded"
	case CloseBusy:
		return "busy"
	case CloseRemoved:
		return "removed"
	case CloseTimeout:
		return "no hello in time"
	case CloseNotMember:
		return "not a member"
	case CloseRedial:
		return "to be dialed anew"
	case CloseIdle:
		return "idle"
	default:
		return fmt.Sprintf("code %d", uint64(c))
	}
}

const closeReasonBytesMax = 512

// closeConn closes a connection with a code and a reason that the other end reads.
func closeConn(conn *quic.Conn, code CloseCode, reason string) {
	// The error says only that the connection had ended before.
	_ = conn.CloseWithError(quic.ApplicationErrorCode(code), reason[:min(len(reason), closeReasonBytesMax)])
}

// PeerError is a connection that the peer closed, by name.
type PeerError struct {
	Code   CloseCode
	Reason string // a sentence for people
}

// disowned finds the answer of a peer that this replica is no member.
func disowned(err error) (*PeerError, bool) {
	var closed *PeerError
	if errors.As(err, &closed) && (closed.Code == CloseRemoved || closed.Code == CloseNotMember) {
		return closed, true
	}
	return nil, false
}

func (e *PeerError) Error() string {
	return fmt.Sprintf("closed by the peer: %s: %q", e.Code, e.Reason)
}

// protocolError is a frame that no member may send.
type protocolError struct{ what string }

// Error goes to the logs of both ends: the closing end tells it to the other.
func (e protocolError) Error() string {
	return "the peer does not speak this protocol: " + e.what + "; let both replicas run versions of one format"
}

// refusal is a CheckHello that failed here.
type refusal struct{ err error }

func (e refusal) Error() string { return "refused the peer's hello: " + e.err.Error() }
func (e refusal) Unwrap() error { return e.err }

// errNothingToSay ends a connection for which Hello returned nothing: the host is about to close, and an
// empty hello would look to the peer like that of a broken replica.
var errNothingToSay = errors.New("this replica is stopping")

// codeFor is the code under which a connection ends that failed here with err.
func codeFor(err error) CloseCode {
	var broken protocolError
	var refused refusal
	switch {
	case errors.As(err, &refused):
		return CloseHelloRefused
	case errors.As(err, &broken):
		return CloseProtocol
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return CloseTimeout
	default:
		return CloseShutdown
	}
}

// What may have become of a peer, for errors.Is.
var (
	errRestarted    = errors.New("the peer restarted")
	errSilent       = errors.New("the peer fell silent")
	errCertRefused  = errors.New("the peer refused this replica's certificate, its log says why")
	errHandshakeMax = errors.New("the peer has too many handshakes open")
)

// explain turns what QUIC says about the end of a connection into what an operator needs to hear.
func explain(err error) error {
	var application *quic.ApplicationError
	var transport *quic.TransportError
	var reset *quic.StatelessResetError
	var idle *quic.IdleTimeoutError
	switch {
	case errors.As(err, &application) && application.Remote:
		return &PeerError{Code: CloseCode(application.ErrorCode), Reason: application.ErrorMessage}
	case errors.As(err, &transport) && transport.Remote && transport.ErrorCode.IsCryptoError():
		return fmt.Errorf("%w: %w", errCertRefused, err)
	case errors.As(err, &transport) && transport.Remote && transport.ErrorCode == quic.ConnectionRefused:
		return fmt.Errorf("%w: %w", errHandshakeMax, err)
	case errors.As(err, &reset):
		return fmt.Errorf("%w: %w", errRestarted, err)
	case errors.As(err, &idle):
		return fmt.Errorf("%w: %w", errSilent, err)
	default:
		return err
	}
}
