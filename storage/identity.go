package storage

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

const (
	identityName     = "identity"
	identityBytesMax = 4 << 10
	identityMagic    = "epaxos-storage"
)

// started tells whether a replica ever ran in the directory: before, an absent database is what a
// first start finds; after, it is a loss.
type started bool

// Create makes dir the data directory of a replica that never ran: it writes the bootstrap record
// without which Open refuses an empty directory. The directory is created if need be, and must hold
// nothing. Durable when it returns nil; on an error nothing was created but perhaps the directory.
func Create(o Options) error {
	if o.Dir == "" {
		return errors.New("storage: no data directory is configured")
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return fmt.Errorf("storage: create the data directory: %w", err)
	}
	names, err := listDir(o.Dir)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return fmt.Errorf("storage: create the data directory %s: %w: it already holds %s; "+
			"a replica needs a directory of its own", o.Dir, os.ErrExist, names[0])
	}
	if err := writeIdentity(o.Dir, o.Identity, false); err != nil {
		return err
	}
	return syncDir(filepath.Dir(filepath.Clean(o.Dir)))
}

// ReadIdentity tells whose directory dir is, without opening it. It fails with ErrEmpty where no
// replica was created, with ErrFormat or ErrDamaged where the record cannot be read.
func ReadIdentity(dir string) (Identity, error) {
	id, _, err := readIdentity(dir)
	return id, err
}

func encodeIdentity(id Identity, ran started) []byte {
	state := "created"
	if ran {
		state = "started"
	}
	b := fmt.Appendf(nil, "%s %d\ncluster %s\nreplica %d\nincarnation %d\nstate %s\n", identityMagic,
		formatVersion, hex.EncodeToString(id.Cluster[:]), id.Replica, id.Incarnation, state)
	return fmt.Appendf(b, "checksum %08x\n", crc32.Checksum(b, crcState))
}

func parseIdentity(b []byte) (id Identity, ran started, err error) {
	var format, sum uint32
	var cluster []byte
	var state string
	if n, _ := fmt.Sscanf(string(b), identityMagic+" %d\n", &format); n == 1 && format != formatVersion {
		return id, false, fmt.Errorf("%w: it has format %d, this program reads %d",
			ErrFormat, format, formatVersion)
	}
	n, _ := fmt.Sscanf(string(b), identityMagic+" %d\ncluster %x\nreplica %d\nincarnation %d\nstate %s\nchecksum %x\n",
		&format, &cluster, &id.Replica, &id.Incarnation, &state, &sum)
	ran = state == "started"
	if n == 6 && len(cluster) == len(id.Cluster) {
		copy(id.Cluster[:], cluster)
	}
	// Only the very bytes that would be written are accepted, so no field can hide a change.
	if n != 6 || !bytes.Equal(b, encodeIdentity(id, ran)) {
		return Identity{}, false, fmt.Errorf("%w: file %s does not fit its checksum", ErrDamaged, identityName)
	}
	return id, ran, nil
}

func readIdentity(dir string) (Identity, started, error) {
	file, err := os.Open(filepath.Join(dir, identityName))
	if errors.Is(err, os.ErrNotExist) {
		return Identity{}, false, missingIdentity(dir)
	}
	if err != nil {
		return Identity{}, false, fmt.Errorf("storage: read the identity of %s: %w", dir, err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, identityBytesMax))
	if err != nil {
		return Identity{}, false, fmt.Errorf("storage: read the identity of %s: %w", dir, err)
	}
	return parseIdentity(b)
}

// missingIdentity tells a directory that was never one of ours from one that lost its identity.
func missingIdentity(dir string) error {
	names, err := listDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if len(names) > 0 {
		return fmt.Errorf("%w: %s holds %s, but file %s is missing", ErrDamaged, dir, names[0], identityName)
	}
	return fmt.Errorf("%w: %s; create the replica first, or mount the disk that holds it", ErrEmpty, dir)
}

func writeIdentity(dir string, id Identity, ran started) error {
	if err := writeFileDurably(dir, identityName, encodeIdentity(id, ran)); err != nil {
		return fmt.Errorf("storage: write the identity of %s: %w", dir, err)
	}
	return nil
}
