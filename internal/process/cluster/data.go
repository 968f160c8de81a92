package cluster

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/264bc8cf/epaxos/storage"
)

// CopyData copies the data directory under a name, for Restore. The replica must not run.
func (r *Replica) CopyData(name string) error {
	if err := os.CopyFS(r.copyOf(name), os.DirFS(r.Data)); err != nil {
		return fmt.Errorf("copy the data directory of replica %d: %w", r.ID, err)
	}
	return nil
}

// Restore puts a copy in the place of the data directory.
func (r *Replica) Restore(name string) error {
	err := errors.Join(r.Wipe(), os.Remove(r.Data), os.CopyFS(r.Data, os.DirFS(r.copyOf(name))))
	if err != nil {
		return fmt.Errorf("put %q in the place of the data directory of replica %d: %w", name, r.ID, err)
	}
	return nil
}

func (r *Replica) copyOf(name string) string {
	return filepath.Join(r.cluster.options.Dir, "copies", fmt.Sprintf("n%d", r.ID), name)
}

// Wipe removes all that is in the data directory.
func (r *Replica) Wipe() error {
	entries, err := os.ReadDir(r.Data)
	if err != nil {
		return fmt.Errorf("wipe the data directory of replica %d: %w", r.ID, err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(r.Data, e.Name())); err != nil {
			return fmt.Errorf("wipe the data directory of replica %d: %w", r.ID, err)
		}
	}
	return nil
}

// State is what a replica has applied, as its directory tells it.
type State struct {
	Keys   int
	Digest [sha256.Size]byte
}

// State reads the data directory. The replica must have ended, and well, or what it kept in memory
// is missing.
func (r *Replica) State() (State, error) {
	store, err := storage.Open(storage.Options{
		Dir: r.Data,
		Identity: storage.Identity{
			Cluster: r.settings.Cluster, Replica: uint32(r.ID), Incarnation: r.settings.Incarnation,
		},
		FreeReserveBytes: 1, MemTableBytes: int64(r.settings.Storage.MemtableBytes),
	})
	if err != nil {
		return State{}, fmt.Errorf("read the state of replica %d: %w", r.ID, err)
	}
	var state State
	hash := sha256.New()
	err = store.Scan(nil, nil, func(key, value []byte) error {
		state.Keys++
		for _, b := range [][]byte{key, value} {
			hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
			hash.Write(b)
		}
		return nil
	})
	hash.Sum(state.Digest[:0])
	return state, errors.Join(err, store.Close())
}
