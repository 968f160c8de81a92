package bootstrap

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// The file of a snapshot: a line that names the format, then the parts, each behind its length and in front of its
// checksum (CRC-32C), then a length of zero, the counts of keys and of bytes, and the SHA-256 of all before it.
const (
	snapshotMagic   = "epaxos-snapshot 1\n"
	partialSuffix   = ".partial"
	snapshotPartMax = wire.ClientFrameMax
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrSnapshot: the file is no whole and sound snapshot.
var ErrSnapshot = errors.New("not a sound snapshot")

// SnapshotInfo is what a snapshot holds.
type SnapshotInfo struct {
	Cluster [16]byte
	Members wire.Members // in force at the cut
	Parts   int
	Keys    uint64
	Bytes   uint64 // of keys and values
}

// add takes in one part, which must follow those before.
func (i *SnapshotInfo) add(p *wire.SnapshotPart, last []byte) (newest []byte, err error) {
	if (i.Parts == 0) != (p.Head != nil) {
		return nil, fmt.Errorf("%w: part %d has no place there", ErrSnapshot, i.Parts+1)
	}
	if p.Head != nil {
		i.Cluster, i.Members = p.Head.Cluster, p.Head.Members
	}
	i.Parts++
	for _, e := range p.Entries {
		if len(e.Key) == 0 || i.Keys > 0 && bytes.Compare(last, e.Key) >= 0 {
			return nil, fmt.Errorf("%w: keys that do not ascend", ErrSnapshot)
		}
		i.Keys++
		i.Bytes += uint64(len(e.Key) + len(e.Value))
		last = e.Key
	}
	return last, nil
}

// SnapshotWriter writes the file of a snapshot. It has its name only once it is whole and on disk.
type SnapshotWriter struct {
	path string
	file *os.File
	out  *bufio.Writer
	sum  hash.Hash
	info SnapshotInfo
	last []byte
	done bool
}

// CreateSnapshot begins a file. A file that exists is refused.
func CreateSnapshot(path string) (*SnapshotWriter, error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("save a snapshot: %s exists: a snapshot is never overwritten", path)
	}
	file, err := os.OpenFile(path+partialSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("save a snapshot: %w", err)
	}
	w := &SnapshotWriter{path: path, file: file, sum: sha256.New()}
	w.out = bufio.NewWriterSize(io.MultiWriter(file, w.sum), 1<<16)
	if _, err := w.out.WriteString(snapshotMagic); err != nil {
		return nil, errors.Join(fmt.Errorf("save a snapshot: %w", err), w.Abort())
	}
	return w, nil
}

// Add writes one part, as it came.
func (w *SnapshotWriter) Add(body []byte) error {
	part, err := wire.DecodeSnapshotPart(body)
	if err == nil && w.done {
		err = fmt.Errorf("%w: a part after the last", ErrSnapshot)
	}
	if err == nil {
		w.last, err = w.info.add(&part, w.last)
	}
	if err != nil {
		return fmt.Errorf("save a snapshot: %w", err)
	}
	w.done = part.Last
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(body))) //nolint:gosec // bounded by a frame
	frame = append(frame, body...)
	frame = binary.BigEndian.AppendUint32(frame, crc32.Checksum(body, castagnoli))
	if _, err := w.out.Write(frame); err != nil {
		return fmt.Errorf("save a snapshot: %w", err)
	}
	return nil
}

// Info is what was written so far.
func (w *SnapshotWriter) Info() SnapshotInfo { return w.info }

// Finish makes the file durable and gives it its name.
func (w *SnapshotWriter) Finish() (SnapshotInfo, error) {
	err := w.finish()
	if err != nil {
		return SnapshotInfo{}, errors.Join(fmt.Errorf("save a snapshot: %w", err), w.Abort())
	}
	return w.info, nil
}

func (w *SnapshotWriter) finish() error {
	if !w.done {
		return fmt.Errorf("%w: its last part is missing", ErrSnapshot)
	}
	end := binary.BigEndian.AppendUint32(nil, 0)
	end = binary.BigEndian.AppendUint64(end, w.info.Keys)
	end = binary.BigEndian.AppendUint64(end, w.info.Bytes)
	if _, err := w.out.Write(end); err != nil {
		return err
	}
	if err := w.out.Flush(); err != nil {
		return err
	}
	if _, err := w.file.Write(w.sum.Sum(nil)); err != nil {
		return err
	}
	if err := errors.Join(w.file.Sync(), w.file.Close()); err != nil {
		return err
	}
	// A link fails where a rename would overwrite what came meanwhile.
	if err := os.Link(w.path+partialSuffix, w.path); err != nil {
		return err
	}
	if err := os.Remove(w.path + partialSuffix); err != nil {
		return err
	}
	return syncDir(filepath.Dir(w.path))
}

// Abort removes what was written.
func (w *SnapshotWriter) Abort() error {
	w.file.Close() //nolint:errcheck // it may be closed, and is of no use
	if err := os.Remove(w.path + partialSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove an unfinished snapshot: %w", err)
	}
	return nil
}

// ReadSnapshot verifies a file as a whole, and calls visit, if there is one, for each part as soon as that is
// verified by itself. The error wraps ErrSnapshot where the file is at fault.
func ReadSnapshot(path string, visit func(*wire.SnapshotPart) error) (SnapshotInfo, error) {
	file, err := os.Open(path)
	if err != nil {
		return SnapshotInfo{}, fmt.Errorf("read the snapshot: %w", err)
	}
	defer file.Close() //nolint:errcheck // it was read only
	info, err := readSnapshot(file, visit)
	if err != nil {
		return SnapshotInfo{}, fmt.Errorf("read the snapshot %s: %w", path, err)
	}
	return info, nil
}

func readSnapshot(file io.Reader, visit func(*wire.SnapshotPart) error) (SnapshotInfo, error) {
	sum := sha256.New()
	in := bufio.NewReaderSize(file, 1<<16)
	all := io.TeeReader(in, sum)
	var info SnapshotInfo
	magic := make([]byte, len(snapshotMagic))
	if err := whole(all, magic); err != nil || string(magic) != snapshotMagic {
		return info, fmt.Errorf("%w: it does not begin with %q", ErrSnapshot, snapshotMagic)
	}
	var last []byte
	done := false
	for {
		body, err := readPart(all)
		if err != nil {
			return info, err
		}
		if body == nil {
			break
		}
		part, err := wire.DecodeSnapshotPart(body)
		if err == nil && done {
			err = errors.New("a part after the last")
		}
		if err != nil {
			return info, fmt.Errorf("%w: part %d: %w", ErrSnapshot, info.Parts+1, err)
		}
		if last, err = info.add(&part, last); err != nil {
			return info, err
		}
		done = part.Last
		if visit != nil {
			if err := visit(&part); err != nil {
				return info, err
			}
		}
	}
	if !done {
		return info, fmt.Errorf("%w: its last part is missing", ErrSnapshot)
	}
	return info, readEnd(in, all, sum, &info)
}

// readEnd checks the counts and the checksum of the whole, and that nothing follows.
func readEnd(in, all io.Reader, sum hash.Hash, info *SnapshotInfo) error {
	var counts [16]byte
	if err := whole(all, counts[:]); err != nil {
		return err
	}
	want := sum.Sum(nil)
	got := make([]byte, len(want))
	if err := whole(in, got); err != nil {
		return err
	}
	keys, size := binary.BigEndian.Uint64(counts[:8]), binary.BigEndian.Uint64(counts[8:])
	switch {
	case keys != info.Keys || size != info.Bytes:
		return fmt.Errorf("%w: %d keys of %d bytes, and it should hold %d of %d", ErrSnapshot, info.Keys, info.Bytes,
			keys, size)
	case !bytes.Equal(got, want):
		return fmt.Errorf("%w: its checksum does not fit", ErrSnapshot)
	}
	if n, err := in.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows its end", ErrSnapshot)
	}
	return nil
}

// readPart returns the body of the next part, nil at the end.
func readPart(all io.Reader) ([]byte, error) {
	var length, sum [4]byte
	if err := whole(all, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n == 0 {
		return nil, nil
	}
	if n > snapshotPartMax {
		return nil, fmt.Errorf("%w: a part of %d bytes: at most %d are possible", ErrSnapshot, n, snapshotPartMax)
	}
	body := make([]byte, n)
	if err := errors.Join(whole(all, body), whole(all, sum[:])); err != nil {
		return nil, err
	}
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(sum[:]) {
		return nil, fmt.Errorf("%w: a part does not fit its checksum", ErrSnapshot)
	}
	return body, nil
}

// whole reads as much as fits.
func whole(in io.Reader, into []byte) error {
	_, err := io.ReadFull(in, into)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it is cut off", ErrSnapshot)
	}
	return err
}
