package demo

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// tracer writes what the replicas send and save to one file, each line behind its time in
// milliseconds since the start of the run. It is safe for concurrent use.
type tracer struct {
	clock func() time.Duration

	mu     sync.Mutex
	file   *os.File
	buffer *bufio.Writer
}

func newTracer(path string, clock func() time.Duration) (*tracer, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("open the trace: %w", err)
	}
	return &tracer{clock: clock, file: file, buffer: bufio.NewWriterSize(file, 1<<20)}, nil
}

func (t *tracer) line(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.buffer, "%10.3f %s\n", millis(t.clock()), text) // close reports what fails
}

func (t *tracer) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := errors.Join(t.buffer.Flush(), t.file.Close()); err != nil {
		return fmt.Errorf("write the trace: %w", err)
	}
	return nil
}
