package storage

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
)

// badgerLog passes on what Badger logs, and remembers the first failure. Badger logs several failed
// syncs and goes on, or retries for ever what can no longer succeed; we stop instead.
type badgerLog struct {
	log     *slog.Logger
	failure atomic.Pointer[string]
	failed  chan struct{} // closed with the first failure
}

func newBadgerLog(log *slog.Logger) *badgerLog {
	return &badgerLog{log: log.With("library", "badger"), failed: make(chan struct{})}
}

func (l *badgerLog) Errorf(format string, args ...any) {
	text := line(format, args)
	l.log.Error(text)
	l.fail(text)
}

// Warningf takes a warning that carries an error for a failure: so Badger reports a compaction that
// could not write or sync.
func (l *badgerLog) Warningf(format string, args ...any) {
	text := line(format, args)
	l.log.Warn(text)
	for _, arg := range args {
		if err, ok := arg.(error); ok && err != nil {
			l.fail(text)
		}
	}
}

func (l *badgerLog) Infof(format string, args ...any)  { l.log.Debug(line(format, args)) }
func (l *badgerLog) Debugf(format string, args ...any) {}

func (l *badgerLog) fail(text string) {
	if l.failure.CompareAndSwap(nil, &text) {
		close(l.failed)
	}
}

// err is the first failure, nil while there is none.
func (l *badgerLog) err() error {
	if text := l.failure.Load(); text != nil {
		return fmt.Errorf("storage: badger reports: %s", *text)
	}
	return nil
}

func line(format string, args []any) string {
	return strings.TrimSpace(fmt.Sprintf(format, args...))
}
