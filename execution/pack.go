package execution

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Records of requests of a session are small and come in runs, so from wire.FormatPacks on those of packNumbers
// successive numbers share a key: a store takes one write for them, and a checkpoint one deletion. A pack is the
// records in the order of their numbers, whatever the order in which the requests were executed, so that it is the same
// on every replica: for each the number's offset and whether it was executed, the length of the result, the result.

const (
	// packNumbers is how many numbers share a pack. More would make sessions that are slow write the same again and again.
	packNumbers = 16
	// packedResultMax is the longest result that goes into a pack, in bytes.
	packedResultMax = 64
	packExecuted    = 0x10
	// packMark stands between the name of a session and what packs begin with, see bookMark.
	packMark = "\xfd"
)

var errPack = errors.New("a pack of records that cannot be read")

// PackRecords says whether requests are recorded in packs from now on. It must be called at the same place of the order
// on every replica.
func (s *State) PackRecords(packs bool) { s.packs = packs }

// packKey is where the applied state holds the pack of a number.
func packKey(session epaxos.InstanceID, number uint64) string {
	return string(binary.BigEndian.AppendUint64([]byte(session.Key()+packMark), number/packNumbers))
}

// findPacked returns where in a pack the record with an offset is, or belongs.
func findPacked(pack []byte, offset byte) (at, end int, found bool, err error) {
	for at < len(pack) {
		if len(pack)-at < 2 || len(pack)-at-2 < int(pack[at+1]) || pack[at] >= packExecuted<<1 {
			return 0, 0, false, errPack
		}
		end = at + 2 + int(pack[at+1])
		switch here := pack[at] & (packNumbers - 1); {
		case here == offset:
			return at, end, true, nil
		case here > offset:
			return at, at, false, nil
		}
		at = end
	}
	return at, at, false, nil
}

// packed returns the record of a number from its pack.
func (s *State) packed(id epaxos.InstanceID, number uint64) (record wire.SessionRecord, found bool, err error) {
	pack, found, err := s.Get(epaxos.SpaceSession, packKey(id, number))
	if err != nil || !found {
		return record, false, err
	}
	at, end, found, err := findPacked(pack, byte(number%packNumbers))
	if err != nil || !found {
		return record, false, err
	}
	return wire.SessionRecord{Executed: pack[at]&packExecuted != 0, Result: pack[at+2 : end : end]}, true, nil
}

// pack adds a record to its pack.
func (s *State) pack(id epaxos.InstanceID, number uint64, record wire.SessionRecord) error {
	key := packKey(id, number)
	pack, _, err := s.Get(epaxos.SpaceSession, key)
	if err != nil {
		return err
	}
	offset := byte(number % packNumbers)
	at, end, _, err := findPacked(pack, offset)
	if err != nil {
		return err
	}
	head := [2]byte{offset, byte(len(record.Result))}
	if record.Executed {
		head[0] |= packExecuted
	}
	if at == len(pack) { // who holds the pack of before sees nothing of what follows it
		s.Put(epaxos.SpaceSession, key, append(append(pack, head[:]...), record.Result...))
	} else {
		s.Put(epaxos.SpaceSession, key, slices.Concat(pack[:at], head[:], record.Result, pack[end:]))
	}
	return nil
}

// dropPacks deletes the packs all of whose numbers a checkpoint has passed.
func (s *State) dropPacks(id epaxos.InstanceID, w *window, before, floor uint64) {
	for first := before / packNumbers * packNumbers; first+packNumbers <= floor; first += packNumbers {
		kept := first < before // perhaps, of what an earlier checkpoint has passed
		for number := first; number < first+packNumbers && !kept; number++ {
			kept = w.packed.has(number)
		}
		if kept {
			s.Delete(epaxos.SpaceSession, packKey(id, first))
		}
	}
}
