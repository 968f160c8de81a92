// Package identity answers who is at the other end of a connection.
//
// A cluster has one certificate authority of its own and a random id. Every replica and every
// client holds a key and a certificate of that authority, which carries its name as a URI:
//
//	epaxos://<cluster, 32 hex digits>/replica/<id>
//	epaxos://<cluster, 32 hex digits>/client/<name>
//
// A certificate alone does not make a member. The membership binds a replica id to the
// fingerprint of one public key, so a second certificate issued for the same id, by mistake or by
// a thief of the authority's key, is refused until a membership change names its key. The refusal
// comes after the handshake, in words (Members.Verify), since who is joining or was removed must hear why.
//
// Replicas and clients share one port. What a connection may do is told by its ALPN, which also
// carries the version of the protocol: PeerProtocol needs a replica's certificate, ClientProtocol a
// client's. A client trusts every replica that the authority signed, so it follows the membership
// without knowing it beforehand. TLS is 1.3 and mutual, always; sessions are never resumed, because a
// resumed session would skip nothing but the check that the peer is still a member.
//
// All functions are safe for concurrent use. Randomness comes from the operating system.
//
// Absent on purpose: revocation lists (a lost replica key is taken out by a membership change, a
// lost client key by a new authority) and any use of host names as identity.
package identity
