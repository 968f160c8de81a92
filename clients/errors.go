package clients

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Code classifies why an operation failed.
type Code uint8

// The first group is said by a replica, the second by the client itself.
const (
	CodeInvalid     = Code(wire.CodeInvalid)     // the request cannot be carried out as it stands
	CodeOverloaded  = Code(wire.CodeOverloaded)  // the replica's queue is full
	CodeUnavailable = Code(wire.CodeUnavailable) // the replica cannot serve now, or the connection to it was lost
	CodeTimeout     = Code(wire.CodeTimeout)     // the deadline passed first
	CodeInternal    = Code(wire.CodeInternal)    // the replica is stopping because of a fault

	// Of requests of sessions.

	CodeSessionGone    = Code(wire.CodeSessionGone)    // the session expired, or was closed
	CodeSessionCovered = Code(wire.CodeSessionCovered) // the session has forgotten the request
	CodeSessionWindow  = Code(wire.CodeSessionWindow)  // the number is too far from the last checkpoint
	CodeSettled        = Code(wire.CodeSettled)        // somebody asked for the outcome before it was executed

	CodeCutGone = Code(wire.CodeCutGone) // no replica holds the state at the cut

	CodeCanceled Code = 128 // the caller's context was cancelled
	CodeClosed   Code = 129 // the client was closed
	CodeProtocol Code = 130 // the answer cannot be understood
)

// String is the word used in error texts.
func (c Code) String() string {
	switch c {
	case CodeInvalid:
		return "invalid request"
	case CodeOverloaded:
		return "overloaded"
	case CodeUnavailable:
		return "unavailable"
	case CodeTimeout:
		return "deadline exceeded"
	case CodeInternal:
		return "internal fault"
	case CodeSessionGone:
		return "session expired"
	case CodeSessionCovered:
		return "forgotten by the session"
	case CodeSessionWindow:
		return "beyond the window of the session"
	case CodeSettled:
		return "settled as not applied"
	case CodeCutGone:
		return "cut gone"
	case CodeCanceled:
		return "cancelled"
	case CodeClosed:
		return "client closed"
	case CodeProtocol:
		return "protocol violation"
	default:
		return fmt.Sprintf("code %d", uint8(c))
	}
}

// Outcome says what became of the effect of an operation. It is the most important part of an
// error: it decides whether the operation may be repeated.
type Outcome uint8

const (
	// Applied: the operation took effect, once.
	Applied = Outcome(wire.OutcomeApplied)
	// NotApplied: the operation had no effect, and never will have.
	NotApplied = Outcome(wire.OutcomeNotApplied)
	// Unknown: the operation may have taken effect, or may yet do so.
	Unknown = Outcome(wire.OutcomeUnknown)
)

// String is the word used in error texts.
func (o Outcome) String() string {
	switch o {
	case Applied:
		return "applied"
	case NotApplied:
		return "not applied"
	default:
		return "outcome unknown"
	}
}

// Error is the only type of error that operations return.
type Error struct {
	Code    Code
	Outcome Outcome
	// Retryable: the same operation may be sent again without harm. It is never set while the
	// outcome is unknown, unless the operation only reads.
	Retryable bool
	// Replica is the replica that the operation was last sent to; 0 if it was sent to none.
	Replica epaxos.ReplicaID
	// Request names the operation for Outcome; zero if the cluster knows it by no name.
	Request RequestID
	// Detail is a sentence for people. Programs must not parse it.
	Detail string

	causes []error
}

// Sentinels for errors.Is. Each matches every *Error of its kind.
var (
	ErrOutcomeUnknown = errors.New("outcome unknown")
	ErrOverloaded     = errors.New("overloaded")
	ErrUnavailable    = errors.New("unavailable")
	ErrInvalid        = errors.New("invalid request")
	ErrClosed         = errors.New("client closed")
	// ErrSessionExpired: the session ended while the operation was under way.
	ErrSessionExpired = errors.New("session expired")
	// ErrOutcomeForgotten: nobody can tell any more what became of a request, since its session has gone on.
	ErrOutcomeForgotten = errors.New("outcome forgotten")
	// ErrCutGone: no replica that could be asked holds the state at a cut any more.
	ErrCutGone   = errors.New("cut gone")
	ErrWrongType = errors.New("the value is not a decimal number")
)

// Error tells the code, the outcome, the replica and the detail, in this order.
func (e *Error) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "epaxos: %s (%s", e.Code, e.Outcome)
	if e.Retryable {
		text.WriteString(", retryable")
	}
	text.WriteString(")")
	if !e.Request.IsZero() && e.Outcome == Unknown {
		fmt.Fprintf(&text, " of request %v", e.Request)
	}
	if e.Replica != 0 {
		fmt.Fprintf(&text, " at replica %d", e.Replica)
	}
	if e.Detail != "" {
		text.WriteString(": ")
		text.WriteString(e.Detail)
	}
	return text.String()
}

// Is makes errors.Is find the sentinels of this package.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrOutcomeUnknown:
		return e.Outcome == Unknown
	case ErrOverloaded:
		return e.Code == CodeOverloaded
	case ErrUnavailable:
		return e.Code == CodeUnavailable
	case ErrInvalid:
		return e.Code == CodeInvalid
	case ErrClosed:
		return e.Code == CodeClosed
	case ErrSessionExpired:
		return e.Code == CodeSessionGone
	case ErrOutcomeForgotten:
		return e.Code == CodeSessionCovered
	case ErrCutGone:
		return e.Code == CodeCutGone
	case context.DeadlineExceeded:
		return e.Code == CodeTimeout
	default:
		return false
	}
}

// Unwrap returns what led to the error: the context's error, and the last refusal by a replica.
func (e *Error) Unwrap() []error { return e.causes }

// OutcomeOf tells what became of an operation that returned err: Applied for nil, and Unknown for
// errors that did not come from this package.
func OutcomeOf(err error) Outcome {
	if err == nil {
		return Applied
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Outcome
	}
	return Unknown
}

// IsRetryable reports whether the operation that returned err may be sent again without harm.
func IsRetryable(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Retryable
}
