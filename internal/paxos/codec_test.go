package paxos

import (
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
)

func sampleValue(number uint64) Value {
	return Value{
		ID: CommandID{Replica: 2, Life: 3, Number: number},
		Command: &epaxos.Command{
			Requests: []epaxos.Request{
				{Payload: []byte("put")},
				{Session: epaxos.InstanceID{Epoch: 1, Replica: 2, Slot: 300}, Number: 7},
			},
			Footprint: epaxos.Footprint{
				{Mode: epaxos.Write, Key: "k"},
				{Mode: epaxos.Read, Space: epaxos.SpaceSession, Key: "a", Range: true, End: "b"},
			},
		},
	}
}

// samples is one message of each kind, in the order of the kinds, with what it must look like for ever.
func samples() []struct {
	message Message
	golden  string
} {
	ballot := Ballot{Number: 5, Replica: 2}
	round := Round{Ballot: ballot, Classic: true}
	value := Value{ID: CommandID{Replica: 1, Life: 1, Number: 9}, Command: &epaxos.Command{
		Requests:  []epaxos.Request{{Payload: []byte("x")}},
		Footprint: epaxos.Footprint{{Mode: epaxos.Write, Key: "k"}},
	}}
	const v = "010109" + "01" + "01" + "000000" + "00" + "0178" + "01" + "0200" + "016b" + "00"
	return []struct {
		message Message
		golden  string
	}{
		{Forward{Values: []Value{value}}, "01" + "01" + v},
		{Prepare{Ballot: ballot, From: 300, One: true}, "02" + "0502" + "ac02" + "01"},
		{Promise{Ballot: ballot, From: 1, Reports: []Report{{Slot: 1, Round: round, Entry: Entry{value}, Decided: true}}},
			"03" + "0502" + "01" + "01" + "01" + "050201" + "01" + v + "01"},
		{Accept{Round: round, Slot: 4, Entry: Entry{value}}, "04" + "050201" + "04" + "01" + v},
		{Accepted{Round: round, Slot: 4}, "05" + "050201" + "04"},
		{Decide{Slot: 4, Round: round, Full: true, Entry: Entry{value}}, "06" + "04" + "050201" + "01" + "01" + v},
		{Refusal{Slot: 4, Promised: ballot}, "07" + "04" + "0502"},
		{Heartbeat{Ballot: ballot, Decided: 4, Fast: 5}, "08" + "0502" + "04" + "05"},
		{Fetch{From: 4, To: 6}, "09" + "04" + "06"},
		{Propose{Value: value}, "0a" + v},
		{Vote{Ballot: ballot, Slot: 4, ID: value.ID}, "0b" + "0502" + "04" + "010109"},
		{Fill{Ballot: ballot, Slot: 4}, "0c" + "0502" + "04"},
		{Want{ID: value.ID}, "0d" + "010109"},
	}
}

func TestGoldenMessages(t *testing.T) {
	for i, s := range samples() {
		body := appendMessage(nil, s.message)
		if got := hex.EncodeToString(body); got != s.golden {
			t.Errorf("%T is %s, want %s", s.message, got, s.golden)
		}
		if kind(body[0]) != kind(i+1) {
			t.Errorf("%T is of kind %d", s.message, body[0])
		}
		got, err := decodeMessage(body)
		if err != nil || !reflect.DeepEqual(got, s.message) {
			t.Errorf("%T comes back as %+v, %v", s.message, got, err)
		}
		for end := range body {
			if _, err := decodeMessage(body[:end]); !errors.Is(err, errMalformed) {
				t.Errorf("%T cut to %d bytes: %v", s.message, end, err)
			}
		}
		if _, err := decodeMessage(append(body, 0)); !errors.Is(err, errMalformed) {
			t.Errorf("%T with a byte more: %v", s.message, err)
		}
	}
}

func TestRecordsComeBack(t *testing.T) {
	entry := Entry{sampleValue(1), {ID: CommandID{Replica: 1, Life: 1, Number: 1}}}
	round := Round{Ballot: Ballot{Number: 1, Replica: 3}, Classic: true}
	for _, r := range []Record{
		{Promised: round.Ballot},
		{Slot: 7, Promised: round.Ballot, Voted: true, Round: round, Entry: entry},
		{Slot: 7, Voted: true, Round: round, Entry: entry, Decided: true},
	} {
		d := decoder{rest: appendRecord(nil, &r)}
		if got := d.record(); d.end() != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%+v comes back as %+v, %v", r, got, d.err)
		}
		r.Known = true
		d = decoder{rest: appendRecord(nil, &r)}
		got := d.record()
		if r.Entry = nil; d.end() != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%+v, whose entry is known, comes back as %+v, %v", r, got, d.err)
		}
	}
}

// TestHostileLengths: what a length claims must be there, before memory is taken for it.
func TestHostileLengths(t *testing.T) {
	for _, body := range []string{
		"01ffffffffffffffff7f", "0a010101" + "01" + "ffffffff0f", "0a010101" + "01" + "01" + "000000" + "00" + "ffffff7f",
		"030502" + "01" + "ffffffff0f", "02" + "ffffffffffffffffffff01", "ff", "", "02" + "0502" + "01" + "02",
		"0a010101" + "01" + "00" + "01" + "0900" + "00" + "00", "09" + "01" + "ff",
	} {
		raw, err := hex.DecodeString(body)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := decodeMessage(raw); err == nil {
			t.Errorf("%s is taken for %+v", body, m)
		} else if !strings.Contains(err.Error(), "malformed") {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// FuzzMessage: whatever decodes has an encoding that means the same, and nothing panics.
func FuzzMessage(f *testing.F) {
	for _, s := range samples() {
		f.Add(appendMessage(nil, s.message))
	}
	f.Add(appendMessage(nil, Forward{Values: []Value{sampleValue(1), sampleValue(2)}}))
	f.Fuzz(func(t *testing.T, body []byte) {
		message, err := decodeMessage(body)
		if err != nil {
			return
		}
		again, err := decodeMessage(appendMessage(nil, message))
		if err != nil || !reflect.DeepEqual(again, message) {
			t.Fatalf("%+v comes back as %+v, %v", message, again, err)
		}
	})
}

// FuzzRecord is the same for records.
func FuzzRecord(f *testing.F) {
	f.Add(appendRecord(nil, &Record{Slot: 3, Voted: true, Entry: Entry{sampleValue(1)}}))
	f.Add(appendRecord(nil, &Record{Slot: 3, Known: true, Decided: true}))
	f.Fuzz(func(t *testing.T, body []byte) {
		d := decoder{rest: body}
		r := d.record()
		if d.end() != nil {
			return
		}
		d = decoder{rest: appendRecord(nil, &r)}
		if again := d.record(); d.end() != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v comes back as %+v, %v", r, again, d.err)
		}
	})
}
