package clients_test

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/internal/wire"
)

const closeMalformed = 0x101

// pretend is a replica made of bytes: it answers the first frame of each connection with the given
// ones. What it returns are the reasons for which clients hung up.
func pretend(t *testing.T, answer ...[]byte) (endpoint string, ends <-chan error) {
	t.Helper()
	listener, err := quic.ListenAddr("127.0.0.1:0", serverTLS, nil)
	if err != nil {
		t.Fatal(err)
	}
	reasons := make(chan error, 16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept(context.Background())
			if err != nil {
				return
			}
			reasons <- play(conn, answer)
		}
	}()
	t.Cleanup(func() { listener.Close(); <-done })
	return listener.Addr().String(), reasons
}

func play(conn *quic.Conn, answer [][]byte) error {
	stream, err := conn.AcceptStream(context.Background())
	if err != nil {
		return err
	}
	if _, err := wire.NewFrameReader(stream, wire.ClientFrameMax).Next(); err != nil {
		return err
	}
	for _, raw := range answer {
		if _, err := stream.Write(raw); err != nil {
			return err
		}
	}
	<-conn.Context().Done()
	return context.Cause(conn.Context())
}

func framed(body []byte) []byte { return append(wire.AppendFrameLength(nil, len(body)), body...) }

// wantMalformed checks that the client hung up and said why.
func wantMalformed(t *testing.T, end error) {
	t.Helper()
	closed, ok := errors.AsType[*quic.ApplicationError](end)
	if !ok || !closed.Remote || closed.ErrorCode != closeMalformed {
		t.Errorf("the client ended with %v, want that it found a malformed message", end)
	}
}

var goodHello = wire.AppendServerHello(nil, &wire.ServerHello{Cluster: cluster, Format: wire.Format, Replica: 1})

func TestHostileHellos(t *testing.T) {
	tests := map[string][]byte{
		"4 GiB":         binary.BigEndian.AppendUint32(nil, 1<<32-1),
		"garbage":       framed([]byte("HTTP/1.1 200 OK")),
		"nested arrays": framed([]byte(strings.Repeat("\x91", 60_000))),
		"a format that nobody speaks": framed(wire.AppendServerHello(nil, &wire.ServerHello{
			Cluster: cluster, Format: wire.Format + 1, Replica: 1})),
		"an answer instead": framed(wire.AppendClientResponse(nil, &wire.ClientResponse{
			Code: wire.CodeOK, Outcome: wire.OutcomeApplied, Replica: 1})),
	}
	for name, hello := range tests {
		t.Run(name, func(t *testing.T) {
			endpoint, ends := pretend(t, hello)
			_, err := clients.Dial(t.Context(), []string{endpoint}, clients.WithTLS(clientTLS))
			if err == nil || !strings.Contains(err.Error(), "every replica refused") {
				t.Errorf("error %v", err)
			}
			wantMalformed(t, <-ends)
		})
	}
}

func TestHostileAnswers(t *testing.T) {
	other := wire.AppendServerHello(nil, &wire.ServerHello{Cluster: cluster, Format: wire.Format, Replica: 2})
	request := wire.AppendClientRequest(nil, &wire.ClientRequest{ID: 1, Kind: wire.RequestPing})
	answer := wire.AppendClientResponse(nil, &wire.ClientResponse{
		ID: 1, Code: wire.CodeOK, Outcome: wire.OutcomeApplied, Replica: 1})
	tests := map[string][]byte{
		"4 GiB":                      binary.BigEndian.AppendUint32(nil, 1<<32-1),
		"garbage":                    framed([]byte("HTTP/1.1 200 OK")),
		"an array of 4 G":            framed([]byte{0xdd, 0xff, 0xff, 0xff, 0xff}),
		"a request from a replica":   framed(request),
		"another replica's hello":    framed(other),
		"an answer with bytes after": framed(append(answer, 0)),
	}
	for name, raw := range tests {
		t.Run(name, func(t *testing.T) {
			endpoint, ends := pretend(t, framed(goodHello), raw)
			c, err := clients.Dial(t.Context(), []string{endpoint}, clients.WithTLS(clientTLS))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			wantMalformed(t, <-ends)
		})
	}
}

// Answers to requests that were never made change nothing.
func TestStrayAnswers(t *testing.T) {
	var raw [][]byte
	raw = append(raw, framed(goodHello))
	for id := uint64(1000); id < 1100; id++ {
		raw = append(raw, framed(wire.AppendClientResponse(nil, &wire.ClientResponse{
			ID: id, Code: wire.CodeOK, Outcome: wire.OutcomeApplied, Replica: 1})))
	}
	endpoint, _ := pretend(t, raw...)
	c, err := clients.Dial(t.Context(), []string{endpoint}, clients.WithTLS(clientTLS))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Do(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the deadline: nobody answered", err)
	}
	if n := len(c.Replicas()); n != 1 {
		t.Errorf("%d replicas are connected, want 1 still", n)
	}
}
