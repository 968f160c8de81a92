//go:build unix

package loopback

import (
	"syscall"
	"time"
)

// CPUTime is what the process has used of the processors, in user and system mode; 0 if the system
// does not tell.
func CPUTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
