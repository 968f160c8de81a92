package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/264bc8cf/epaxos/internal/hostile"
)

// Checksums keep a fuzzer out of what they guard, so most targets can seal an input: what is behind a right
// checksum must not bring the process down either.

// toldAsDamage expects nothing, or an error about damage or a foreign format.
func toldAsDamage(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrFormat) {
		t.Fatalf("violation of integrity: the error is %v, want ErrDamaged or ErrFormat", err)
	}
}

// FuzzIdentity: only the very bytes that would be written are an identity.
func FuzzIdentity(f *testing.F) {
	for _, ran := range []started{false, true} {
		whole := encodeIdentity(goldenIdentity, ran)
		f.Add(whole, false)
		f.Add(whole[:bytes.LastIndex(whole, []byte("checksum"))], true)
	}
	f.Add([]byte("epaxos-storage 2\nwhat a later version writes\n"), true)
	f.Add([]byte("epaxos-storage 1\ncluster 00\nreplica -1\nincarnation 99999999999999999999\nstate ?\n"), true)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if seal {
			b = fmt.Appendf(bytes.Clone(b), "checksum %08x\n", crc32.Checksum(b, crcState))
		}
		hostile.Cheap(t, hostile.Factor, len(b), func() { _, _, _ = parseIdentity(b) })
		id, ran, err := parseIdentity(b)
		toldAsDamage(t, err)
		if err == nil && !bytes.Equal(encodeIdentity(id, ran), b) {
			t.Errorf("violation of integrity: %q was read as %v, started %v", b, id, ran)
		}
		if err != nil && id != (Identity{}) && errors.Is(err, ErrDamaged) {
			t.Errorf("violation of integrity: a damaged identity was read as %v", id)
		}
	})
}

// FuzzMeta: what is accepted is what would be written.
func FuzzMeta(f *testing.F) {
	whole := newMeta(goldenIdentity).encode()
	f.Add(whole, false)
	f.Add(whole, true)
	f.Add(whole[:metaBytes-1], true)
	f.Add(newMeta(goldenIdentity).withHolds().encode(), false)
	f.Add([]byte{2}, false)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if seal && len(b) >= 4 {
			b = bytes.Clone(b)
			binary.BigEndian.PutUint32(b[len(b)-4:], crc32.Checksum(b[:len(b)-4], crcState))
		}
		hostile.Cheap(t, hostile.Factor, len(b), func() { _, _ = parseMeta(b) })
		m, err := parseMeta(b)
		toldAsDamage(t, err)
		if err == nil && !bytes.Equal(m.encode(), b) {
			t.Errorf("violation of integrity: %x was read as %+v", b, m)
		}
	})
}

// FuzzMark: the newer of the slots that fit their checksums counts, and one is enough.
func FuzzMark(f *testing.F) {
	f.Add(make([]byte, 16), make([]byte, 16), true, true)
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x02"), []byte("torn"), true, false)
	f.Add([]byte{}, []byte{}, false, false)
	f.Fuzz(func(t *testing.T, first, second []byte, sealFirst, sealSecond bool) {
		file := make([]byte, markFileBytes)
		slot := func(at int, content []byte, seal bool) {
			b := file[at : at+markSlotBytes]
			copy(b, content)
			if seal {
				binary.BigEndian.PutUint32(b[16:], crc32.Checksum(b[:16], crcState))
			}
		}
		slot(0, first, sealFirst)
		slot(markSlotSpacing, second, sealSecond)
		for _, size := range []int{markFileBytes, markSlotSpacing, markSlotBytes, 3} {
			sound := sealFirst && size >= markSlotBytes || sealSecond && size == markFileBytes
			number, moves, err := readMark(bytes.NewReader(file[:size]))
			toldAsDamage(t, err)
			if sound && err != nil {
				t.Fatalf("violation of integrity: a sound slot was not read: %v", err)
			}
			if sealFirst && err == nil && moves == binary.BigEndian.Uint64(file[8:]) &&
				number < binary.BigEndian.Uint64(file) && size < markFileBytes {
				t.Fatalf("violation of durability: the mark went back to %d", number)
			}
		}
	})
}

// FuzzState: a value that does not fit its key and checksum is never returned.
func FuzzState(f *testing.F) {
	f.Add([]byte("key"), []byte("value"), true)
	f.Add([]byte{}, []byte("abc"), false)
	f.Fuzz(func(t *testing.T, key, stored []byte, seal bool) {
		storedKey := appendStateKey(nil, 1, key)
		if seal {
			stored = append(binary.BigEndian.AppendUint32(nil, stateChecksum(storedKey, stored)), stored...)
		}
		hostile.Cheap(t, hostile.Factor, len(key)+len(stored), func() { _, _ = parseStateValue(storedKey, stored) })
		value, err := parseStateValue(storedKey, stored)
		toldAsDamage(t, err)
		if seal && (err != nil || !bytes.Equal(value, stored[stateHeaderBytes:])) {
			t.Errorf("violation of durability: %q became %q, %v", stored, value, err)
		}
	})
}

// part is one record of the log as Badger shows it.
type part struct{ key, value []byte }

// writtenLog is the log of groups with these bodies, each cut into parts of at most partMax bytes.
func writtenLog(bodies [][]byte, partMax int) (log []part) {
	before := firstChain(goldenIdentity)
	for i, body := range bodies {
		number := uint64(i + 1)
		before = before.next(number, body)
		pieces := [][]byte{body[:min(partMax, len(body))]}
		for rest := body[len(pieces[0]):]; len(rest) > 0; {
			n := min(partMax, len(rest))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		header := groupHeader{parts: len(pieces), number: number, chain: before}
		log = append(log, part{appendGroupKey(nil, number, 0), append(header.append(nil), pieces[0]...)})
		for j, piece := range pieces[1:] {
			log = append(log, part{appendGroupKey(nil, number, j+1), bytes.Clone(piece)})
		}
	}
	return log
}

// spoil does one thing to a log that a disk, or a restore by hand, might have done.
func spoil(log []part, h *hostile.Hose) []part {
	if len(log) == 0 {
		return log
	}
	i, j := h.Below(len(log)), h.Below(len(log))
	switch h.Below(8) {
	case 0:
		return append(log[:i:i], log[i+1:]...)
	case 1:
		return log[:i]
	case 2:
		log[i], log[j] = log[j], log[i]
	case 3:
		log[i].value = log[j].value
	case 4:
		log[i].key = h.Take(h.Below(12))
	case 5:
		log[i].value = log[i].value[:min(len(log[i].value), h.Below(40))]
	default:
		if n := len(log[i].value); n > 0 {
			log[i].value = bytes.Clone(log[i].value)
			log[i].value[h.Below(n)] ^= max(1, h.Byte())
		}
	}
	return log
}

// FuzzGroups writes a log, spoils it, and reads it: each group comes out as it went in, or an error does.
func FuzzGroups(f *testing.F) {
	f.Add([]byte("\x03\x05\x00\x08the first second and third"))
	f.Add([]byte("\x02\x03\x01\x04abcdefgh\x00\x00\x00\x01\x02\x02\x02\x03\x03\x06\x07\x07"))
	for act := range byte(8) {
		f.Add([]byte{4, 2, 1, 6, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 3, 5, act, 1, 1})
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		h := &hostile.Hose{Bytes: script}
		bodies := make([][]byte, h.Below(6))
		partMax := 1 + h.Below(8)
		spoilt := h.Below(4)
		for i := range bodies {
			bodies[i] = h.Take(h.Below(20))
		}
		log := writtenLog(bodies, partMax)
		for range spoilt {
			log = spoil(log, h)
		}
		r := groupReader{next: 1, chain: firstChain(goldenIdentity), visit: func(number uint64, group []byte) error {
			if number > uint64(len(bodies)) || !bytes.Equal(group, bodies[number-1]) {
				t.Errorf("violation of durability: group %d was read as %q", number, group)
			}
			return nil
		}}
		for _, p := range log {
			if err := r.part(p.key, p.value); err != nil {
				toldAsDamage(t, err)
				return
			}
		}
		if spoilt == 0 && (r.partsLeft > 0 || r.next != uint64(len(bodies))+1) {
			t.Errorf("violation of durability: of %d groups %d were read", len(bodies), r.next-1)
		}
	})
}

// newTable is a table of Badger as a store has flushed it.
func newTable(f *testing.F) []byte {
	f.Helper()
	o := Options{Dir: filepath.Join(f.TempDir(), "data"), Identity: goldenIdentity, MemTableBytes: memTableBytesMin}
	if err := Create(o); err != nil {
		f.Fatal(err)
	}
	b, err := Open(o)
	if err != nil {
		f.Fatal(err)
	}
	err = b.Save(Batch{Group: []byte("group"), Writes: []Write{{Key: []byte("key"), Value: []byte("value")}}})
	if err := errors.Join(err, b.Close()); err != nil {
		f.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(o.Dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		f.Fatalf("no table was flushed: %v", err)
	}
	data, err := os.ReadFile(tables[0])
	if err != nil {
		f.Fatal(err)
	}
	return data
}

// FuzzVerifyTable: an index that lies, though its checksum is right, is found out before Badger sees it.
func FuzzVerifyTable(f *testing.F) {
	data := newTable(f)
	if err := verifyTableData(data); err != nil {
		f.Fatalf("a sound table is refused: %v", err)
	}
	rest, _, _ := cutTail(data)
	blocks, index, _ := cutTail(rest)
	f.Add(blocks, index, true)
	f.Add(blocks, index, false)
	f.Add(blocks[:len(blocks)/2], index, true)
	f.Add([]byte{}, []byte{}, true)
	f.Fuzz(func(t *testing.T, blocks, index []byte, seal bool) {
		table := append(bytes.Clone(blocks), index...)
		if seal {
			table = binary.BigEndian.AppendUint32(table, uint32(len(index)))
			var sum []byte
			if s := crc32.Checksum(index, crcState); s != 0 {
				sum = binary.AppendUvarint([]byte{2 << 3}, uint64(s))
			}
			table = binary.BigEndian.AppendUint32(append(table, sum...), uint32(len(sum)))
		}
		hostile.Cheap(t, hostile.Factor, len(table), func() { toldAsDamage(t, verifyTableData(table)) })
	})
}

// FuzzRedo: a marker, and the records of a batch, are read as they were written, or not at all.
func FuzzRedo(f *testing.F) {
	r := redo{number: 7, attempt: 8, parts: 3, chain: 9, adopt: true, after: newMeta(goldenIdentity).withHolds()}
	var whole []byte
	records := redoRecords{bytesMax: 64, write: func(b []byte) error { whole = append(whole, b...); return nil }}
	batch := Batch{Group: []byte("group"), Writes: []Write{{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("b"), Delete: true}}}
	if err := records.batch(batch); err != nil {
		f.Fatal(err)
	}
	f.Add(r.key(redoMarker).append(nil), r.encode(), whole)
	f.Add(r.key(2).append(nil), r.encode()[:13], whole[:9])
	f.Add([]byte("r"), []byte{redoFormat, 0}, []byte("\x00\x00\x00\x00\xff\xff\xff\xff group"))
	f.Fuzz(func(t *testing.T, key, marker, content []byte) {
		k, err := parseRedoKey(key)
		toldAsDamage(t, err)
		if err == nil && !bytes.Equal(k.append(nil), key) {
			t.Errorf("violation of integrity: %x was read as %+v", key, k)
		}
		r, err := parseRedo(k, marker)
		toldAsDamage(t, err)
		if err == nil && !bytes.Equal(r.encode(), marker) {
			t.Errorf("violation of integrity: %x was read as %+v", marker, r)
		}
		_, err = openRedo(key, marker)
		toldAsDamage(t, err)
		if opened, err := openRedo(key, sealRedo(key, content)); err != nil || !bytes.Equal(opened, content) {
			t.Errorf("violation of durability: a record was read as %x, %v", opened, err)
		}
		hostile.Cheap(t, 16*hostile.Factor, len(content), func() { _, _ = parseRedoBatch(content) })
		b, err := parseRedoBatch(content)
		toldAsDamage(t, err)
		if err != nil {
			return
		}
		var again []byte
		c := redoRecords{bytesMax: 7, write: func(b []byte) error { again = append(again, b...); return nil }}
		if err := c.batch(b); err != nil || !bytes.Equal(again, content) {
			t.Errorf("violation of durability: %x was read as %x, %v", content, again, err)
		}
	})
}

// FuzzStaged: what is accepted is what would be written.
func FuzzStaged(f *testing.F) {
	r := stagedRecord{seq: 258, active: true, generation: 2, note: []byte("note")}
	f.Add(r.key(), r.encode(), false)
	f.Add(r.key(), r.ended().encode(), true)
	f.Add([]byte("n"), []byte{}, true)
	f.Fuzz(func(t *testing.T, key, value []byte, seal bool) {
		if seal && len(value) >= 4 {
			value = bytes.Clone(value)
			binary.BigEndian.PutUint32(value, stateChecksum(key, value[4:]))
		}
		r, err := parseStaged(key, value)
		toldAsDamage(t, err)
		if err == nil && !bytes.Equal(r.encode(), value) {
			t.Errorf("violation of integrity: %x was read as %+v", value, r)
		}
	})
}
