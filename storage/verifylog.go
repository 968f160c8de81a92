package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Badger ends the log of a memory table at the first record that does not fit its checksum. In the newest log
// the mark tells whether a group is missing then. In an older one, which a kill has left because its table was
// not flushed yet, groups that were dropped since would leave no hole, though the state they wrote is lost.
// But all of an older log was synced before the newer was begun, so nothing in it may be unreadable.

// verifyLogs checks the logs of the memory tables before Badger cuts them to what it can read.
func verifyLogs(dir string) error {
	var names []string
	err := eachFile(dir, func(info os.FileInfo) error {
		if strings.HasSuffix(info.Name(), memtableSuffix) {
			names = append(names, info.Name())
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(names, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b) // Badger pads numbers with zeros, up to five digits
		}
		return strings.Compare(a, b)
	})
	var last uint64 // the newest group so far
	unread := ""    // the log that ends before its end, if any does
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return fmt.Errorf("storage: verify the log of a memory table: %w", err)
		}
		log := scanLog(data)
		if unread != "" && (log.groups > 0 || !log.whole) {
			return fmt.Errorf("%w: log %s ends at a record that does not fit its checksum, but %s follows",
				ErrDamaged, unread, name)
		}
		if last > 0 && log.groups > 0 && log.first != last+1 || log.hole {
			return fmt.Errorf("%w: log %s begins with group %d, the one before it ends with %d",
				ErrDamaged, name, log.first, last)
		}
		if log.groups > 0 {
			last = log.first + log.groups - 1
		}
		if !log.whole {
			unread = name
		}
	}
	return nil
}

// scannedLog is what Badger would read of a log.
type scannedLog struct {
	first  uint64 // group
	groups uint64
	hole   bool // between groups
	whole  bool // nothing but zeros follows
}

const (
	logHeaderBytes  = 20 // which key encrypts the log, and with what salt: none
	logDeleted      = 1 << 0
	logTransaction  = 1 << 7 // is complete
	logVersionBytes = 8
)

// scanLog reads a log as Badger does: transactions of entries of one version, each closed by a record that
// tells the version.
func scanLog(data []byte) (s scannedLog) {
	if len(data) < logHeaderBytes {
		s.whole = true
		return s
	}
	var open uint64               // version of the transaction under way, 0 is none
	var numbers []uint64          // of its groups
	rest := data[logHeaderBytes:] // behind the last complete transaction
	for at := rest; ; {
		e, n := parseLogEntry(at)
		at = at[n:]
		switch version := e.version(); {
		case n == 0 || open != 0 && open != version:
			s.whole = onlyZeros(rest)
			return s
		case e.meta&logTransaction > 0:
			s.add(numbers)
			open, numbers, rest = 0, numbers[:0], at
		default:
			open = version
			if number, ok := e.group(); ok {
				numbers = append(numbers, number)
			}
		}
	}
}

func (s *scannedLog) add(numbers []uint64) {
	for _, number := range numbers {
		if s.groups == 0 {
			s.first = number
		}
		s.hole = s.hole || number != s.first+s.groups
		s.groups++
	}
}

type logEntry struct {
	meta       byte
	key, value []byte
}

// version is kept in the last bytes of the key, so that the newest comes first; the record that closes a
// transaction has it as its value. 0 is none.
func (e logEntry) version() uint64 {
	switch {
	case len(e.key) < logVersionBytes:
		return 0
	case e.meta&logTransaction > 0:
		version, _ := strconv.ParseUint(string(e.value), 10, 64)
		return version
	}
	return ^binary.BigEndian.Uint64(e.key[len(e.key)-logVersionBytes:])
}

// group is the number of the group that the entry is the head of.
func (e logEntry) group() (number uint64, ok bool) {
	number, part, err := parseGroupKey(e.key[:len(e.key)-logVersionBytes])
	return number, err == nil && part == 0 && e.meta&logDeleted == 0
}

// parseLogEntry reads one entry: two bytes of flags, the lengths of key and value, the time it expires, key,
// value, checksum. It takes n bytes, none where there is no valid one.
func parseLogEntry(b []byte) (e logEntry, n int) {
	if len(b) < 2 {
		return e, 0
	}
	e.meta = b[0]
	at := 2
	var fields [3]uint64
	for i := range fields {
		v, size := binary.Uvarint(b[at:])
		if size <= 0 {
			return e, 0
		}
		fields[i] = v
		at += size
	}
	key, value := fields[0], fields[1]
	if key < logVersionBytes || key > 1<<16 || value > uint64(len(b)) || uint64(at)+key+value+4 > uint64(len(b)) {
		return e, 0
	}
	end := at + int(key+value)
	if binary.BigEndian.Uint32(b[end:]) != crc32.Checksum(b[:end], crcState) {
		return e, 0
	}
	e.key, e.value = b[at:at+int(key)], b[at+int(key):end]
	return e, end + 4
}

func onlyZeros(b []byte) bool {
	for len(b) > 0 {
		n := min(len(b), len(zeros))
		if !bytes.Equal(b[:n], zeros[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}
