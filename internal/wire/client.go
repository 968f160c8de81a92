package wire

import (
	"math"

	"github.com/264bc8cf/epaxos/epaxos"
)

// ClientHello opens a client's stream. The server answers with ServerHello.
type ClientHello struct {
	Cluster   [16]byte
	FormatMin uint32
	FormatMax uint32
	Name      string // for logs, at most 64 bytes
}

// ServerHello answers ClientHello, and is sent again whenever Draining or the members change.
type ServerHello struct {
	Cluster  [16]byte
	Format   uint32
	Replica  epaxos.ReplicaID
	Draining bool
	Members  []MemberInfo
	Epoch    epaxos.Epoch // of Members; 0 is unknown
}

// ClientRequest is one request on a client's stream. Its id is unique on the stream while the
// request is open.
type ClientRequest struct {
	ID      uint64
	Kind    RequestKind
	Timeout uint64 // microseconds the client will still wait; 0 is none
	Session epaxos.InstanceID
	Number  uint64
	Payload []byte

	Consistency Consistency // with RequestRead
	// Token is with SessionConsistency, and with a RequestWatch that begins: as AppendToken wrote it. What is told
	// shows at least what it names. With CutConsistency it is the id of the cut, as AppendInstanceID wrote it.
	Token []byte
}

// RequestKind is what a client asks for.
type RequestKind uint8

const (
	RequestCommand  RequestKind = iota + 1 // replicate Payload through the state machine
	RequestStatus                          // the replica's view of itself: Response.Result is JSON
	RequestPing                            // answered at once; measures the round trip
	RequestControl                         // replicate Payload, a Control; Response.Result is a ControlResult
	RequestSnapshot                        // Payload is a SnapshotRequest, Response.Result a SnapshotPart
	RequestSession                         // replicate Payload, a SessionOp; Response.Result is a SessionResult
	RequestRead                            // answer Payload, which changes nothing, as Consistency says
	RequestWatch                           // Payload is a WatchRequest, Response.Result a WatchResult; see Token
	RequestRelease                         // Payload is the id of a cut, which this replica need not keep any longer
)

// Consistency says what a read may show.
type Consistency uint8

const (
	Linearizable       Consistency = iota + 1 // all that was answered anywhere before the read began
	SessionConsistency                        // all that Token names
	Stale                                     // what the replica has executed
	CutConsistency                            // what was executed before the cut that Token names, and nothing else
)

// ClientResponse answers the request with the same id.
type ClientResponse struct {
	ID      uint64
	Code    Code
	Outcome Outcome
	Retry   bool // the same request may be sent again, here or elsewhere, without harm
	Replica epaxos.ReplicaID
	Fast    bool // the instance was committed on the fast path
	Result  []byte
	Detail  string // for people; empty with CodeOK
	Token   []byte // names all that the answer may show, as AppendToken wrote it; may be empty
	Age     uint64 // of a stale read: microseconds, see AgeUnknown
}

// AgeUnknown says that a replica cannot tell how old its state is. Otherwise all that was answered anywhere
// before that long ago is shown.
const AgeUnknown = math.MaxUint64

// Code classifies a response.
type Code uint8

const (
	CodeOK          Code = iota + 1
	CodeInvalid          // the request cannot be carried out as it stands
	CodeOverloaded       // the queue of the replica is full
	CodeUnavailable      // the replica cannot serve now (starting, draining, out of disk)
	CodeTimeout          // the deadline passed first
	CodeInternal         // the replica is stopping because of a fault

	// The codes that follow answer requests of sessions only, so programs that know none never meet them.

	CodeSessionGone    // there is no such session: it expired or was closed
	CodeSessionCovered // a checkpoint covers the number
	CodeSessionWindow  // the number is beyond the window of the session
	CodeSettled        // it was settled that the request is never executed

	CodeCutGone // with CutConsistency: this replica does not hold the state at the cut (any more)
)

// Outcome says what became of the effect of a request. Of a request of a session, OutcomeNotApplied is said of
// the copy that is answered, except with CodeSettled: only the client knows whether it has sent others.
type Outcome uint8

const (
	OutcomeApplied Outcome = iota + 1
	OutcomeNotApplied
	OutcomeUnknown
)
