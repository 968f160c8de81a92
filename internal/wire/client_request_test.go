package wire

import (
	"errors"
	"math"
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
		{"of a later version", ClientRequest{ID: 1, Kind: 200, Payload: []byte{}}},
	},
	generate: func(t *rapid.T) ClientRequest {
		return ClientRequest{
			ID: drawNumber(t, 0, math.MaxUint64), Kind: RequestKind(drawNumber(t, 1, math.MaxUint8)),
			Timeout: drawNumber(t, 0, math.MaxUint64), Session: drawSession(t),
			Number: drawNumber(t, 0, math.MaxUint64), Payload: drawBytes(t),
		}
	},
	encode: func(dst []byte, r ClientRequest) []byte { return AppendClientRequest(dst, &r) },
	decode: DecodeClientRequest,
}

func TestClientRequest(t *testing.T)       { clientRequestCodec.test(t) }
func FuzzDecodeClientRequest(f *testing.F) { clientRequestCodec.fuzz(f) }

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
