package storage

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

const (
	condemnedName     = "condemned"
	condemnedMagic    = "epaxos-condemned 1\n"
	condemnedBytesMax = 16 << 10
)

// Condemn makes the verdict durable that a directory lost what its replica promised: from then on Open refuses
// it with ErrCondemned and the reason, whatever becomes of the rest. There is no way back, since peers may have
// counted the replica out already. The first verdict stays. A store may have the directory open, and need not.
func Condemn(dir, reason string) error {
	_, condemned, err := Condemned(dir)
	if condemned || err != nil {
		return err
	}
	reason = reason[:min(len(reason), condemnedBytesMax/8)]
	b := fmt.Appendf(nil, "%sreason %q\n", condemnedMagic, reason)
	b = fmt.Appendf(b, "checksum %08x\n", crc32.Checksum(b, crcState))
	if err := writeFileDurably(dir, condemnedName, b); err != nil {
		return fmt.Errorf("storage: condemn %s: %w; do not start this replica again", dir, err)
	}
	return nil
}

// Condemned tells whether a directory is, and why.
func Condemned(dir string) (reason string, condemned bool, err error) {
	file, err := os.Open(filepath.Join(dir, condemnedName))
	if errors.Is(err, os.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("storage: look for a verdict on %s: %w", dir, err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, condemnedBytesMax))
	if err != nil {
		return "", false, fmt.Errorf("storage: read the verdict on %s: %w", dir, err)
	}
	return parseCondemned(b), true, nil
}

// parseCondemned reads the reason. A verdict that cannot be read is one all the same.
func parseCondemned(b []byte) (reason string) {
	const unreadable = "the reason cannot be read"
	end := bytes.LastIndex(b, []byte("checksum "))
	if end < 0 || string(b[end:]) != fmt.Sprintf("checksum %08x\n", crc32.Checksum(b[:end], crcState)) {
		return unreadable
	}
	line, ok := bytes.CutPrefix(b[:end], []byte(condemnedMagic+"reason "))
	reason, err := strconv.Unquote(string(bytes.TrimSuffix(line, []byte("\n"))))
	if !ok || err != nil {
		return unreadable
	}
	return reason
}

// refuseCondemned is the error that Open returns for a condemned directory.
func refuseCondemned(dir string) error {
	reason, condemned, err := Condemned(dir)
	if err != nil || !condemned {
		return err
	}
	return fmt.Errorf("%w: %s; remove this member from the cluster and add a new one with a directory of its own, "+
		"and keep this one for inspection or delete it", ErrCondemned, reason)
}
