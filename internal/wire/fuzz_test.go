package wire

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/internal/hostile"
)

// FuzzEncode lets the fuzzer choose values instead of bytes: what is encoded is decoded as it was.
func FuzzEncode(f *testing.F) {
	properties := []func(*rapid.T){
		frameCodec.survives, groupCodec.survives, helloCodec.survives, clientHelloCodec.survives,
		serverHelloCodec.survives, clientRequestCodec.survives, clientResponseCodec.survives,
		opCodec.survives, resultCodec.survives, instanceIDsCodec.survives, dependenciesCodec.survives,
		tokenCodec.survives, watchRequestCodec.survives, watchResultCodec.survives, watchTokenCodec.survives,
		noteCodec.survives,
	}
	for _, c := range messageCodecs {
		properties = append(properties, c.survives)
	}
	var zeros [64]byte // a short script is skipped: the generators run out of it
	for i := range properties {
		f.Add(byte(i), zeros[:])
	}
	f.Fuzz(func(t *testing.T, which byte, script []byte) {
		rapid.MakeFuzz(properties[int(which)%len(properties)])(t, script)
	})
}

// FuzzClientMessageType: the type is that of the only decoder that may accept the message.
func FuzzClientMessageType(f *testing.F) {
	f.Add(AppendClientHello(nil, &clientHelloCodec.samples[1].value))
	f.Add(AppendServerHello(nil, &serverHelloCodec.samples[1].value))
	f.Add(AppendClientRequest(nil, &clientRequestCodec.samples[1].value))
	f.Add(AppendClientResponse(nil, &clientResponseCodec.samples[1].value))
	decoders := map[MessageType]func([]byte) error{
		TypeClientHello:    func(b []byte) error { _, err := DecodeClientHello(b); return err },
		TypeServerHello:    func(b []byte) error { _, err := DecodeServerHello(b); return err },
		TypeClientRequest:  func(b []byte) error { _, err := DecodeClientRequest(b); return err },
		TypeClientResponse: func(b []byte) error { _, err := DecodeClientResponse(b); return err },
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		hostile.Cheap(t, hostile.Factor, len(body), func() { _, _ = ClientMessageType(body) })
		got, err := ClientMessageType(body)
		if err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: the error %v does not wrap ErrMalformed", body, err)
		}
		for kind, decode := range decoders {
			if decode(body) == nil && (err != nil || got != kind) {
				t.Errorf("violation of integrity: %x is of type %d, but its type is told as %d, %v", body, kind, got, err)
			}
		}
	})
}
