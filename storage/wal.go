package storage

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// wal makes durable what Badger has committed. Badger would do it by itself (SyncWrites), but then
// syncs its value log as well with every commit, into which nothing is ever written here: that doubles
// the wait of every vote. All of a commit is in one file, the newest memtable log: Badger begins a
// new one only before it writes a transaction, and there is no other writer.
//
// The name of a new log is made durable too. Badger does not sync the directory, and a log that has
// lost its name is lost with all that was acknowledged.
type wal struct {
	dir    string
	listed unix.Timespec // modification time of the directory when it was last looked through
	log    *os.File      // the newest memtable log
	used   int64         // Badger has written no further than this in log
	zeroed int64         // the blocks of log between the used of its start and here exist
}

// aheadBytes is how far ahead of Badger the log is filled with zeros. Badger makes it sparse, so that
// every sync would have to journal new blocks, which costs more than twice the time and processor of
// overwriting old ones. To Badger, zeros and holes are the same.
const aheadBytes = 1 << 20

// timeGranularity is more than the tick by which file systems date changes: within it a second
// change leaves the same time as the first.
const timeGranularity = 50 * time.Millisecond

// memtableSuffix is how Badger names the logs of its memtables, after an ascending number.
const memtableSuffix = ".mem"

// sync returns when everything committed before is durable. At most bytes were committed since the last
// call.
func (w *wal) sync(bytes int) error {
	var st unix.Stat_t
	if err := unix.Stat(w.dir, &st); err != nil {
		return fmt.Errorf("storage: look at the directory %s: %w", w.dir, err)
	}
	changed := st.Mtim
	renamed := changed != w.listed
	if renamed {
		if err := w.find(); err != nil {
			return err
		}
	}
	if err := syncData(w.log); err != nil {
		return fmt.Errorf("storage: sync %s: %w", w.log.Name(), err)
	}
	if renamed {
		if err := syncDir(w.dir); err != nil {
			return err
		}
		if time.Since(time.Unix(changed.Unix())) > timeGranularity {
			w.listed = changed
		}
	}
	w.used += entryOverhead + 2*int64(bytes)
	return w.fillAhead()
}

// entryOverhead is more than Badger puts around the entries of a transaction; the entries themselves
// take less than twice what a batch counts for them.
const entryOverhead = 4096

var zeros [256 << 10]byte

// fillAhead writes zeros where Badger will write next. It runs between two commits, and only beyond what
// Badger can have written, so it overwrites nothing.
func (w *wal) fillAhead() error {
	if w.used+aheadBytes/2 < w.zeroed {
		return nil
	}
	st, err := w.log.Stat()
	if err != nil {
		return fmt.Errorf("storage: size of %s: %w", w.log.Name(), err)
	}
	from := max(w.zeroed, w.used)
	for end := min(w.used+aheadBytes, st.Size()); from < end; {
		n, err := w.log.WriteAt(zeros[:min(int64(len(zeros)), end-from)], from)
		if err != nil {
			return fmt.Errorf("storage: fill %s ahead: %w", w.log.Name(), err)
		}
		from += int64(n)
	}
	w.zeroed = from
	return nil
}

// find opens the newest memtable log.
func (w *wal) find() error {
	names, err := listDir(w.dir)
	if err != nil {
		return err
	}
	newest := ""
	for _, name := range names { // ascending, and Badger pads numbers with zeros
		longer := len(name) > len(newest)
		if strings.HasSuffix(name, memtableSuffix) && (longer || len(name) == len(newest) && name > newest) {
			newest = name
		}
	}
	if newest == "" {
		return fmt.Errorf("%w: %s holds no log of a memtable", ErrDamaged, w.dir)
	}
	path := filepath.Join(w.dir, newest)
	if w.log != nil && w.log.Name() == path {
		return nil
	}
	log, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("storage: open the log to sync it: %w", err)
	}
	old := w.log
	w.log, w.used, w.zeroed = log, 0, 0
	if old == nil {
		return nil
	}
	return old.Close()
}

func (w *wal) close() error {
	if w.log == nil {
		return nil
	}
	err := w.log.Close()
	w.log = nil
	return err
}
