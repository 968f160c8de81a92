// Package storage keeps what one replica must not forget: its log, and the state it has applied.
//
// A Store saves one Batch at a time: a log group, opaque bytes under the next number, together with
// the writes of applied state that belong to it. Both become durable in one step or not at all, so
// there is no watermark to reconcile after a crash. Badger is the store of production, Memory its
// deterministic twin for simulation; package storetest holds the contract that both pass.
//
// # On disk
//
// The data directory holds one Badger database and files of our own:
//
//	identity   text: format, cluster, replica, incarnation, and whether the replica ever started
//	mark       the highest group number known to be durable, in two alternating checksummed slots
//	lock       held with flock(2) while a process has the directory open
//	condemned  text: why this incarnation must never start again; see Condemn
//
// Badger keys begin with one byte that tells what they are:
//
//	m                       meta: format, generation, identity, the first kept group and the checksum of
//	                        the one before it, the group whose state is held; checksummed
//	g number(8) part(1)     a log group, cut into parts only where it exceeds what one value may hold
//	s generation(1) key     state, applied or staged: CRC-32C of key and value, then the value
//	n sequence(8)           what is staged: whether, in which generation, and the note; checksummed
//	r number(8) attempt(8) part(4)
//	                        a batch of several transactions being saved: its records, and a marker
//
// A group carries its number and a CRC-64 that covers the group before it too, so a group that is
// missing, exchanged or of another replica breaks the chain. Groups are deleted at the beginning only, in the
// transaction of a later group that also moves the first number and its checksum in meta. So what is kept is
// as closely guarded as a log from 1 on: nothing but that transaction makes another beginning valid.
//
// Versions of Badger's keys are ours to choose: all that group n writes has version n+1, so the state as of a
// group is what a reader of its version sees, for as long as compaction is told to discard nothing newer. No
// key is written twice in one version with different values, since Badger may compact its youngest tables
// in an order of its own: hence the sequences, attempts and generations above.
//
// A directory has format 1 until a state is held, staged, or a batch saved in several transactions; from then
// on its meta record says format 2, which older programs refuse.
//
// # What is promised
//
// After any crash every group that Save acknowledged is there, whole, with its writes. At most one
// group more, the one being saved, may be there too. Where the directory was damaged instead, Open
// or Groups says ErrDamaged, and a replica that has not read all groups to the end must not vote:
//
//   - Each table that Badger would read is verified, block by block, before Badger opens it, since
//     Badger leaves out a table that it finds damaged.
//   - Badger ends its log at the first record that does not fit its checksum, and says nothing. So
//     mark, kept outside of Badger, moves to a number when its group is durable; a log that ends
//     below has lost something. After a power cut mark may be older than the log by as many groups as
//     the kernel had not written back (at most [markSyncEvery]): losing just those goes unnoticed here.
//   - Where a kill leaves several logs, all but the newest were synced to their ends, and are read to
//     their ends before Badger cuts them: a hole that the groups no longer show would be one in the state.
//   - A manifest must be readable to its end too, since Badger deletes tables that it does not name.
//   - A loss in the middle is a hole in the numbers, found by Groups.
//   - A value of the state that does not fit its checksum is ErrDamaged when it is read.
//   - What changes on the disk under a running store is found by Scrub. Until then, a key that a table
//     shows changed may be missing, and a compaction may make that last: the log of groups tells of
//     such a loss, but the state does not. So scrub often, and Condemn what it finds.
//
// A directory that was wiped or replaced by an older copy of itself takes its mark along. Only the
// peers can tell, by the group number they have heard, and that is not this package's matter.
//
// Damage to a file that holds nothing of ours, such as Badger's unused value log, may be told as well.
//
// Some failures kill the process instead of returning an error, which is safe but abrupt: Badger maps
// its files, so a full disk (hence the reserve that Save insists on) and a failing read end in SIGBUS; and
// what changes under a running store may make a goroutine of Badger panic. Every other failure to write
// or sync makes the store answer nothing but that failure, Badger's background work included.
package storage
