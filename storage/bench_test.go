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
			s := benchStore(b)
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

// BenchmarkSaveLarge measures what exceeds one transaction: a batch of 50,000 writes of 256 bytes, as a component
// of as many commands makes it, to a state of 100,000 keys.
func BenchmarkSaveLarge(b *testing.B) {
	const writes = 50_000
	s := benchStore(b)
	batch := storage.Batch{Group: make([]byte, 150*writes)}
	for range writes {
		batch.Writes = append(batch.Writes, storage.Write{Key: make([]byte, 16), Value: make([]byte, 256)})
	}
	var n uint64
	b.SetBytes(int64(batch.Bytes() - (writes+1)*storage.WriteBytesOverhead))
	for b.Loop() {
		for i := range batch.Writes {
			n++
			binary.BigEndian.PutUint64(batch.Writes[i].Key, n%100_000)
		}
		if err := s.Save(batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/batch")
}

func benchStore(b *testing.B) *storage.Badger {
	o := testOptions(filepath.Join(b.TempDir(), "data"))
	o.MemTableBytes, o.SaveBytesMax = storage.MemTableBytesDefault, 0
	if err := storage.Create(o); err != nil {
		b.Fatal(err)
	}
	s, err := storage.Open(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// BenchmarkGet reads one of 100,000 keys; BenchmarkGroups replays a log, per group of 64 records.
func BenchmarkGet(b *testing.B) {
	s := benchStore(b)
	key := make([]byte, 16)
	for n := uint64(0); n < 100_000; {
		var batch storage.Batch
		for range 1000 {
			batch.Writes = append(batch.Writes, storage.Write{
				Key: binary.BigEndian.AppendUint64(nil, n), Value: make([]byte, 64)})
			n++
		}
		if err := s.Save(batch); err != nil {
			b.Fatal(err)
		}
	}
	var n uint64
	b.ReportAllocs()
	for b.Loop() {
		n += 7919
		if _, _, err := s.Get(binary.BigEndian.AppendUint64(key[:0], n%100_000)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGroups(b *testing.B) {
	s := benchStore(b)
	const groups = 2000
	for range groups {
		if err := s.Save(storage.Batch{Group: make([]byte, 64*150)}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if err := s.Groups(func(uint64, []byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*groups), "ns/group")
}

// processTime is the CPU time of the process so far, in microseconds.
func processTime(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1000
}

// BenchmarkScrub reads and verifies a store of 100,000 keys and 2000 groups; BenchmarkOpen opens it, which verifies
// its tables and logs.
func BenchmarkScrub(b *testing.B) {
	s := benchFilled(b)
	b.SetBytes(int64(s.Usage().DiskBytes))
	for b.Loop() {
		if err := scrubAll(s, 1<<20); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	s := benchFilled(b)
	size := int64(s.Usage().DiskBytes)
	o := testOptions(s.Dir())
	o.MemTableBytes = storage.MemTableBytesDefault
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	for b.Loop() {
		s, err := storage.Open(o)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func benchFilled(b *testing.B) *storage.Badger {
	s := benchStore(b)
	benchFill(b, s)
	return s
}

func benchFill(b *testing.B, s *storage.Badger) {
	for n := uint64(0); n < 200_000; {
		batch := storage.Batch{Group: make([]byte, 64*150)}
		for range 100 {
			key := binary.BigEndian.AppendUint64(nil, n*0x9E3779B97F4A7C15%100_000)
			batch.Writes = append(batch.Writes, storage.Write{Key: key, Value: make([]byte, 256)})
			n++
		}
		if err := s.Save(batch); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkChanges reads the state of 100,000 keys as of a held group, behind which each key was written again;
// BenchmarkStage stages as many keys in chunks of 256 KiB, as a transfer does.
func BenchmarkChanges(b *testing.B) {
	s := benchFilled(b)
	if err := s.Save(storage.Batch{Hold: storage.HoldThis}); err != nil {
		b.Fatal(err)
	}
	held := s.Held()
	benchFill(b, s)
	var keys, bytes int
	for b.Loop() {
		keys, bytes = 0, 0
		err := s.Changes(0, held, nil, func(w storage.Write) error {
			keys, bytes = keys+1, bytes+len(w.Key)+len(w.Value)
			return nil
		})
		if err != nil || keys != 100_000 {
			b.Fatalf("%d keys, %v", keys, err)
		}
	}
	b.SetBytes(int64(bytes))
	u := s.Usage()
	b.ReportMetric(float64(u.DiskBytes)/float64(u.HeldBytes), "disk-bytes/held-byte")
}

func BenchmarkStage(b *testing.B) {
	s := benchStore(b)
	const chunk = 1000
	var n uint64
	b.SetBytes(chunk * (8 + 256))
	for b.Loop() {
		var writes []storage.Write
		for range chunk {
			n++
			writes = append(writes, storage.Write{Key: binary.BigEndian.AppendUint64(nil, n), Value: make([]byte, 256)})
		}
		if err := s.Stage(writes, []byte("note")); err != nil {
			b.Fatal(err)
		}
	}
}
