package wire

import (
	"errors"
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

var clientRequestCodec = codec[ClientRequest]{
	name: "client_request",
	samples: []sample[ClientRequest]{
		{"ping", ClientRequest{ID: 1, Kind: RequestPing}},
		{"command", ClientRequest{
			ID: math.MaxUint64, Kind: RequestCommand, Timeout: 5_000_000, Session: id(3, 42), Number: 300,
			Payload: []byte("payload"),
		}},
		{"read", ClientRequest{
			ID: 2, Kind: RequestRead, Timeout: 1, Payload: []byte("payload"), Consistency: SessionConsistency,
			Token: AppendToken(nil, &tokenCodec.samples[1].value),
		}},
		{"of a later version", ClientRequest{ID: 1, Kind: 200, Payload: []byte{}}},
	},
	generate: func(t *rapid.T) ClientRequest {
		return ClientRequest{
			ID: drawNumber(t, 0, math.MaxUint64), Kind: RequestKind(drawNumber(t, 1, math.MaxUint8)),
			Timeout: drawNumber(t, 0, math.MaxUint64), Session: drawSession(t),
			Number: drawNumber(t, 0, math.MaxUint64), Payload: drawBytes(t),
			Consistency: Consistency(drawNumber(t, 0, math.MaxUint8)), Token: drawBytes(t),
		}
	},
	encode: func(dst []byte, r ClientRequest) []byte { return AppendClientRequest(dst, &r) },
	decode: DecodeClientRequest,
}

func TestClientRequest(t *testing.T) { clientRequestCodec.test(t) }

func FuzzDecodeClientRequest(f *testing.F) {
	f.Add([]byte(firstClientRequest))
	clientRequestCodec.fuzz(f)
}

// firstClientRequest is what the first programs of format 1 send.
const firstClientRequest = "\x97\x42\x07\x01\x05\xc0\x00\xc4\x01x"

func TestTheFirstClientRequestIsRead(t *testing.T) {
	want := ClientRequest{ID: 7, Kind: RequestCommand, Timeout: 5, Payload: []byte("x")}
	got, err := DecodeClientRequest([]byte(firstClientRequest))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestClientMessageType(t *testing.T) {
	for _, c := range []struct {
		body []byte
		want MessageType
	}{
		{AppendClientHello(nil, &clientHelloCodec.samples[1].value), TypeClientHello},
		{AppendServerHello(nil, &serverHelloCodec.samples[1].value), TypeServerHello},
		{AppendClientRequest(nil, &clientRequestCodec.samples[1].value), TypeClientRequest},
		{AppendClientResponse(nil, &clientResponseCodec.samples[1].value), TypeClientResponse},
	} {
		if got, err := ClientMessageType(c.body); err != nil || got != c.want {
			t.Errorf("got type %d, %v, want %d", got, err, c.want)
		}
	}
	for _, body := range [][]byte{nil, {0x90}, {0xc0}, {0x91, 0xc0}, {0x91, 0x01}, {0x91, 0x7f}, {0x01}} {
		if got, err := ClientMessageType(body); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: got type %d, %v", body, got, err)
		}
	}
}
