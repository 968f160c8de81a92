package server_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain: whatever was opened and closed, crashed or told to end, leaves no goroutine.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
