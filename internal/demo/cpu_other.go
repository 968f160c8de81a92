//go:build !unix

package demo

import "time"

// cpuTime is not known here.
func cpuTime() time.Duration { return 0 }
