package wire

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/epaxos"
)

var readQueryCodec = messageCodec("read_query",
	func(t *rapid.T) epaxos.Message {
		return epaxos.ReadQuery{
			Epoch: epaxos.Epoch(drawNumber(t, 1, math.MaxUint32)), Number: drawNumber(t, 1, math.MaxUint64),
			Footprint: drawCommand(t).Footprint,
		}
	},
	messageSample{"usual", epaxos.ReadQuery{
		Epoch: 2, Number: 300, Footprint: epaxos.Footprint{{Mode: epaxos.Read, Key: "x"}},
	}},
)

var readReplyCodec = messageCodec("read_reply",
	func(t *rapid.T) epaxos.Message {
		return epaxos.ReadReply{
			Epoch: epaxos.Epoch(drawNumber(t, 1, math.MaxUint32)), Number: drawNumber(t, 1, math.MaxUint64),
			Deps: drawDependencies(t),
		}
	},
	messageSample{"usual", epaxos.ReadReply{Epoch: 2, Number: 300, Deps: epaxos.Dependencies{40, 300, 7}}},
)

func TestReadQuery(t *testing.T)       { readQueryCodec.test(t) }
func TestReadReply(t *testing.T)       { readReplyCodec.test(t) }
func FuzzDecodeReadQuery(f *testing.F) { readQueryCodec.fuzz(f) }
func FuzzDecodeReadReply(f *testing.F) { readReplyCodec.fuzz(f) }
