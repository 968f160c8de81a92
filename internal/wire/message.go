package wire

import (
	"fmt"
	"math"

	"github.com/264bc8cf/epaxos/epaxos"
)

// MessageType is the first field of every message. Numbers are never given away twice: a message that
// changes in a way that old programs must not ignore gets a new one.
type MessageType uint16

// Messages between replicas.
const (
	TypePreAccept MessageType = iota + 1
	TypePreAcceptReply
	TypeAccept
	TypeAcceptReply
	TypeCommit
	TypeRecover
	TypeRecoverReply
	TypeValidate
	TypeValidateReply
	TypeWaiting
	TypeRefusal
	TypeTryRecover
	TypeFetch
	TypeGossip
	TypeHello
	TypeTruncated
	TypeEnded
	TypeStateRequest
	TypeStateChunk
	TypeReadQuery
	TypeReadReply
)

// Messages between a client and a replica.
const (
	TypeClientHello MessageType = iota + 64
	TypeServerHello
	TypeClientRequest
	TypeClientResponse
)

// AppendMessage appends one message of the protocol: an array of its type and its fields.
func AppendMessage(dst []byte, m epaxos.Message) []byte {
	e := appendTo(dst)
	e.protocol(m)
	return e.done()
}

func (e *encoder) protocol(m epaxos.Message) {
	switch m := m.(type) {
	case epaxos.PreAccept:
		e.preAccept(&m)
	case epaxos.PreAcceptReply:
		e.preAcceptReply(&m)
	case epaxos.Accept:
		e.accept(&m)
	case epaxos.AcceptReply:
		e.acceptReply(&m)
	case epaxos.Commit:
		e.commit(&m)
	case epaxos.Recover:
		e.recover(&m)
	case epaxos.RecoverReply:
		e.recoverReply(&m)
	case epaxos.Validate:
		e.validate(&m)
	case epaxos.ValidateReply:
		e.validateReply(&m)
	case epaxos.Waiting:
		e.waiting(&m)
	case epaxos.Refusal:
		e.refusal(&m)
	case epaxos.TryRecover:
		e.tryRecover(&m)
	case epaxos.Fetch:
		e.fetch(&m)
	case epaxos.Gossip:
		e.gossip(&m)
	case epaxos.Truncated:
		e.truncated(&m)
	case epaxos.Ended:
		e.ended(&m)
	case epaxos.StateRequest:
		e.stateRequest(&m)
	case epaxos.StateChunk:
		e.stateChunk(&m)
	case epaxos.ReadQuery:
		e.readQuery(&m)
	case epaxos.ReadReply:
		e.readReply(&m)
	default:
		panic(fmt.Sprintf("wire: message type %T of the core has no encoding", m))
	}
}

// protocol reads one message of the protocol.
func (d *decoder) protocol() epaxos.Message {
	d.what = "message"
	fields := d.fields("array", 1)
	kind := MessageType(d.uint("type", 1, math.MaxUint16))
	if !d.ok() {
		return nil
	}
	if int(kind) >= len(protocol) || protocol[kind].read == nil {
		d.fail("type", "%d is no message between replicas of format %d to %d", kind, FormatMin, Format)
		return nil
	}
	known := &protocol[kind]
	d.what = known.name
	if fields < known.fields {
		d.fail("array", "%d fields, at least %d", fields, known.fields)
		return nil
	}
	m := known.read(d)
	d.skip(fields - known.fields)
	return m
}

// protocol lists the messages between replicas by type, with the number of their fields.
var protocol = [...]struct {
	name   string
	fields int
	read   func(*decoder) epaxos.Message
}{
	TypePreAccept:      {"PreAccept", 3, (*decoder).preAccept},
	TypePreAcceptReply: {"PreAcceptReply", 2, (*decoder).preAcceptReply},
	TypeAccept:         {"Accept", 4, (*decoder).accept},
	TypeAcceptReply:    {"AcceptReply", 2, (*decoder).acceptReply},
	TypeCommit:         {"Commit", 4, (*decoder).commit},
	TypeRecover:        {"Recover", 2, (*decoder).recover},
	TypeRecoverReply:   {"RecoverReply", 7, (*decoder).recoverReply},
	TypeValidate:       {"Validate", 4, (*decoder).validate},
	TypeValidateReply:  {"ValidateReply", 3, (*decoder).validateReply},
	TypeWaiting:        {"Waiting", 2, (*decoder).waiting},
	TypeRefusal:        {"Refusal", 2, (*decoder).refusal},
	TypeTryRecover:     {"TryRecover", 1, (*decoder).tryRecover},
	TypeFetch:          {"Fetch", 1, (*decoder).fetch},
	TypeGossip:         {"Gossip", 4, (*decoder).gossip},
	TypeTruncated:      {"Truncated", 1, (*decoder).truncated},
	TypeEnded:          {"Ended", 2, (*decoder).ended},
	TypeStateRequest:   {"StateRequest", 5, (*decoder).stateRequest},
	TypeStateChunk:     {"StateChunk", 10, (*decoder).stateChunk},
	TypeReadQuery:      {"ReadQuery", 3, (*decoder).readQuery},
	TypeReadReply:      {"ReadReply", 3, (*decoder).readReply},
}
