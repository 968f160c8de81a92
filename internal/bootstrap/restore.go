package bootstrap

import (
	"errors"
	"fmt"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/config"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// restoreBatchBytes is how much of a state is saved at once.
const restoreBatchBytes = 512 << 10

// Restore makes a new cluster, as Init does, whose every replica begins with the state of a snapshot. The
// snapshot is verified as a whole first. What the service knew of itself is left behind: members, and sessions,
// whose ids are of the old cluster's epochs; what was under a lease ends (docs/protocol.md, rule T7). With an error
// nothing was made.
func Restore(o Options, snapshot string) (Layout, SnapshotInfo, error) {
	info, err := ReadSnapshot(snapshot, nil)
	if err != nil {
		return Layout{}, info, err
	}
	o.fill = func(c config.Config) error { return restoreState(c, snapshot, o.Orphaned) }
	if o.Overrides == nil {
		// A state written at a level may need it.
		o.Overrides = func(c *config.Config) { c.Format = max(c.Format, int(info.Members.Format)) }
	}
	layout, err := Init(o)
	return layout, info, err
}

// restoreState saves the state of a snapshot in an empty data directory.
func restoreState(c config.Config, snapshot string, orphaned func([]byte) ([]byte, error)) (err error) {
	store, err := storage.Open(storage.Options{
		Dir: c.Dir, MemTableBytes: int64(c.Storage.MemtableBytes),
		Identity: storage.Identity{Cluster: c.Cluster, Replica: uint32(c.Replica), Incarnation: c.Incarnation},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	var batch storage.Batch
	bytes := 0
	save := func() error {
		if len(batch.Writes) == 0 {
			return nil
		}
		batch.Group = wire.AppendGroup(nil, &wire.Group{})
		if err := store.Save(batch); err != nil {
			return fmt.Errorf("restore the state of replica %d: %w", c.Replica, err)
		}
		batch, bytes = storage.Batch{}, 0
		return nil
	}
	_, err = ReadSnapshot(snapshot, func(p *wire.SnapshotPart) error {
		for _, e := range p.Entries {
			if e.Key[0] != byte(epaxos.SpaceState) {
				continue
			}
			if orphaned != nil {
				after, err := orphaned(e.Value)
				if err != nil {
					return fmt.Errorf("key %q of the snapshot: %w", e.Key[1:], err)
				}
				e.Value = after
			}
			if bytes += len(e.Key) + len(e.Value); bytes > restoreBatchBytes {
				if err := save(); err != nil {
					return err
				}
				bytes = len(e.Key) + len(e.Value)
			}
			batch.Writes = append(batch.Writes, storage.Write{Key: e.Key, Value: e.Value})
		}
		return nil
	})
	if err != nil {
		return err
	}
	return save()
}
