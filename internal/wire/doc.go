// Package wire is every encoding that leaves a replica: messages between replicas, log groups on disk,
// requests and answers of clients, and the operations of the bundled key-value machine.
//
// All of it is msgpack, written and read by hand: arrays of fields in a fixed order, no maps, no
// reflection. The package is pure. It knows no membership: that a vector has one slot for each voter,
// or that a replica may own a ballot, is for the core to check.
//
// # Trust
//
// Decoders take bytes from peers, clients and disks, so they never panic. A length is compared with
// what is left of the input before anything is allocated; numbers are read as 64 bits and checked, not
// narrowed; nesting is bounded; bytes left over are an error. What they return shares no memory with
// the input. Every error wraps ErrMalformed and names the message, the field and the offset.
//
// # Evolution
//
// Fields are appended to an array and never removed or given another meaning; a decoder skips trailing
// fields that it does not know. A change that old programs must not ignore is a new MessageType,
// which is sent only at a format level that all members speak.
//
// What is replicated is exempt: a command, its footprint and the operations in it have a fixed number
// of fields. A replica that skipped a part of a command would pass it on, or execute it, without that
// part, and differ from the others for ever.
//
// All functions may be called from several goroutines at a time.
package wire
