package wan

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// timerFile is an alarm on a timer of the kernel, read through the runtime's poller, which wakes
// within tens of microseconds.
type timerFile struct {
	fd   int
	file *os.File
}

func newAlarm() (alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create a timer: %w", err)
	}
	return &timerFile{fd: fd, file: os.NewFile(uintptr(fd), "timer")}, nil
}

func (t *timerFile) set(d time.Duration) {
	// Zero would disarm the timer.
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(1, d.Nanoseconds()))}
	// It can fail on a bad descriptor only: the caller never sets a closed alarm.
	_ = unix.TimerfdSettime(t.fd, 0, &spec, nil)
}

func (t *timerFile) wait() bool {
	var expirations [8]byte
	_, err := t.file.Read(expirations[:])
	return err == nil
}

func (t *timerFile) close() error { return t.file.Close() }
