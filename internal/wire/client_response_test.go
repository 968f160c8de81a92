package wire

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

var clientResponseCodec = codec[ClientResponse]{
	name: "client_response",
	samples: []sample[ClientResponse]{
		{"applied", ClientResponse{
			ID: 1, Code: CodeOK, Outcome: OutcomeApplied, Replica: 2, Fast: true, Result: []byte("result"),
		}},
		{"refused", ClientResponse{
			ID: math.MaxUint64, Code: CodeOverloaded, Outcome: OutcomeNotApplied, Retry: true, Replica: 300,
			Detail: "the queue is full",
		}},
	},
	generate: func(t *rapid.T) ClientResponse {
		return ClientResponse{
			ID: drawNumber(t, 0, math.MaxUint64), Code: Code(drawNumber(t, uint64(CodeOK), uint64(CodeInternal))),
			Outcome: Outcome(drawNumber(t, uint64(OutcomeApplied), uint64(OutcomeUnknown))),
			Retry:   rapid.Bool().Draw(t, "retry"), Replica: drawReplica(t), Fast: rapid.Bool().Draw(t, "fast"),
			Result: drawBytes(t), Detail: drawString(t),
		}
	},
	encode: func(dst []byte, r ClientResponse) []byte { return AppendClientResponse(dst, &r) },
	decode: DecodeClientResponse,
}

func TestClientResponse(t *testing.T)       { clientResponseCodec.test(t) }
func FuzzDecodeClientResponse(f *testing.F) { clientResponseCodec.fuzz(f) }
