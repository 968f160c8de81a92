package wire

import "github.com/264bc8cf/epaxos/epaxos"

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
}

// RequestKind is what a client asks for.
type RequestKind uint8

const (
	RequestCommand  RequestKind = iota + 1 // replicate Payload through the state machine
	RequestStatus                          // the replica's view of itself: Response.Result is JSON
	RequestPing                            // answered at once; measures the round trip
	RequestControl                         // replicate Payload, a Control; Response.Result is a ControlResult
	RequestSnapshot                        // Payload is a SnapshotRequest, Response.Result a SnapshotPart
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
}

// Code classifies a response.
type Code uint8

const (
	CodeOK          Code = iota + 1
	CodeInvalid          // the request cannot be carried out as it stands
	CodeOverloaded       // the queue of the replica is full
	CodeUnavailable      // the replica cannot serve now (starting, draining, out of disk)
	CodeTimeout          // the deadline passed first
	CodeInternal         // the replica is stopping because of a fault
)

// Outcome says what became of the effect of a request.
type Outcome uint8

const (
	OutcomeApplied Outcome = iota + 1
	OutcomeNotApplied
	OutcomeUnknown
)
