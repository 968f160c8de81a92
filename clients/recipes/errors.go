package recipes

import "errors"

// Sentinels for errors.Is.
var (
	// ErrLost: the lease of the session has ended, or may have, and with it all that was held under it.
	ErrLost = errors.New("the lease was lost")
	// ErrClosed: the session was closed.
	ErrClosed = errors.New("the session was closed")
	// ErrHeld: somebody else holds it, and the caller did not want to wait.
	ErrHeld = errors.New("it is held by another")
	// ErrEmpty: the queue has no item, and the caller did not want to wait.
	ErrEmpty = errors.New("the queue is empty")
	// ErrAbandoned: who held the barrier lost its lease and never opened it.
	ErrAbandoned = errors.New("the holder of the barrier is gone, and has not opened it")
	// ErrStale: a fence refused a token, since a later holder was there first.
	ErrStale = errors.New("the token is older than one that was seen before")
)
