package wire

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/epaxos"
)

var validateCodec = messageCodec("validate",
	func(t *rapid.T) epaxos.Message {
		return epaxos.Validate{
			ID: drawInstance(t), Ballot: drawBallot(t), Command: drawCommand(t), Initial: drawDependencies(t),
		}
	},
	messageSample{"usual", epaxos.Validate{
		ID: id(3, 42), Ballot: epaxos.Ballot{Number: 1, Replica: 2},
		Command: put("x", "payload"), Initial: epaxos.Dependencies{41, 0, 7},
	}},
)

var validateReplyCodec = messageCodec("validate_reply",
	func(t *rapid.T) epaxos.Message {
		return epaxos.ValidateReply{
			ID: drawInstance(t), Ballot: drawBallot(t),
			Conflicts: drawList(t, 20, func(t *rapid.T) epaxos.Conflict {
				return epaxos.Conflict{ID: drawInstance(t), Committed: rapid.Bool().Draw(t, "committed")}
			}),
		}
	},
	messageSample{"assent", epaxos.ValidateReply{ID: id(3, 42), Ballot: epaxos.Ballot{Number: 1, Replica: 2}}},
	messageSample{"two conflicts", epaxos.ValidateReply{
		ID: id(3, 42), Ballot: epaxos.Ballot{Number: 1, Replica: 2},
		Conflicts: []epaxos.Conflict{{ID: id(1, 50)}, {ID: id(2, 51), Committed: true}},
	}},
)

var waitingCodec = messageCodec("waiting",
	func(t *rapid.T) epaxos.Message {
		return epaxos.Waiting{ID: drawInstance(t), Count: rapid.IntRange(0, epaxos.VotersMax).Draw(t, "count")}
	},
	messageSample{"usual", epaxos.Waiting{ID: id(3, 42), Count: 2}},
)

func TestValidate(t *testing.T)            { validateCodec.test(t) }
func TestValidateReply(t *testing.T)       { validateReplyCodec.test(t) }
func TestWaiting(t *testing.T)             { waitingCodec.test(t) }
func FuzzDecodeValidateReply(f *testing.F) { validateReplyCodec.fuzz(f) }
func FuzzDecodeValidate(f *testing.F)      { validateCodec.fuzz(f) }
func FuzzDecodeWaiting(f *testing.F)       { waitingCodec.fuzz(f) }
