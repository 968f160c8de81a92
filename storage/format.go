package storage

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/crc64"
)

// formatVersion is the format of everything that this package writes. It is raised with each change
// that an older program would misread.
const formatVersion = 1

// formatHolds is the format of a directory in which, some time, a state was held, staged or saved in more
// than one transaction: what format 1 lacks. Only the meta record carries it, since an older program goes
// by that; until then a directory stays one that the older program reads.
const formatHolds = 2

const (
	prefixMeta   = 'm'
	prefixGroup  = 'g'
	prefixState  = 's'
	prefixStaged = 'n'
	prefixRedo   = 'r'

	groupKeyBytes    = 1 + 8 + 1
	groupHeaderBytes = 1 + 1 + 8 + 8
	stateHeaderBytes = 4
	metaBytes        = 1 + 1 + 8 + 8 + 16 + 4 + 8 + 4
	metaHoldsBytes   = metaBytes + 8
)

// Badger guards its records with CRC-32C. The chain uses another polynomial, because a change that
// fools the one would otherwise fool both.
var (
	crcState = crc32.MakeTable(crc32.Castagnoli)
	crcChain = crc64.MakeTable(crc64.ECMA)
)

// chain is the checksum of a group and, through the one before it, of all groups back to the first.
type chain uint64

// firstChain stands before group 1, so that the log of one replica never continues another's.
func firstChain(id Identity) chain {
	var b [28]byte
	copy(b[:16], id.Cluster[:])
	binary.BigEndian.PutUint32(b[16:], id.Replica)
	binary.BigEndian.PutUint64(b[20:], id.Incarnation)
	return chain(crc64.Checksum(b[:], crcChain))
}

func (c chain) next(number uint64, group []byte) chain {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(c))
	binary.BigEndian.PutUint64(b[8:], number)
	return chain(crc64.Update(crc64.Checksum(b[:], crcChain), crcChain, group))
}

func appendGroupKey(b []byte, number uint64, part int) []byte {
	return append(binary.BigEndian.AppendUint64(append(b, prefixGroup), number), byte(part))
}

func parseGroupKey(key []byte) (number uint64, part int, err error) {
	if len(key) != groupKeyBytes || key[0] != prefixGroup {
		return 0, 0, fmt.Errorf("%w: malformed group key %x", ErrDamaged, key)
	}
	return binary.BigEndian.Uint64(key[1:]), int(key[9]), nil
}

// groupHeader begins the first part of a group.
type groupHeader struct {
	parts  int
	number uint64
	chain  chain
}

func (h groupHeader) append(b []byte) []byte {
	b = append(b, formatVersion, byte(h.parts))
	b = binary.BigEndian.AppendUint64(b, h.number)
	return binary.BigEndian.AppendUint64(b, uint64(h.chain))
}

func parseGroupHeader(value []byte) (h groupHeader, body []byte, err error) {
	if len(value) < groupHeaderBytes {
		return h, nil, fmt.Errorf("%w: a group of %d bytes has no header", ErrDamaged, len(value))
	}
	if value[0] != formatVersion {
		return h, nil, fmt.Errorf("%w: a group has format %d, this program reads %d",
			ErrFormat, value[0], formatVersion)
	}
	h.parts = int(value[1])
	h.number = binary.BigEndian.Uint64(value[2:])
	h.chain = chain(binary.BigEndian.Uint64(value[10:]))
	return h, value[groupHeaderBytes:], nil
}

func appendStateKey(b []byte, generation byte, key []byte) []byte {
	return append(append(b, prefixState, generation), key...)
}

func stateChecksum(storedKey, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(storedKey, crcState), crcState, value)
}

// parseStateValue checks a stored value against the key it was found under, so that neither a
// changed value nor one that belongs to another key passes for data.
func parseStateValue(storedKey, stored []byte) ([]byte, error) {
	if len(stored) < stateHeaderBytes {
		return nil, fmt.Errorf("%w: the value of key %q is cut short", ErrDamaged, storedKey[2:])
	}
	value := stored[stateHeaderBytes:]
	if binary.BigEndian.Uint32(stored) != stateChecksum(storedKey, value) {
		return nil, fmt.Errorf("%w: the value of key %q does not fit its checksum", ErrDamaged, storedKey[2:])
	}
	return value, nil
}

// meta is the one record that says how to read all others.
type meta struct {
	format     byte
	generation byte   // of the state keys in force
	first      uint64 // the oldest group kept
	before     chain  // of the group before first
	held       uint64 // the group whose state is held, 0 is none; from formatHolds on
	identity   Identity
}

func newMeta(id Identity) meta {
	return meta{format: formatVersion, generation: 1, first: 1, before: firstChain(id), identity: id}
}

// upgraded is what is written of a meta record: in the older format as long as that can say it all.
func (m meta) upgraded() meta {
	if m.held > 0 || m.generation != 1 {
		m.format = formatHolds
	}
	return m
}

func (m meta) withHolds() meta {
	m.format = formatHolds
	return m
}

func (m meta) encode() []byte {
	b := make([]byte, 0, metaHoldsBytes)
	b = append(b, m.format, m.generation)
	b = binary.BigEndian.AppendUint64(b, m.first)
	b = binary.BigEndian.AppendUint64(b, uint64(m.before))
	b = append(b, m.identity.Cluster[:]...)
	b = binary.BigEndian.AppendUint32(b, m.identity.Replica)
	b = binary.BigEndian.AppendUint64(b, m.identity.Incarnation)
	if m.format >= formatHolds {
		b = binary.BigEndian.AppendUint64(b, m.held)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, crcState))
}

func parseMeta(b []byte) (m meta, err error) {
	if len(b) > 0 && b[0] != formatVersion && b[0] != formatHolds {
		return m, fmt.Errorf("%w: the database has format %d, this program reads up to %d",
			ErrFormat, b[0], formatHolds)
	}
	size := metaBytes
	if len(b) > 0 && b[0] == formatHolds {
		size = metaHoldsBytes
	}
	if len(b) != size ||
		binary.BigEndian.Uint32(b[size-4:]) != crc32.Checksum(b[:size-4], crcState) {
		return m, fmt.Errorf("%w: the meta record does not fit its checksum", ErrDamaged)
	}
	m.format, m.generation = b[0], b[1]
	m.first = binary.BigEndian.Uint64(b[2:])
	m.before = chain(binary.BigEndian.Uint64(b[10:]))
	copy(m.identity.Cluster[:], b[18:])
	m.identity.Replica = binary.BigEndian.Uint32(b[34:])
	m.identity.Incarnation = binary.BigEndian.Uint64(b[38:])
	if m.format >= formatHolds {
		m.held = binary.BigEndian.Uint64(b[46:])
	}
	return m, nil
}
