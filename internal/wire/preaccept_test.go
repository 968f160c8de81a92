package wire

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/epaxos"
)

var preAcceptCodec = messageCodec("pre_accept",
	func(t *rapid.T) epaxos.Message {
		return epaxos.PreAccept{ID: drawInstance(t), Command: drawCommand(t), Initial: drawDependencies(t)}
	},
	messageSample{"usual", epaxos.PreAccept{
		ID: id(3, 42), Command: put("x", "payload"), Initial: epaxos.Dependencies{41, 0, 7},
	}},
	messageSample{"manifold", epaxos.PreAccept{
		ID:      epaxos.InstanceID{Epoch: 2, Replica: 300, Slot: 1 << 33},
		Command: manifold(), Initial: epaxos.Dependencies{1, 200, 70000, 1 << 33, 0},
	}},
	messageSample{"empty", epaxos.PreAccept{ID: id(1, 1), Command: &epaxos.Command{}, Initial: epaxos.Dependencies{}}},
)

var preAcceptReplyCodec = messageCodec("pre_accept_reply",
	func(t *rapid.T) epaxos.Message {
		return epaxos.PreAcceptReply{ID: drawInstance(t), Deps: drawDependencies(t)}
	},
	messageSample{"usual", epaxos.PreAcceptReply{ID: id(3, 42), Deps: epaxos.Dependencies{41, 2, 7}}},
	messageSample{"unknown", epaxos.PreAcceptReply{ID: id(3, 42)}},
)

func TestPreAccept(t *testing.T)            { preAcceptCodec.test(t) }
func TestPreAcceptReply(t *testing.T)       { preAcceptReplyCodec.test(t) }
func FuzzDecodePreAccept(f *testing.F)      { preAcceptCodec.fuzz(f) }
func FuzzDecodePreAcceptReply(f *testing.F) { preAcceptReplyCodec.fuzz(f) }
