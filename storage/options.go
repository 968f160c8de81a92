package storage

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

const (
	// MemTableBytesDefault bounds a transaction to about 2.4 MB and a flush stall to a few tens of
	// milliseconds; smaller tables stall more often, larger ones longer.
	MemTableBytesDefault = 16 << 20
	// FreeReserveBytesDefault covers the write-ahead logs, flushes and compactions that may still
	// be under way when a Save is refused.
	FreeReserveBytesDefault = 256 << 20

	memTableBytesMin = 1 << 20
	memTableBytesMax = 64 << 20 // above, the parts of a large group would need more room than a batch counts
)

// Identity tells whose directory it is. A replica that lost its directory comes back under a new
// Incarnation, never under the old one.
type Identity struct {
	Cluster     [16]byte
	Replica     uint32
	Incarnation uint64
}

func (id Identity) String() string {
	return fmt.Sprintf("replica %d, incarnation %d, of cluster %s", id.Replica, id.Incarnation,
		hex.EncodeToString(id.Cluster[:]))
}

// Options say where a store is, whose it is, and how large it may get. Zero values mean the
// defaults; Dir and Identity have none.
type Options struct {
	Dir      string
	Identity Identity
	// FreeReserveBytes must remain free on the file system, or Save refuses with ErrNoSpace.
	FreeReserveBytes uint64
	// MemTableBytes is the size of Badger's memory tables, of which there are three; a batch of up to
	// 15 % of it is saved in one transaction. An unflushed table of an earlier, larger setting raises it for one run.
	MemTableBytes int64
	// SaveBytesMax is the largest batch that Save takes: as much memory may be needed, and four times as
	// much disk.
	SaveBytesMax int
	// Logger gets what Badger has to say; nil discards it.
	Logger *slog.Logger

	step func() error // before each transaction that Save and Stage make; a test stops there
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("storage: no data directory is configured")
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = MemTableBytesDefault
	}
	if o.MemTableBytes < memTableBytesMin || o.MemTableBytes > memTableBytesMax {
		return o, fmt.Errorf("storage: memory table of %d bytes is outside of %d to %d",
			o.MemTableBytes, memTableBytesMin, memTableBytesMax)
	}
	if o.SaveBytesMax == 0 {
		o.SaveBytesMax = SaveBytesMax
	}
	if o.SaveBytesMax < 0 || o.SaveBytesMax > SaveBytesMax {
		return o, fmt.Errorf("storage: a largest batch of %d bytes is outside of 1 to %d", o.SaveBytesMax, SaveBytesMax)
	}
	if o.FreeReserveBytes == 0 {
		o.FreeReserveBytes = FreeReserveBytesDefault
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// valueBytesMax is the size from which Badger would put a value into its value log. Nothing may go
// there, since an error of syncing the value log is only logged.
func valueBytesMax(memTableBytes int64) int {
	return int(min(1<<20, memTableBytes*15/100)) - 1
}

func badgerOptions(o Options, log badger.Logger) badger.Options {
	b := badger.DefaultOptions(o.Dir)
	b.Logger = log
	b.SyncWrites = false // wal.go syncs
	b.MemTableSize = o.MemTableBytes
	b.NumMemtables = 3
	b.NumLevelZeroTables = 2
	b.NumLevelZeroTablesStall = 6
	b.NumCompactors = 2
	b.NumGoroutines = 1
	b.ValueThreshold = int64(valueBytesMax(o.MemTableBytes)) + 1
	b.ValueLogFileSize = max(1<<20, o.MemTableBytes)
	b.DetectConflicts = false
	b.MetricsEnabled = false
	// Without compression blocks are read from the mapped file, and no cache is needed.
	b.Compression = options.None
	b.BlockCacheSize = 0
	b.IndexCacheSize = 0
	return b
}
