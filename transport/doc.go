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
// What is large and can be asked for again goes by SendBulk, on one more connection per direction that
// is dialed when it is first used and closed when it is idle (bulk.go): it has a queue, a congestion
// window and a flow control of its own, a rate that it keeps to, and slows down while it makes the round
// trip of the heartbeats grow (pacer.go).
//
// Clients share the socket and are told apart by their ALPN; AcceptClient hands their connections
// over as they are.
//
// # Membership
//
// SetMembers follows the membership while the host runs (members.go). TLS admits every replica that has
// a certificate of the cluster; the host then closes the connection of one that is no member, with
// a code and a sentence: CloseNotMember, which a replica that is joining hears until the members know it,
// or CloseRemoved with the epoch. Config.Disowned passes both on. So a joiner starts with the addresses
// of members who do not know it yet, and needs no other protocol.
//
// # What is promised
//
//   - Bodies sent on one stripe to one peer arrive in order, at most once, while a connection
//     lasts. When it breaks, what was being written is lost without notice; what was still queued
//     is sent on the next one. The protocol above tolerates loss, duplication and reordering.
//   - Send and SendBulk never block. A peer that is slow or dead costs Config.QueueBytes and
//     Config.BulkQueueBytes; beyond them the newest bodies are dropped whole and counted.
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
// Absent on purpose: datagrams, 0-RTT, streams per message, and priorities between streams of one
// connection: chunks would share its congestion window, and the losses they cause.
package transport
