package wire

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/epaxos"
)

var recoverCodec = messageCodec("recover",
	func(t *rapid.T) epaxos.Message {
		return epaxos.Recover{ID: drawInstance(t), Ballot: drawBallot(t)}
	},
	messageSample{"usual", epaxos.Recover{ID: id(3, 42), Ballot: epaxos.Ballot{Number: 1, Replica: 2}}},
)

var recoverReplyCodec = messageCodec("recover_reply",
	func(t *rapid.T) epaxos.Message {
		m := epaxos.RecoverReply{
			ID: drawInstance(t), Ballot: drawBallot(t), Phase: drawPhase(t), Accepted: drawBallot(t),
			Deps: drawDependencies(t), Initial: drawDependencies(t),
		}
		if rapid.Bool().Draw(t, "value") {
			m.Value = drawValue(t, epaxos.Full)
		}
		return m
	},
	messageSample{"nothing known", epaxos.RecoverReply{ID: id(3, 42), Ballot: epaxos.Ballot{Number: 1, Replica: 2}}},
	messageSample{"pre-accepted", epaxos.RecoverReply{
		ID: id(3, 42), Ballot: epaxos.Ballot{Number: 1, Replica: 2}, Phase: epaxos.PreAccepted,
		Value: epaxos.Value{Kind: epaxos.Full, Command: put("x", "payload")},
		Deps:  epaxos.Dependencies{41, 2, 7}, Initial: epaxos.Dependencies{41, 0, 7},
	}},
	messageSample{"accepted as a no-op", epaxos.RecoverReply{
		ID: id(3, 42), Ballot: epaxos.Ballot{Number: 4, Replica: 2}, Phase: epaxos.Accepted,
		Accepted: epaxos.Ballot{Number: 3, Replica: 1}, Value: epaxos.Value{Kind: epaxos.NoOp},
		Deps: epaxos.Dependencies{0, 0, 0},
	}},
)

var refusalCodec = messageCodec("refusal",
	func(t *rapid.T) epaxos.Message {
		return epaxos.Refusal{ID: drawInstance(t), Promised: drawBallot(t)}
	},
	messageSample{"usual", epaxos.Refusal{ID: id(3, 42), Promised: epaxos.Ballot{Number: 7, Replica: 5}}},
)

var tryRecoverCodec = messageCodec("try_recover",
	func(t *rapid.T) epaxos.Message { return epaxos.TryRecover{IDs: drawInstances(t)} },
	messageSample{"two", epaxos.TryRecover{IDs: []epaxos.InstanceID{id(3, 42), id(1, 300)}}},
)

func TestRecover(t *testing.T)            { recoverCodec.test(t) }
func TestRecoverReply(t *testing.T)       { recoverReplyCodec.test(t) }
func TestRefusal(t *testing.T)            { refusalCodec.test(t) }
func TestTryRecover(t *testing.T)         { tryRecoverCodec.test(t) }
func FuzzDecodeRecoverReply(f *testing.F) { recoverReplyCodec.fuzz(f) }
func FuzzDecodeRecover(f *testing.F)      { recoverCodec.fuzz(f) }
func FuzzDecodeRefusal(f *testing.F)      { refusalCodec.fuzz(f) }
func FuzzDecodeTryRecover(f *testing.F)   { tryRecoverCodec.fuzz(f) }
