//go:build !linux

package storage

import "os"

// syncData makes the content of a file durable, also what was written through a mapping.
func syncData(file *os.File) error { return file.Sync() }
