package storage

import (
	"sync"
	"time"
)

// usageMaxAge is how old a reported disk use may be: measuring it asks for the state of each file.
const usageMaxAge = time.Second

type usageCache struct {
	mu       sync.Mutex
	measured time.Time
	disk     uint64
	free     uint64
}

// Usage implements Store. Disk use and free space are at most a second old; where they cannot be
// measured the last ones known are given.
func (b *Badger) Usage() Usage {
	u := &b.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	if now := time.Now(); u.measured.IsZero() || now.Sub(u.measured) >= usageMaxAge {
		u.measured = now
		if disk, err := allocatedBytes(b.opts.Dir); err == nil {
			u.disk = disk
		}
		if free, err := b.free(); err == nil {
			u.free = free
		}
	}
	return b.holds.usage(Usage{
		DiskBytes: u.disk, FreeBytes: u.free, GroupFirst: b.first.Load(), GroupLast: b.last.Load(),
	})
}
