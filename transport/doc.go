// Package transport moves opaque bodies between replicas, over QUIC, on one UDP socket per replica.
//
// # Shape
//
// Each replica dials every other member and sends on the connections that it dialed; it receives
// on the connections that it accepted. So there is no rule about who dials whom, no connection is
// ever negotiated away, and a pair that can talk in one direction only does so. Per direction
// there are Config.Lanes connections: one connection's congestion window is the ceiling of a lossy
// path, so lossy wide-area links want four. The caller stripes its instances over them.
//
// A lane carries one long-lived bidirectional stream of frames (frame.go). The dialer's first
// frame is its hello, the acceptor's answer is its own; both are opaque here and judged by
// Config.CheckHello. Then data and heartbeats flow one way and echoes of the heartbeats the other.
//
// Clients share the socket and are told apart by their ALPN; AcceptClient hands their connections
// over as they are.
//
// # What is promised
//
//   - Bodies sent on one stripe to one peer arrive in order, at most once, while a connection
//     lasts. When it breaks, what was being written is lost without notice; what was still queued
//     is sent on the next one. The protocol above tolerates loss, duplication and reordering.
//   - Send never blocks. A peer that is slow or dead costs Config.QueueBytes; beyond it the newest
//     bodies are dropped whole and counted.
//   - A Receive that blocks holds back one lane of one peer, by QUIC flow control, and nothing else.
//   - Nobody is believed before its key is: a stranger costs a bounded handshake (admission.go),
//     a member a bounded number of connections, every length is checked before it is allocated.
//
// # Liveness
//
// Heartbeats of at least 64 bytes go out on every lane each Config.HeartbeatInterval. They drive
// Suspected and RTT. They are that long because a restarted peer answers only longer packets with
// a stateless reset, which is how a restart is noticed in milliseconds; QUIC's own idle time-out
// is the backstop and is generous, so that a pause of a disk or of a collector does not throw a
// congestion window away.
//
// Absent on purpose: datagrams, 0-RTT, streams per message, and bulk transfer, which will be given
// unidirectional streams of its own at lower priority.
package transport
