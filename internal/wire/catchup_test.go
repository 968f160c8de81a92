package wire

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/epaxos"
)

var fetchCodec = messageCodec("fetch",
	func(t *rapid.T) epaxos.Message { return epaxos.Fetch{IDs: drawInstances(t)} },
	messageSample{"two", epaxos.Fetch{IDs: []epaxos.InstanceID{id(3, 42), id(1, 300)}}},
)

var gossipCodec = messageCodec("gossip",
	func(t *rapid.T) epaxos.Message {
		return epaxos.Gossip{
			Epoch:    epaxos.Epoch(drawNumber(t, 1, math.MaxUint32)),
			Executed: drawDependencies(t), Tops: drawDependencies(t), Stable: drawDependencies(t),
		}
	},
	messageSample{"usual", epaxos.Gossip{
		Epoch: 1, Executed: epaxos.Dependencies{40, 300, 7}, Tops: epaxos.Dependencies{44, 310, 7},
		Stable: epaxos.Dependencies{40, 290, 6},
	}},
)

var truncatedCodec = messageCodec("truncated",
	func(t *rapid.T) epaxos.Message { return epaxos.Truncated{ID: drawInstance(t)} },
	messageSample{"usual", epaxos.Truncated{ID: id(3, 42)}},
)

func TestFetch(t *testing.T)           { fetchCodec.test(t) }
func TestGossip(t *testing.T)          { gossipCodec.test(t) }
func TestTruncated(t *testing.T)       { truncatedCodec.test(t) }
func FuzzDecodeGossip(f *testing.F)    { gossipCodec.fuzz(f) }
func FuzzDecodeFetch(f *testing.F)     { fetchCodec.fuzz(f) }
func FuzzDecodeTruncated(f *testing.F) { truncatedCodec.fuzz(f) }
