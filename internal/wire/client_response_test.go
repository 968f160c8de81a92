package wire

import (
	"math"
	"reflect"
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
		{"read", ClientResponse{
			ID: 3, Code: CodeOK, Outcome: OutcomeApplied, Replica: 2, Age: 70_000,
			Token: AppendToken(nil, &tokenCodec.samples[1].value),
		}},
		{"of an expired session", ClientResponse{
			ID: 4, Code: CodeSessionGone, Outcome: OutcomeUnknown, Replica: 2, Detail: "the session is gone",
		}},
	},
	generate: func(t *rapid.T) ClientResponse {
		return ClientResponse{
			ID: drawNumber(t, 0, math.MaxUint64), Code: Code(drawNumber(t, 1, math.MaxUint8)),
			Outcome: Outcome(drawNumber(t, uint64(OutcomeApplied), uint64(OutcomeUnknown))),
			Retry:   rapid.Bool().Draw(t, "retry"), Replica: drawReplica(t), Fast: rapid.Bool().Draw(t, "fast"),
			Result: drawBytes(t), Detail: drawString(t), Token: drawBytes(t), Age: drawNumber(t, 0, math.MaxUint64),
		}
	},
	encode: func(dst []byte, r ClientResponse) []byte { return AppendClientResponse(dst, &r) },
	decode: DecodeClientResponse,
}

func TestClientResponse(t *testing.T) { clientResponseCodec.test(t) }

func FuzzDecodeClientResponse(f *testing.F) {
	f.Add([]byte(firstClientResponse))
	clientResponseCodec.fuzz(f)
}

// firstClientResponse is what the first programs of format 1 send.
const firstClientResponse = "\x99\x43\x07\x01\x01\xc2\x02\xc3\xc4\x01x\xa0"

func TestTheFirstClientResponseIsRead(t *testing.T) {
	want := ClientResponse{ID: 7, Code: CodeOK, Outcome: OutcomeApplied, Replica: 2, Fast: true, Result: []byte("x")}
	got, err := DecodeClientResponse([]byte(firstClientResponse))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}
