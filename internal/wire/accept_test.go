package wire

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/epaxos"
)

var acceptCodec = messageCodec("accept",
	func(t *rapid.T) epaxos.Message {
		return epaxos.Accept{
			ID: drawInstance(t), Ballot: drawBallot(t), Value: drawValue(t, epaxos.Full), Deps: drawDependencies(t),
		}
	},
	messageSample{"slow path", epaxos.Accept{
		ID: id(3, 42), Value: epaxos.Value{Kind: epaxos.Full, Command: put("x", "payload")},
		Deps: epaxos.Dependencies{41, 2, 7},
	}},
	messageSample{"no-op of a recovery", epaxos.Accept{
		ID: id(3, 42), Ballot: epaxos.Ballot{Number: 1, Replica: 2},
		Value: epaxos.Value{Kind: epaxos.NoOp}, Deps: epaxos.Dependencies{0, 0, 0},
	}},
)

var acceptReplyCodec = messageCodec("accept_reply",
	func(t *rapid.T) epaxos.Message {
		return epaxos.AcceptReply{ID: drawInstance(t), Ballot: drawBallot(t)}
	},
	messageSample{"slow path", epaxos.AcceptReply{ID: id(3, 42)}},
	messageSample{"recovery", epaxos.AcceptReply{ID: id(3, 42), Ballot: epaxos.Ballot{Number: 300, Replica: 2}}},
)

var commitCodec = messageCodec("commit",
	func(t *rapid.T) epaxos.Message {
		return epaxos.Commit{
			ID: drawInstance(t), Ballot: drawBallot(t), Value: drawValue(t, epaxos.Known), Deps: drawDependencies(t),
		}
	},
	messageSample{"known", epaxos.Commit{
		ID: id(3, 42), Value: epaxos.Value{Kind: epaxos.Known}, Deps: epaxos.Dependencies{41, 2, 7},
	}},
	messageSample{"full", epaxos.Commit{
		ID: id(3, 42), Value: epaxos.Value{Kind: epaxos.Full, Command: put("x", "payload")},
		Deps: epaxos.Dependencies{41, 2, 7},
	}},
	messageSample{"no-op", epaxos.Commit{
		ID: id(3, 42), Ballot: epaxos.Ballot{Number: 2, Replica: 5},
		Value: epaxos.Value{Kind: epaxos.NoOp}, Deps: epaxos.Dependencies{0, 0, 0},
	}},
)

func TestAccept(t *testing.T)            { acceptCodec.test(t) }
func TestAcceptReply(t *testing.T)       { acceptReplyCodec.test(t) }
func TestCommit(t *testing.T)            { commitCodec.test(t) }
func FuzzDecodeCommit(f *testing.F)      { commitCodec.fuzz(f) }
func FuzzDecodeAccept(f *testing.F)      { acceptCodec.fuzz(f) }
func FuzzDecodeAcceptReply(f *testing.F) { acceptReplyCodec.fuzz(f) }
