package storage

import "errors"

// ErrStopped is what a store fails with that was stopped.
var ErrStopped = errors.New("stopped")

// StopAfter makes a store of these options fail when it has made so many transactions from now, as a kill of
// its process would end it.
func StopAfter(o *Options, transactions int) {
	o.step = func() error {
		if transactions--; transactions < 0 {
			return ErrStopped
		}
		return nil
	}
}

// StopAfter does so with an open store.
func (b *Badger) StopAfter(transactions int) { StopAfter(&b.opts, transactions) }

// Abandon ends what a stopped store has running, and writes nothing that matters: its directory was copied.
func (b *Badger) Abandon() { _ = b.db.Close() }

// Dir is where the store is.
func (b *Badger) Dir() string { return b.opts.Dir }

// RedoRecords counts what is stored of redos.
func (b *Badger) RedoRecords() int {
	keys, err := b.keysBetween([]byte{prefixRedo}, []byte{prefixRedo + 1}, 1<<20)
	if err != nil {
		panic(err)
	}
	return len(keys)
}

// Impatient lets a scrub believe at once in damage that a test did.
func (b *Badger) Impatient() { b.patience = 2 }
