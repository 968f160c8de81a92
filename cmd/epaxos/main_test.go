package main

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain: no command leaves a goroutine, and the shell none of any of its lines.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
