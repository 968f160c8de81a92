package recipes

import (
	"fmt"
	"sync"
)

// Fence is the part of a resource that keeps out holders whose lock was lost: it refuses tokens that come too
// late. A resource keeps it with its data, on whatever lasts as long, and asks it in the same step that changes
// them. The zero Fence has seen nothing. Its methods are safe for concurrent use.
type Fence struct {
	mu      sync.Mutex
	written uint64 // the greatest token of a write
	seen    uint64 // of any access
}

// Write admits who changes the resource: the holder of a Mutex, of an Election, or of an RWMutex for writing. The
// error matches ErrStale if anybody with a greater token was there before.
func (f *Fence) Write(token uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if token < f.seen {
		return fmt.Errorf("write under token %d: %w: %d", token, ErrStale, f.seen)
	}
	f.seen, f.written = token, token
	return nil
}

// Read admits who holds an RWMutex for reading. Readers may come in any order; the error matches ErrStale if
// anybody with a greater token has written.
func (f *Fence) Read(token uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if token < f.written {
		return fmt.Errorf("read under token %d: %w: %d", token, ErrStale, f.written)
	}
	f.seen = max(f.seen, token)
	return nil
}
