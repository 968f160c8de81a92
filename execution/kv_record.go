package execution

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// The saved form of a key: its version, 8 bytes big endian, and then the bytes of its value. Of a deleted
// key the version stays, with deletedBit set, and no value: were it to begin anew, whoever compares
// versions would take the next life of a key for the one that it has read. A key that ends with a lease has
// leasedBit set, and the 16 bytes that name the lease before its value.

const (
	versionBytes = 8
	deletedBit   = 1 << 63
	leasedBit    = 1 << 62
	leaseBytes   = 16
)

// errValue means that the saved state holds what KV never wrote.
var errValue = errors.New("kv: saved value has no version that makes sense; restore the replica from its peers")

// record is a key as it stands.
type record struct {
	found   bool
	version uint64 // of its last change; 0 if there never was one
	value   []byte
	lease   epaxos.InstanceID // that the key ends with; zero if none
}

// parseRecord reads a saved form. The value shares its memory.
func parseRecord(saved []byte) (record, error) {
	if len(saved) < versionBytes {
		return record{}, errValue
	}
	version, rest := binary.BigEndian.Uint64(saved), saved[versionBytes:]
	switch version & (deletedBit | leasedBit) {
	case 0:
		return record{found: true, version: version, value: rest}, nil
	case leasedBit:
		if len(rest) < leaseBytes {
			return record{}, errValue
		}
		lease, _ := epaxos.ParseInstanceKey(string(rest[:leaseBytes]))
		return record{found: true, version: version &^ leasedBit, value: rest[leaseBytes:], lease: lease}, nil
	case deletedBit:
		if len(rest) == 0 {
			return record{version: version &^ deletedBit}, nil
		}
	}
	return record{}, errValue
}

// saved is the form of a key that exists.
func (now *record) saved() []byte {
	if now.lease.IsZero() {
		saved := make([]byte, versionBytes, versionBytes+len(now.value))
		binary.BigEndian.PutUint64(saved, now.version)
		return append(saved, now.value...)
	}
	saved := make([]byte, versionBytes, versionBytes+leaseBytes+len(now.value))
	binary.BigEndian.PutUint64(saved, now.version|leasedBit)
	return append(append(saved, now.lease.Key()...), now.value...)
}

// Ended implements Leaser: a key is deleted at the end of its lease, as by a delete.
func (KV) Ended(value []byte, lease epaxos.InstanceID) (after []byte, attached bool, err error) {
	now, err := parseRecord(value)
	if err != nil || !now.found || now.lease != lease {
		return nil, false, err
	}
	return deletedRecord(now.version + 1), true, nil
}

// Orphaned returns what a saved key becomes in a cluster that does not have its lease: it is deleted. One without a
// lease stays as it is.
func (KV) Orphaned(value []byte) (after []byte, err error) {
	now, err := parseRecord(value)
	if err != nil || now.lease.IsZero() {
		return value, err
	}
	return deletedRecord(now.version + 1), nil
}

// deletedRecord is the saved form of a key that a change of this version deleted.
func deletedRecord(version uint64) []byte {
	return binary.BigEndian.AppendUint64(nil, version|deletedBit)
}

// shown is the version as clients see it.
func (now *record) shown() uint64 {
	if !now.found {
		return 0
	}
	return now.version
}

// seen is the answer that shows a key.
func (now record) seen(status wire.OpStatus) wire.Result {
	return wire.Result{Status: status, Found: now.found, Value: now.value, Version: now.shown(), Lease: now.lease}
}

// holds reports whether a comparison holds. The value of an absent key is not equal to any, and
// neither less nor greater; its version is 0.
func (now *record) holds(c *wire.Compare) bool {
	order := cmp.Compare(now.shown(), c.Version)
	switch c.Target {
	case wire.CompareValue:
		if !now.found {
			return c.Relation == wire.NotEqual
		}
		order = bytes.Compare(now.value, c.Value)
	case wire.CompareLease:
		lease := ""
		if !now.lease.IsZero() {
			lease = now.lease.Key()
		}
		order = cmp.Compare(lease, string(c.Value))
	}
	return related(order, c.Relation)
}

// related reports whether a relation holds between two things of this order.
func related(order int, relation wire.CompareRelation) bool {
	switch relation {
	case wire.Equal:
		return order == 0
	case wire.NotEqual:
		return order != 0
	case wire.Less:
		return order < 0
	default:
		return order > 0
	}
}

// plus is the decimal form of the sum, modulo 2^64; false if the key holds no number.
func (now *record) plus(delta int64) (sum []byte, ok bool) {
	var number int64
	if now.found {
		var err error
		if number, err = strconv.ParseInt(string(now.value), 10, 64); err != nil {
			return nil, false
		}
	}
	return strconv.AppendInt(nil, number+delta, 10), true // signed addition wraps around in Go
}

// Merge adds to a counter. Two adds commute: the sum is the same, the version has advanced by two, and a
// key that holds no number refuses both and stays as it is.
func (KV) Merge(value []byte, found bool, operand []byte) (merged []byte, ok bool, err error) {
	if len(operand) != versionBytes {
		return nil, false, fmt.Errorf("kv: operand of %d bytes: need %d", len(operand), versionBytes)
	}
	var now record
	if found {
		if now, err = parseRecord(value); err != nil {
			return nil, false, err
		}
	}
	sum, ok := now.plus(int64(binary.BigEndian.Uint64(operand))) //nolint:gosec // as addOperand wrote it
	if !ok {
		return nil, false, nil
	}
	after := record{found: true, version: now.version + 1, value: sum, lease: now.lease}
	return after.saved(), true, nil
}

func addOperand(delta int64) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(delta)) //nolint:gosec // all of its bits
}
