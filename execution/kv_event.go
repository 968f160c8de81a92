package execution

import (
	"encoding/binary"
	"fmt"
)

// Event implements Watched. That the version of a deleted key is forgotten is no event: the key is as absent as before.
func (KV) Event(c *Change) (e Event, ok bool, err error) {
	switch c.Kind {
	case ChangePut:
		now, err := parseRecord(c.Value)
		if err != nil {
			return Event{}, false, fmt.Errorf("key %q: %w", c.Key, err)
		}
		if !now.found {
			return Event{Kind: EventDelete, Version: now.version}, true, nil
		}
		return Event{Kind: EventPut, Value: now.value, Version: now.version}, true, nil
	case ChangeMerge:
		delta := binary.BigEndian.Uint64(c.Value)
		return Event{Kind: EventAdd, Delta: int64(delta)}, true, nil //nolint:gosec // as addOperand wrote it
	default:
		return Event{}, false, nil
	}
}
