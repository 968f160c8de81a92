//go:build !unix

package loopback

import "time"

// CPUTime is not known here.
func CPUTime() time.Duration { return 0 }
