package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

const (
	markName = "mark"
	// markSyncEvery bounds by how many groups a mark may lag after a power cut. Syncing each move
	// would double the cost of a Save to guard against damage that rarely comes with a power cut.
	markSyncEvery = 1024

	markSlotBytes   = 8 + 8 + 4
	markSlotSpacing = 4096 // the slots lie on different pages, so one torn write never hits both
	markFileBytes   = markSlotSpacing + markSlotBytes
)

// mark is a number on disk that only grows: the highest group known to be durable. It lives outside
// of Badger, to notice when Badger silently loses the end of its log. A move overwrites the older of
// two slots, so a torn one leaves the mark before it.
type mark struct {
	file     *os.File
	number   uint64
	moves    uint64 // decides which slot is next
	unsynced int
}

// createMark makes, or resets, the mark of a directory that holds no group yet.
func createMark(dir string) (*mark, error) {
	file, err := os.OpenFile(filepath.Join(dir, markName), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("storage: create the mark: %w", err)
	}
	m := &mark{file: file}
	if err := errors.Join(m.move(0), m.move(0), m.sync()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return m, nil
}

func openMark(dir string) (*mark, error) {
	file, err := os.OpenFile(filepath.Join(dir, markName), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: file %s is missing", ErrDamaged, markName)
	}
	if err != nil {
		return nil, fmt.Errorf("storage: open the mark: %w", err)
	}
	m := &mark{file: file}
	if err := m.read(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return m, nil
}

func (m *mark) read() (err error) {
	m.number, m.moves, err = readMark(m.file)
	return err
}

// readMark returns the newer of the two slots that fit their checksums.
func readMark(file io.ReaderAt) (number, moves uint64, err error) {
	valid := false
	for slot := range int64(2) {
		var b [markSlotBytes]byte
		if _, err := file.ReadAt(b[:], slot*markSlotSpacing); err != nil {
			continue // a slot that cannot be read is a slot that does not count
		}
		if binary.BigEndian.Uint32(b[16:]) != crc32.Checksum(b[:16], crcState) {
			continue
		}
		if m := binary.BigEndian.Uint64(b[8:]); !valid || m > moves {
			number, moves = binary.BigEndian.Uint64(b[:]), m
		}
		valid = true
	}
	if !valid {
		return 0, 0, fmt.Errorf("%w: neither slot of file %s fits its checksum", ErrDamaged, markName)
	}
	return number, moves, nil
}

// move raises the mark to number, whose group must be durable already: a mark ahead of the log would
// condemn a healthy directory. The move survives a crash of the process, and once synced of the machine.
func (m *mark) move(number uint64) error {
	var b [markSlotBytes]byte
	binary.BigEndian.PutUint64(b[:], number)
	binary.BigEndian.PutUint64(b[8:], m.moves+1)
	binary.BigEndian.PutUint32(b[16:], crc32.Checksum(b[:16], crcState))
	if _, err := m.file.WriteAt(b[:], int64((m.moves+1)%2)*markSlotSpacing); err != nil {
		return fmt.Errorf("storage: move the mark to group %d: %w", number, err)
	}
	m.number, m.moves = number, m.moves+1
	if m.unsynced++; m.unsynced < markSyncEvery {
		return nil
	}
	return m.sync()
}

func (m *mark) sync() error {
	if err := m.file.Sync(); err != nil {
		return fmt.Errorf("storage: sync the mark: %w", err)
	}
	m.unsynced = 0
	return nil
}

func (m *mark) close() error {
	return errors.Join(m.sync(), m.file.Close())
}
