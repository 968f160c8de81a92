// Package wan emulates a wide-area network inside one machine: a packet connection that delays,
// loses and repeats datagrams according to the sites of its two ends.
//
// An Emulator holds a Profile, which is a table of sites and round trips, and a book of addresses.
// Listen opens a UDP socket at a site and enters its address; Place enters the address of a socket
// of another process. A datagram is held back by its sender for half of the round trip between
// the two sites, in user space and below QUIC, so that handshakes, acknowledgements and congestion
// control all feel the distance. Datagrams to addresses that are not in the book pass at once.
//
// Without jitter a link keeps the order of its datagrams. Loss, repetition and jitter are drawn, per link and
// direction, from generators that the seed determines; which datagram meets which draw depends on
// the order of sending, so only a single sender gives the same run twice.
//
// The emulator costs QUIC its segmentation offload and batched reads (about twice the CPU per byte
// in a flood). It is for latency: leave it out, rather than set it to zero, where throughput is
// measured. Bandwidth is not limited.
package wan
