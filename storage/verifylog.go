package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
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

// verifyLogs checks the logs of the memory tables: before Badger cuts them to what it can read, or while it
// writes to the newest.
func verifyLogs(dir string) (v verifiedLogs, err error) {
	names, err := listLogs(dir)
	if err != nil {
		return v, err
	}
	for _, name := range names {
		data, err := readStanding(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue // its memory table was flushed meanwhile
		}
		if err != nil {
			return v, fmt.Errorf("storage: verify the log of a memory table: %w", err)
		}
		log := scanLog(data)
		v.files, v.bytes = v.files+1, v.bytes+log.bytes
		if v.unread != "" && (log.groups > 0 || !log.whole) {
			return v, fmt.Errorf("%w: log %s ends at a record that does not fit its checksum, but %s follows",
				ErrDamaged, v.unread, name)
		}
		if v.last > 0 && log.groups > 0 && log.first != v.last+1 || log.hole {
			return v, fmt.Errorf("%w: log %s begins with group %d, the one before it ends with %d",
				ErrDamaged, name, log.first, v.last)
		}
		if log.groups > 0 {
			v.last = log.first + log.groups - 1
		}
		if !log.whole {
			v.unread = name
		}
	}
	return v, nil
}

// readStanding reads a file whole. One that is being deleted, which Badger begins by cutting it to nothing, is
// not there any more.
func readStanding(path string) ([]byte, error) {
	before, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err == nil && int64(len(data)) < before.Size() {
		err = fmt.Errorf("%s is being deleted: %w", path, os.ErrNotExist)
	}
	return data, err
}

// verifiedLogs is what the logs hold.
type verifiedLogs struct {
	last   uint64 // the newest group in them, 0 if there is none
	unread string // the newest log, if it ends at a record that cannot be read
	files  int
	bytes  int
}

// verifyLogHeaders checks that no log claims to be encrypted, the value log neither: Badger would not open it.
func verifyLogHeaders(dir string) error {
	return eachFile(dir, func(info os.FileInfo) error {
		if name := info.Name(); !strings.HasSuffix(name, memtableSuffix) && !strings.HasSuffix(name, ".vlog") {
			return nil
		}
		file, err := os.Open(filepath.Join(dir, info.Name()))
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("storage: open a log: %w", err)
		}
		defer file.Close()
		var key [8]byte
		if n, err := file.Read(key[:]); err != nil && n > 0 || key != [8]byte{} {
			return fmt.Errorf("%w: log %s names key of encryption %x", ErrDamaged, info.Name(), key)
		}
		return nil
	})
}

// syncLogs makes durable what is in the logs: a killed process may have left a group that it had not synced,
// and what is read from now on counts.
func syncLogs(dir string) error {
	names, err := listLogs(dir)
	for i := 0; i < len(names) && err == nil; i++ {
		var file *os.File
		if file, err = os.OpenFile(filepath.Join(dir, names[i]), os.O_RDWR, 0); err == nil {
			err = errors.Join(syncData(file), file.Close())
		}
	}
	if err != nil {
		return fmt.Errorf("storage: sync the logs: %w", err)
	}
	return syncDir(dir)
}

// listLogs names the logs of the memory tables, ascending.
func listLogs(dir string) (names []string, err error) {
	err = eachFile(dir, func(info os.FileInfo) error {
		if strings.HasSuffix(info.Name(), memtableSuffix) {
			names = append(names, info.Name())
		}
		return nil
	})
	slices.SortFunc(names, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b) // Badger pads numbers with zeros, up to five digits
		}
		return strings.Compare(a, b)
	})
	return names, err
}

// scannedLog is what Badger would read of a log.
type scannedLog struct {
	first  uint64 // group
	groups uint64
	hole   bool // between groups
	whole  bool // nothing but zeros follows
	bytes  int  // that it read
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
			s.bytes = len(data) - len(rest)
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
