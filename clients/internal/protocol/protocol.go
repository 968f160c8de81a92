// Package protocol holds what both ends of a client's connection agree on beyond the encodings of
// internal/wire: the name of the protocol, the form of a frame, and why a connection was closed.
package protocol

import (
	"encoding/binary"

	"github.com/quic-go/quic-go"
)

// ALPN tells client traffic from replica traffic during the TLS handshake.
const ALPN = "epaxos-client/1"

// Reasons to close a connection, carried by QUIC as the application's error code next to a
// sentence for people. They are part of the protocol: never renumber. They start at 0x101, since the
// transport below, which may close a connection as well, uses small numbers.
const (
	CloseDone         quic.ApplicationErrorCode = 0     // the closer needs the connection no longer
	CloseMalformed    quic.ApplicationErrorCode = 0x101 // bytes that are no message, or none allowed here
	CloseWrongCluster quic.ApplicationErrorCode = 0x102 // the other end belongs to another cluster
	CloseNoFormat     quic.ApplicationErrorCode = 0x103 // no format is known to both ends
	CloseTooSlow      quic.ApplicationErrorCode = 0x104 // the client does not read its answers
	CloseStopping     quic.ApplicationErrorCode = 0x105 // the replica is stopping
	CloseCrowded      quic.ApplicationErrorCode = 0x106 // the replica has too many client connections
)

// Permanent reports whether the same hello will be refused again, so that dialling soon is in vain.
func Permanent(code quic.ApplicationErrorCode) bool {
	return code == CloseWrongCluster || code == CloseNoFormat || code == CloseMalformed
}

const reasonBytesMax = 512

// Close ends a connection with a reason that the other end reads.
func Close(conn *quic.Conn, code quic.ApplicationErrorCode, reason string) {
	// The error says only that the connection had ended before.
	_ = conn.CloseWithError(code, reason[:min(len(reason), reasonBytesMax)])
}

// AppendFrame appends what encode appends as one frame: its length in four bytes, big-endian,
// then the body.
func AppendFrame(buf []byte, encode func([]byte) []byte) []byte {
	start := len(buf)
	buf = encode(append(buf, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(buf[start:], uint32(len(buf)-start-4))
	return buf
}
