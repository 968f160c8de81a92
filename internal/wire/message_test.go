package wire

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/epaxos"
)

type messageSample = sample[epaxos.Message]

// messageCodec tests messages one at a time, each as the only one of a frame.
func messageCodec(name string, generate func(*rapid.T) epaxos.Message, samples ...messageSample) codec[epaxos.Message] {
	header := AppendFrameHeader(nil, FrameHeader{Group: 9})
	return codec[epaxos.Message]{
		name: name, samples: samples, generate: generate, encode: AppendMessage,
		decode: func(body []byte) (epaxos.Message, error) {
			_, messages, err := DecodeFrame(append(header[:len(header):len(header)], body...))
			if err != nil {
				return nil, err
			}
			if len(messages) != 1 {
				return nil, fmt.Errorf("%w test: %d messages instead of one", ErrMalformed, len(messages))
			}
			return messages[0], nil
		},
	}
}

// put is a command that writes one key.
func put(key, value string) *epaxos.Command {
	return &epaxos.Command{
		Requests:  []epaxos.Request{{Payload: []byte(value)}},
		Footprint: epaxos.Footprint{{Mode: epaxos.Write, Key: key}},
	}
}

// manifold is a command with something in every field.
func manifold() *epaxos.Command {
	return &epaxos.Command{
		Requests: []epaxos.Request{
			{Session: id(1, 8), Number: 5, Payload: []byte("first")},
			{Session: id(2, 300), Number: 1 << 40, Payload: []byte{}},
			{Payload: nil},
		},
		Footprint: epaxos.Footprint{
			{Mode: epaxos.Read, Key: "a"},
			{Mode: epaxos.Add, Space: epaxos.SpaceSession, Key: "\xff\x00"},
			{Mode: epaxos.Write, Range: true, Key: "m", End: "n"},
			{Mode: epaxos.Read, Range: true, Key: "z"},
			{Mode: epaxos.Everything},
		},
	}
}

var messageCodecs = []*codec[epaxos.Message]{
	&preAcceptCodec, &preAcceptReplyCodec, &acceptCodec, &acceptReplyCodec, &commitCodec,
	&recoverCodec, &recoverReplyCodec, &refusalCodec, &tryRecoverCodec,
	&validateCodec, &validateReplyCodec, &waitingCodec, &fetchCodec, &gossipCodec, &truncatedCodec,
	&endedCodec, &stateRequestCodec, &stateChunkCodec, &readQueryCodec, &readReplyCodec,
}

// TestMessageTypes fails where a type of the protocol has no encoding, or no test.
func TestMessageTypes(t *testing.T) {
	seen := map[MessageType]string{}
	for _, c := range messageCodecs {
		body := AppendMessage(nil, c.samples[0].value)
		kind := MessageType(body[1])
		if other, twice := seen[kind]; twice {
			t.Errorf("%s and %s have the same type %d", c.name, other, kind)
		}
		seen[kind] = c.name
	}
	for kind := TypePreAccept; kind <= TypeReadReply; kind++ {
		if seen[kind] == "" && kind != TypeHello {
			t.Errorf("type %d has no test", kind)
		}
	}
	if len(protocol) != int(TypeReadReply)+1 || protocol[TypeHello].read != nil {
		t.Errorf("%d types can be decoded, %d exist", len(protocol)-1, TypeReadReply)
	}
}

func TestMessageUnknown(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a message that has no encoding was sent without it")
		}
	}()
	AppendMessage(nil, nil)
}
