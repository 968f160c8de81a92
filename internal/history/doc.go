// Package history records what clients saw of the key-value machine and decides whether it could
// have come from one copy of the machine that carries out one operation at a time (linearizability).
//
// Clients add each operation with the times of its call and its return and with its result. An
// operation whose outcome is unknown counts as one that may take effect at any time after its call,
// or never. Check looks at each key by itself, which is enough:
// linearizability is local.
//
// # Why a hot key stays checkable
//
// In general the search is exponential in the number of operations that overlap, and memory is
// quadratic in their number. But each result carries the version of its key, so a write's result
// is its place in the order. Of a key that saw only gets and puts of distinct values everything is
// placed by its version, also those writes of unknown outcome whose value or version somebody saw
// (place). The history is then cut into pieces of some hundred versions (cut), and what is left to
// Porcupine is to find that one order possible, piece by piece, each from the state that the one
// before leaves. Any other key is searched whole.
//
// # Transactions
//
// Keys that transactions tie together are searched as one object, whole. So a load that is to be
// checked keeps the keys of its transactions few, and apart from its hot keys.
//
// # The order by itself
//
// CheckOrder does not search: it reads off who must have come before whom, over all keys and transactions
// at once, and reports a cycle. It is linear in the history, so it takes what Check cannot, and its
// verdict against a history is a proof; its verdict for one is weaker (see there).
package history
