package wire

import (
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
)

// usual is what a busy cluster of five sends most: one request of 64 bytes on a key of 16.
func usual() epaxos.PreAccept {
	return epaxos.PreAccept{
		ID: id(3, 1_000_000),
		Command: &epaxos.Command{
			Requests:  []epaxos.Request{{Session: id(1, 70000), Number: 300, Payload: make([]byte, 64)}},
			Footprint: epaxos.Footprint{{Mode: epaxos.Write, Key: "0123456789abcdef"}},
		},
		Initial: epaxos.Dependencies{999_999, 1_000_000, 999_999, 1_000_001, 999_998},
	}
}

func frameOf(m epaxos.Message, n int) []byte {
	body := AppendFrameHeader(nil, FrameHeader{Group: 1_000_000})
	for range n {
		body = AppendMessage(body, m)
	}
	return body
}

func benchmarkAppend(b *testing.B, encode func([]byte) []byte) {
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		buf = encode(buf[:0])
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkAppendPreAccept(b *testing.B) {
	var m epaxos.Message = usual()
	benchmarkAppend(b, func(buf []byte) []byte { return AppendMessage(buf, m) })
}

func BenchmarkAppendPreAcceptReply(b *testing.B) {
	var m epaxos.Message = epaxos.PreAcceptReply{ID: id(3, 1_000_000), Deps: usual().Initial}
	benchmarkAppend(b, func(buf []byte) []byte { return AppendMessage(buf, m) })
}

func BenchmarkAppendRecord(b *testing.B) {
	m := usual()
	r := epaxos.Record{ID: m.ID, Phase: epaxos.PreAccepted, Command: m.Command, Initial: m.Initial, Deps: m.Initial}
	benchmarkAppend(b, func(buf []byte) []byte { return AppendRecord(buf, &r) })
}

func BenchmarkAppendClientRequest(b *testing.B) {
	r := ClientRequest{ID: 300, Kind: RequestCommand, Timeout: 5_000_000, Payload: make([]byte, 64)}
	benchmarkAppend(b, func(buf []byte) []byte { return AppendClientRequest(buf, &r) })
}

// The frames are decoded whole: divide by 64 for one message.
func benchmarkFrame(b *testing.B, m epaxos.Message) {
	body := frameOf(m, 64)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, _, err := DecodeFrame(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeFrame64PreAccepts(b *testing.B) { benchmarkFrame(b, usual()) }

func BenchmarkDecodeFrame64PreAcceptReplies(b *testing.B) {
	benchmarkFrame(b, epaxos.PreAcceptReply{ID: id(3, 1_000_000), Deps: usual().Initial})
}

func BenchmarkDecodeFrame64Commits(b *testing.B) {
	benchmarkFrame(b, epaxos.Commit{
		ID: id(3, 1_000_000), Value: epaxos.Value{Kind: epaxos.Known}, Deps: usual().Initial,
	})
}

func BenchmarkDecodeClientRequest(b *testing.B) {
	body := AppendClientRequest(nil, &ClientRequest{ID: 300, Kind: RequestCommand, Payload: make([]byte, 64)})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeClientRequest(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeOp(b *testing.B) {
	body := AppendOp(nil, &Op{Kind: OpPut, Key: []byte("0123456789abcdef"), Value: make([]byte, 64)})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeOp(body); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAllocations holds the hot path to what it needs: nothing to encode; to decode, for each
// message, the command, its payload, its key, the vector and the message itself.
func TestAllocations(t *testing.T) {
	var m epaxos.Message = usual()
	buf := make([]byte, 0, 1024)
	if got := testing.AllocsPerRun(100, func() { buf = AppendMessage(buf[:0], m) }); got != 0 {
		t.Errorf("encoding a PreAccept takes %v allocations", got)
	}
	body := frameOf(m, 64)
	got := testing.AllocsPerRun(100, func() {
		if _, _, err := DecodeFrame(body); err != nil {
			t.Error(err)
		}
	})
	if got > 64*5+2 {
		t.Errorf("decoding 64 PreAccepts takes %v allocations, at most five each and the slice", got)
	}
}
