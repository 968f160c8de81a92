package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/table"
)

// inspect looks at the directory before Badger does: after it, damage that Badger would pass over has
// been found, and what would needlessly stop Badger is out of its way.
func (b *Badger) inspect(ran started) error {
	if err := b.checkSpace(b.opts.FreeReserveBytes, 0); err != nil || !ran {
		return err
	}
	if err := moveAsideEmpty(b.log.log.Warn, b.opts.Dir); err != nil {
		return err
	}
	if err := syncLogs(b.opts.Dir); err != nil {
		return err
	}
	if _, err := verifyLogs(b.opts.Dir); err != nil {
		return err
	}
	need, err := memTableNeed(b.opts)
	if err != nil {
		return err
	}
	if need > b.opts.MemTableBytes {
		b.log.log.Warn("an unflushed log asks for larger memory tables in this run",
			"configured_bytes", b.opts.MemTableBytes, "bytes", need)
		b.opts.MemTableBytes = need
	}
	return verifyTables(b.opts, b.log)
}

// moveAsideEmpty renames the logs that a crash left without a single byte, between their creation and
// their first growth: Badger refuses to open with one. If such a file ever held anything, the mark or
// a hole in the numbers will tell.
func moveAsideEmpty(warn func(string, ...any), dir string) error {
	return eachFile(dir, func(info os.FileInfo) error {
		name := info.Name()
		if info.Size() > 0 || !(strings.HasSuffix(name, ".mem") || strings.HasSuffix(name, ".vlog")) {
			return nil
		}
		warn("an empty log of an interrupted start is moved aside", "file", name)
		path := filepath.Join(dir, name)
		if err := os.Rename(path, path+".empty"); err != nil {
			return fmt.Errorf("storage: move the empty log %s aside: %w", name, err)
		}
		return nil
	})
}

// memTableNeed is how large the memory tables must be to take in the logs that a crash left. Badger dies
// of a log that does not fit, so a setting that was lowered must wait until the logs are flushed.
func memTableNeed(o Options) (need int64, err error) {
	err = eachFile(o.Dir, func(info os.FileInfo) error {
		if !strings.HasSuffix(info.Name(), ".mem") || info.Size() <= o.MemTableBytes {
			return nil
		}
		size := info.Size()
		// A log is as long as two memory tables, zeros at the end, until a start has cut it to what it holds.
		uncut, err := endsInZeros(filepath.Join(o.Dir, info.Name()), size)
		if uncut {
			size /= 2
		}
		need = max(need, min(size, memTableBytesMax))
		return err
	})
	return need, err
}

func endsInZeros(path string, size int64) (bool, error) {
	file, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("storage: open the log: %w", err)
	}
	defer file.Close()
	var end [64]byte
	if _, err := file.ReadAt(end[:], size-int64(len(end))); err != nil {
		return false, fmt.Errorf("storage: read the log: %w", err)
	}
	return end == [64]byte{}, nil
}

func eachFile(dir string, visit func(os.FileInfo) error) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("storage: list the data directory: %w", err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue // the store may be running
		}
		if err != nil {
			return fmt.Errorf("storage: look at file %s: %w", e.Name(), err)
		}
		if err := visit(info); err != nil {
			return err
		}
	}
	return nil
}

// verifyTables checks every table that Badger's manifest names. Badger itself leaves out a table whose
// index is damaged, and takes a damaged block for the end of a table: keys would be gone, or old ones
// back, without an error.
func verifyTables(o Options, log badger.Logger) error {
	manifest, err := readManifest(o, log)
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(manifest.Tables)) {
		path := table.NewFilename(id, o.Dir)
		if _, err := verifyTable(path); err != nil {
			return fmt.Errorf("table %s: %w", filepath.Base(path), err)
		}
	}
	return nil
}

// readManifest reads it to its very end. Badger itself passes over a record that is cut short, and then deletes
// the tables that only this one names.
func readManifest(o Options, log badger.Logger) (manifest badger.Manifest, err error) {
	file, err := os.Open(filepath.Join(o.Dir, badger.ManifestFilename))
	if errors.Is(err, os.ErrNotExist) {
		return manifest, fmt.Errorf("%w: file %s is missing", ErrDamaged, badger.ManifestFilename)
	}
	if err != nil {
		return manifest, fmt.Errorf("storage: open the manifest: %w", err)
	}
	defer file.Close()
	err = guard("read the manifest", func() error {
		var end int64
		manifest, end, err = badger.ReplayManifestFile(file, 0, badgerOptions(o, log))
		if err != nil {
			return err
		}
		st, err := file.Stat()
		if err == nil && st.Size() != end {
			err = fmt.Errorf("it is readable up to byte %d of %d", end, st.Size())
		}
		return err
	})
	if err != nil {
		return manifest, fmt.Errorf("%w: the manifest cannot be read: %w", ErrDamaged, err)
	}
	return manifest, nil
}

// verifyTable returns how many bytes it read, too.
func verifyTable(path string) (int, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("%w: the file is missing: %w", ErrDamaged, err)
	}
	if err != nil {
		return 0, fmt.Errorf("storage: verify: %w", err)
	}
	return len(data), verifyTableData(data)
}

// verifyTableData checks the index of a table, and each block that the index names. A table is: blocks,
// index, length of the index (4 bytes), checksum of the index, length of that checksum (4).
func verifyTableData(data []byte) error {
	rest, sum, ok := cutTail(data)
	if !ok {
		return fmt.Errorf("%w: it is cut short", ErrDamaged)
	}
	blocks, index, ok := cutTail(rest)
	if !ok || !fits(index, sum) {
		return fmt.Errorf("%w: the index does not fit its checksum", ErrDamaged)
	}
	return guard("read the index", func() error { return verifyBlocks(blocks, fb.GetRootAsTableIndex(index, 0)) })
}

// verifyBlocks checks each block: entries, checksum, length of the checksum (4 bytes).
func verifyBlocks(blocks []byte, index *fb.TableIndex) error {
	var at fb.BlockOffset
	for i := range index.OffsetsLength() {
		if !index.Offsets(&at, i) {
			return fmt.Errorf("%w: the index has no block %d", ErrDamaged, i)
		}
		from, size := uint64(at.Offset()), uint64(at.Len())
		if from+size > uint64(len(blocks)) {
			return fmt.Errorf("%w: block %d lies outside of the file", ErrDamaged, i)
		}
		entries, sum, ok := cutTail(blocks[from : from+size])
		if !ok || !fits(entries, sum) {
			return fmt.Errorf("%w: block %d does not fit its checksum", ErrDamaged, i)
		}
	}
	return nil
}

// cutTail splits off the last field of b, whose length is in the four bytes after it.
func cutTail(b []byte) (rest, field []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	end := len(b) - 4
	size := uint64(binary.BigEndian.Uint32(b[end:]))
	if size > uint64(end) {
		return nil, nil, false
	}
	start := end - int(size)
	return b[:start], b[start:end], true
}

// fits compares data to Badger's encoding of its CRC-32C: protocol buffer field 2, or nothing for 0.
func fits(data, encoded []byte) bool {
	sum := crc32.Checksum(data, crcState)
	if sum == 0 {
		return len(encoded) == 0
	}
	return bytes.Equal(encoded, binary.AppendUvarint([]byte{2 << 3}, uint64(sum)))
}
