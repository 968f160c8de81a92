package wire

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
)

// TestRefused lists what is well-formed msgpack and yet no message, with what the error must name.
func TestRefused(t *testing.T) {
	accept := func(ballot, value string) string {
		return "\x95\x03\x93\x01\x03\x2a" + ballot + value + "\x93\x00\x00\x00"
	}
	reply := func(deps string) string { return "\x93\x02\x93\x01\x03\x2a" + deps }
	waiting := func(count string) string { return "\x93\x0a\x93\x01\x03\x2a" + count }
	for _, c := range []struct{ name, message, says string }{
		{"type 0", "\x91\x00", "type"},
		{"type of a client", "\x91\x40", "64 is no message between replicas"},
		{"type beyond 16 bits", "\x91\xce\x00\x01\x00\x01", "type"},
		{"nil for the type", "\x91\xc0", "type"},
		{"no array", "\x01", "array"},
		{"map", "\x81\x01\x01", "array"},
		{"missing field", "\x92\x02\x93\x01\x03\x2a", "PreAcceptReply: array"},
		{"id of two numbers", "\x93\x02\x92\x01\x03\x90", "2 fields instead of 3"},
		{"id of four numbers", "\x93\x02\x94\x01\x03\x2a\x01\x90", "4 fields instead of 3"},
		{"no id", "\x93\x02\xc0\x90", "PreAcceptReply: id"},
		{"epoch 0", "\x93\x02\x93\x00\x03\x2a\x90", "PreAcceptReply: id"},
		{"replica 0", "\x93\x02\x93\x01\x00\x2a\x90", "PreAcceptReply: id"},
		{"slot 0", "\x93\x02\x93\x01\x03\x00\x90", "PreAcceptReply: id"},
		{"replica beyond 32 bits", "\x93\x02\x93\x01\xcf\x00\x00\x00\x01\x00\x00\x00\x01\x2a\x90", "4294967297"},
		{"epoch beyond 32 bits", "\x93\x02\x93\xcf\x00\x00\x00\x01\x00\x00\x00\x01\x03\x2a\x90", "4294967297"},
		{"slot -1", "\x93\x02\x93\x01\x03\xff\x90", "-1 is negative"},
		{"slot -1 in 64 bits", "\x93\x02\x93\x01\x03\xd3\xff\xff\xff\xff\xff\xff\xff\xff\x90", "-1 is negative"},
		{"slot 1.0", "\x93\x02\x93\x01\x03\xca\x3f\x80\x00\x00\x90", "no whole number"},
		{"slot nil", "\x93\x02\x93\x01\x03\xc0\x90", "no whole number"},
		{"64 columns", reply("\xdc\x00\x40" + strings.Repeat("\x00", 64)), "64 elements, at most 63"},
		{"column nil", reply("\x91\xc0"), "deps"},
		{"deps as bytes", reply("\xc4\x01\x00"), "deps"},
		{"ballot 0 of a replica", accept("\x92\x00\x02", "\x91\x01"), "ballot"},
		{"ballot of nobody", accept("\x92\x01\x00", "\x91\x01"), "ballot"},
		{"known accept", accept("\xc0", "\x91\x03"), "value"},
		{"accept of nothing", accept("\xc0", "\xc0"), "value"},
		{"value without a kind", accept("\xc0", "\x90"), "value"},
		{"full without a command", accept("\xc0", "\x91\x02"), "value of kind 2 has 1 fields"},
		{"full with nil", accept("\xc0", "\x92\x02\xc0"), "value"},
		{"no-op with a command", accept("\xc0", "\x92\x01\x92\x90\x90"), "value of kind 1 has 2 fields"},
		{"command with a third field", accept("\xc0", "\x92\x02\x93\x90\x90\x90"), "3 fields instead of 2"},
		{"mode 0", accept("\xc0", "\x92\x02\x92\x90\x91\x94\x00\x00\xc4\x00\xc0"), "value"},
		{"mode 5", accept("\xc0", "\x92\x02\x92\x90\x91\x94\x05\x00\xc4\x00\xc0"), "5 is not between 1 and 4"},
		{"space 4", accept("\xc0", "\x92\x02\x92\x90\x91\x94\x01\x04\xc4\x00\xc0"), "4 is not between 0 and 3"},
		{"key nil", accept("\xc0", "\x92\x02\x92\x90\x91\x94\x01\x00\xc0\xc0"), "nil instead of a string"},
		{"payload of a number", accept("\xc0", "\x92\x02\x92\x91\x93\xc0\x00\x07\x90"), "byte string"},
		{"count -1", waiting("\xff"), "count"},
		{"count 64", waiting("\x40"), "count"},
		{"pre-accept without command", "\x94\x01\x93\x01\x03\x2a\xc0\x90", "command"},
		{"truth as a number", "\x94\x09\x93\x01\x03\x2a\xc0\x91\x92\x93\x01\x01\x01\x01", "neither true nor false"},
		{"truth nil", "\x94\x09\x93\x01\x03\x2a\xc0\x91\x92\x93\x01\x01\x01\xc0", "neither true nor false"},
		{"reserved code", "\x93\x04\x93\x01\x03\x2a\xc1", "code 0xc1"},
		{"unknown field cut", "\x94\x04\x93\x01\x03\x2a\xc0\xc4\x05x", "unknown field"},
		{"unknown field of a reserved code", "\x94\x04\x93\x01\x03\x2a\xc0\xc1", "unknown field"},
		{"unknown field too deep", "\x94\x04\x93\x01\x03\x2a\xc0" + strings.Repeat("\x91", 17) + "\xc0", "deeper than 16"},
		{"gossip of epoch 0", "\x95\x0e\x00\x90\x90\x90", "Gossip: epoch"},
		{"phase 4", "\x98\x07\x93\x01\x03\x2a\xc0\x04\xc0\xc0\xc0\xc0", "RecoverReply: phase"},
	} {
		_, messages, err := DecodeFrame(append([]byte{0x91, 0x09}, c.message...))
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %+v, %v, want an error that says %q", c.name, messages, err, c.says)
		}
	}
}

// TestRefusedHello covers what a hello of either kind may not say.
func TestRefusedHello(t *testing.T) {
	hello := helloCodec.samples[0].value
	noReplica, noFormat, noRange := hello, hello, hello
	noReplica.Replica, noFormat.FormatMin, noRange.FormatMin = 0, 0, 2
	for _, h := range []Hello{noReplica, noFormat, noRange} {
		if got, err := DecodeHello(AppendHello(nil, h)); !errors.Is(err, ErrMalformed) {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	client := ClientHello{FormatMin: 1, FormatMax: 1, Name: strings.Repeat("n", NameMax+1)}
	if got, err := DecodeClientHello(AppendClientHello(nil, &client)); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := DecodeHello(AppendClientHello(nil, &ClientHello{})); !errors.Is(err, ErrMalformed) {
		t.Errorf("the hello of a client was read as %+v, %v", got, err)
	}
	short := AppendHello(nil, hello)
	short = append(append(short[:2:2], 0xc4, 15), short[5:]...) // the length of the cluster's id, and its first byte
	if got, err := DecodeHello(short); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "15 bytes") {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestForeign accepts what other encoders write for the same values: numbers that are not as short as
// can be, or signed, and text for bytes.
func TestForeign(t *testing.T) {
	got, err := DecodeClientRequest([]byte("\x97\x42\xcf\x00\x00\x00\x00\x00\x00\x00\x07\xd0\x01\xd1\x00\x05\xc0\xd3" +
		"\x00\x00\x00\x00\x00\x00\x00\x09\xa2hi"))
	if err != nil || got.ID != 7 || got.Kind != RequestCommand || got.Timeout != 5 || got.Number != 9 ||
		string(got.Payload) != "hi" {
		t.Errorf("got %+v, %v", got, err)
	}
	op, err := DecodeOp([]byte("\x93\x05\xa1x\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"))
	if err != nil || op.Delta != 1<<63-1 {
		t.Errorf("got %+v, %v", op, err)
	}
	if op, err := DecodeOp([]byte("\x93\x05\xa1x\xcf\x80\x00\x00\x00\x00\x00\x00\x00")); !errors.Is(err, ErrMalformed) {
		t.Errorf("2^63 became %+v, %v", op, err)
	}
}

// TestDense decodes what makes most of the least bytes: 64 times their number must do.
func TestDense(t *testing.T) {
	const bytesMax = 128 << 10
	dense := func(before, element string, size int) []byte {
		n := (size - len(before) - 5) / len(element)
		body := []byte(before)
		body = append(body, 0xdd, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		return append(body, strings.Repeat(element, n)...)
	}
	for _, element := range []string{
		"\x92\x0d\x90", "\x95\x0e\x01\xc0\xc0\xc0", "\x93\x04\x93\x01\x01\x01\xc0",
		"\x94\x01\x93\x01\x01\x01\x92\x90\x90\xc0",
	} {
		frameCodec.acceptsCheaply(t, append([]byte{0x91, 0x09}, strings.Repeat(element, bytesMax/len(element))...))
	}
	frameCodec.acceptsCheaply(t, dense("\x91\x09\x92\x0d", "\x93\x01\x01\x01", bytesMax))
	record := "\x98\x93\x01\x01\x01\x00\xc0\xc0\xc2\xc0\xc0\xc0"
	groupCodec.acceptsCheaply(t, append(dense("\x95", record, bytesMax), 0x90, 0x90, 0xc0, 0xc0))
	groupCodec.acceptsCheaply(t, append(dense("\x95\x90", "\x93\x01\x01\x01", bytesMax), 0x90, 0xc0, 0xc0))
	groupCodec.acceptsCheaply(t, append(dense("\x95\x90\x90", "\x93\x01\x00\x00", bytesMax), 0xc0, 0xc0))
	opCodec.acceptsCheaply(t, append(dense("\x94\x06\x90", "\x92\x01\xc0", 390), 0x90))
	resultCodec.acceptsCheaply(t, dense("\x96\x01\xc2\xc0\x00\xc2", "\x96\x01\xc2\xc0\x00\xc2\x90", 900))
}

// TestPooled uses encoders and decoders from many goroutines, some of which fail.
func TestPooled(t *testing.T) {
	body := frameCodec.encode(nil, frameCodec.samples[1].value)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				f, err := frameCodec.decode(body)
				if err != nil || !bytes.Equal(frameCodec.encode(nil, f), body) {
					t.Errorf("got %+v, %v", f, err)
				}
				if _, err := DecodeGroup(body); !errors.Is(err, ErrMalformed) {
					t.Errorf("a frame was read as a group: %v", err)
				}
			}
		})
	}
	all.Wait()
}

// TestCheckCommand sends the largest commands that pass in the largest messages.
func TestCheckCommand(t *testing.T) {
	wide := &epaxos.Command{}
	for range FootprintMax {
		wide.Footprint = append(wide.Footprint, epaxos.Access{Mode: epaxos.Write, Range: true})
	}
	for range RequestsMax {
		wide.Requests = append(wide.Requests, epaxos.Request{Session: largestID, Number: 1<<64 - 1})
	}
	wide.Requests[0].Payload = make([]byte, CommandMax)
	keys := &epaxos.Command{}
	for range FootprintMax {
		access := epaxos.Access{Mode: epaxos.Write, Range: true, Key: strings.Repeat("k", 100), End: strings.Repeat("l", 124)}
		keys.Footprint = append(keys.Footprint, access)
	}
	deps := make(epaxos.Dependencies, epaxos.VotersMax)
	for i := range deps {
		deps[i] = 1<<64 - 1
	}
	ballot := epaxos.Ballot{Number: 1<<64 - 1, Replica: 1<<32 - 1}
	for _, c := range []*epaxos.Command{wide, keys} {
		if err := CheckCommand(c); err != nil {
			t.Errorf("%d requests on %d keys of %d bytes: %v", len(c.Requests), len(c.Footprint), c.Size(), err)
		}
		body := AppendMessage(AppendFrameHeader(nil, FrameHeader{Group: 1<<64 - 1}), epaxos.RecoverReply{
			ID: largestID, Ballot: ballot, Phase: epaxos.Committed, Accepted: ballot,
			Value: epaxos.Value{Kind: epaxos.Full, Command: c}, Deps: deps, Initial: deps,
		})
		if _, _, err := DecodeFrame(body); err != nil || len(body) > PeerFrameMax {
			t.Errorf("a frame of %d bytes, at most %d are allowed: %v", len(body), PeerFrameMax, err)
		}
	}
	for _, c := range []*epaxos.Command{
		{Requests: make([]epaxos.Request, RequestsMax+1)},
		{Footprint: make(epaxos.Footprint, FootprintMax+1)},
		{Requests: []epaxos.Request{{Payload: make([]byte, CommandMax+1)}}},
	} {
		if err := CheckCommand(c); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d requests on %d keys of %d bytes: %v", len(c.Requests), len(c.Footprint), c.Size(), err)
		}
	}
}
