package storage_test

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/264bc8cf/epaxos/storage"
)

// BenchmarkSave measures a turn: a group of so many records of 150 bytes, and as many writes of 64
// bytes to a state of 100,000 keys. The CPU time is that of the whole process, flushes and compactions
// included.
func BenchmarkSave(b *testing.B) {
	for _, records := range []int{1, 8, 64, 512} {
		b.Run(fmt.Sprintf("records=%d", records), func(b *testing.B) {
			o := testOptions(filepath.Join(b.TempDir(), "data"))
			o.MemTableBytes = storage.MemTableBytesDefault
			if err := storage.Create(o); err != nil {
				b.Fatal(err)
			}
			s, err := storage.Open(o)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			batch := storage.Batch{Group: make([]byte, 150*records)}
			for range records {
				batch.Writes = append(batch.Writes, storage.Write{Key: make([]byte, 16), Value: make([]byte, 64)})
			}
			var n uint64
			cpu := processTime(b)
			for b.Loop() {
				for i := range batch.Writes {
					n++
					binary.BigEndian.PutUint64(batch.Writes[i].Key, n*0x9E3779B97F4A7C15%100_000)
				}
				if err := s.Save(batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((processTime(b)-cpu)/float64(n), "cpu-µs/record")
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n), "µs/record")
		})
	}
}

// processTime is the CPU time of the process so far, in microseconds.
func processTime(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1000
}
