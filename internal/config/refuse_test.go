package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestRefused changes one thing of a good file and pins the whole message. FILE is its name.
func TestRefused(t *testing.T) {
	for _, test := range []struct{ name, old, new, want string }{
		{"unknown key", "dir: data", "dri: data\ndir: data",
			"FILE:5: dri: unknown key; did you mean dir?"},
		{"unknown key in a group", "ca: ca.pem", "ca: ca.pem\n  password: x",
			"FILE:23: tls.password: unknown key"},
		{"unknown key of a member", "    name: virginia", "    region: virginia",
			"FILE:16: members[1].region: unknown key"},
		{"capitals", "listen:", "Listen:",
			"FILE:6: Listen: unknown key; did you mean listen?\nlisten: is not set: give it in the file, as --listen or as EPAXOS_LISTEN"},
		{"repeated key", "dir: data", "dir: data\ndir: other",
			"FILE:6: dir: is given twice, first on line 5"},
		{"dotted key", "dir: data", "dir: data\ntls.ca: x",
			"FILE:6: tls.ca: is no key: groups are nested, not written with dots"},
		{"missing key", "dir: data\n", "",
			"dir: is not set: give it in the file, as --dir or as EPAXOS_DIR"},
		{"missing key of a member", "    incarnation: 43\n", "",
			"FILE:12: members[1].incarnation: is not set"},
		{"empty value", "dir: data", "dir:",
			"FILE:5: dir: must be a path, is empty: leave the line out, or give a value"},
		{"truth value as id", "- id: 1", "- id: true",
			"FILE:8: members[0].id: must be an id, is the truth value true"},
		{"text as id", "replica: 2", `replica: "2"`,
			`FILE:2: replica: must be an id, is the text "2"`},
		{"octal id", "replica: 2", "replica: 02",
			`FILE:2: replica: "02" starts with 0, which may mean base 8: write it without`},
		{"negative id", "replica: 2", "replica: -2",
			`FILE:2: replica: "-2" is not a whole number`},
		{"fractional id", "replica: 2", "replica: 2.0",
			"FILE:2: replica: must be an id, is the number 2.0"},
		{"huge id", "replica: 2", "replica: 4294967296",
			"FILE:2: replica: 4294967296 is too large: at most 4294967295"},
		{"number as name", `name: "virginia"`, "name: 12",
			"FILE:4: name: must be text, is the number 12: put quotes around it"},
		{"short cluster", "0d0e0f", "0d0e",
			"FILE:1: cluster: has 30 characters: need 32 hexadecimal digits"},
		{"cluster not hexadecimal", "0d0e0f", "0d0e0x",
			`FILE:1: cluster: "000102030405060708090a0b0c0d0e0x" is not hexadecimal`},
		{"zero cluster", "000102030405060708090a0b0c0d0e0f", "00000000000000000000000000000000",
			"FILE:1: cluster: is zero: take the id that init made"},
		{"alias", "dir: data", "dir: &d data\nname: *d",
			"FILE:6: name: is given twice, first on line 4"},
		{"alias alone", `name: "virginia"`, "name: *x",
			"FILE: not YAML: unknown anchor 'x' referenced"},
		{"two documents", "dir: data", "dir: data\n---\nx: 1",
			"FILE: holds more than one document"},
		{"not a mapping", good, "- a\n", "FILE:1: the file: must be a group of keys, is a list"},
		{"group as scalar", "dir: data", "dir: data\nlimits: 5",
			"FILE:6: limits: must be a group of keys, is the number 5"},
		{"list as scalar", good[strings.Index(good, "members:"):strings.Index(good, "tls:")], "members: none\n",
			`FILE:7: members: must be a list, is the text "none"`},
		{"bare duration", "dir: data", "dir: data\ntiming: {tick: 5}",
			`FILE:6: timing.tick: "5" has no unit: write 5ms or 5s`},
		{"quoted bare duration", "dir: data", "dir: data\ntiming: {tick: '5'}",
			`FILE:6: timing.tick: "5" has no unit: write 5ms or 5s`},
		{"senseless duration", "dir: data", "dir: data\ntiming: {tick: fast}",
			`FILE:6: timing.tick: "fast" is not a duration: write one like 10ms or 1.5s`},
		{"duration below a millisecond", "dir: data", "dir: data\ntiming: {tick: 5ns}",
			"FILE:6: timing.tick: 5ns is impossible: between 1ms and 1s"},
		{"heartbeat below a tick", "dir: data", "dir: data\ntiming:\n  heartbeat: 5ms",
			"FILE:7: timing.heartbeat: 5ms is impossible: between one tick, 10ms, and 1h0m0s"},
		{"hasty suspicion", "dir: data", "dir: data\ntiming:\n  suspect: 200ms",
			"FILE:7: timing.suspect: 200ms is too short: at least three heartbeats, 900ms, or one lost packet raises suspicion"},
		{"decimal bytes", "dir: data", "dir: data\nstorage: {reserve_bytes: 1GB}",
			`FILE:6: storage.reserve_bytes: "1GB" is not an amount of bytes: write a whole number and KiB, MiB or GiB`},
		{"bytes that overflow", "dir: data", "dir: data\nstorage: {reserve_bytes: 9999999999GiB}",
			"FILE:6: storage.reserve_bytes: 9999999999 is too large: at most 8589934591"},
		{"small reserve", "dir: data", "dir: data\nstorage: {reserve_bytes: 16MiB}",
			"FILE:6: storage.reserve_bytes: 16MiB is too little: at least four memtables, 128MiB, since the store dies on a full disk"},
		{"no port", `listen: ":7000"`, "listen: localhost",
			`FILE:6: listen: "localhost" is not host:port`},
		{"port 0", `listen: ":7000"`, `listen: ":0"`,
			`FILE:6: listen: ":0" has no port between 1 and 65535`},
		{"member without host", "c.example:7000", "0.0.0.0:7000",
			`FILE:18: members[2].addr: "0.0.0.0:7000" names no host: others must be able to reach it`},
		{"same id", "- id: 3", "- id: 1",
			"FILE:17: members[2].id: 1 is also the id of members[0]"},
		{"same address", "c.example", "a.example",
			"FILE:18: members[2].addr: a.example:7000 is also the address of members[0]"},
		{"same key pair", strings.Repeat("3", 64), strings.Repeat("1", 64),
			"FILE:19: members[2].fingerprint: is also that of members[0]: every replica has a key of its own"},
		{"not a member", "replica: 2", "replica: 4",
			"FILE:7: members: do not list replica 4, which this file configures"},
		{"another incarnation", "incarnation: 0x2b", "incarnation: 0x2d",
			"FILE:3: incarnation: is 0x2d, but members say 0x2b of replica 2"},
		{"f too large", "dir: data", "dir: data\nf: 2",
			"FILE:6: f: 2 crashes of 3 members are too many: at most 1"},
		{"e too large", "dir: data", "dir: data\nf: 0\ne: 1",
			"FILE:7: e: 1 is impossible with 3 members and f=0: at most 0"},
		{"no window", "dir: data", "dir: data\nlimits: {in_flight: 0}",
			"FILE:6: limits.in_flight: 0 is impossible: between 1 and 65536"},
		{"level", "dir: data", "dir: data\nlog: {level: loud}",
			`FILE:6: log.level: "loud" is not a level: debug, info, warn, error`},
		{"format", "dir: data", "dir: data\nlog: {format: xml}",
			`FILE:6: log.format: "xml" is not a format: text or json`},
		{"control character", "dir: data", `dir: "a\nb"`,
			`FILE:5: dir: "a\nb" holds control characters or is not UTF-8`},
		{"several at once", "dir: data", "dir: data\nf: no\nlog: {level: 3, color: x}",
			"FILE:6: f: \"no\" is neither auto nor a whole number\n" +
				"FILE:7: log.level: must be a level, is the number 3\n" +
				"FILE:7: log.color: unknown key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if !strings.Contains(good, test.old) {
				t.Fatalf("the good file lacks %q", test.old)
			}
			path := write(t, strings.Replace(good, test.old, test.new, 1))
			_, err := Load(Source{File: path})
			if err == nil {
				t.Fatal("accepted")
			}
			got := strings.ReplaceAll(err.Error(), path, "FILE")
			if test.name == "not a mapping" {
				got, _, _ = strings.Cut(got, "\n") // the missing keys follow
			}
			if got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// TestEveryKeyHasItsBounds gives each key values on either side of what is possible: the error must name the
// variable, the key, and what is possible. A new key fails here until it has its line.
func TestEveryKeyHasItsBounds(t *testing.T) {
	long := strings.Repeat("x", pathBytesMax+1)
	beyond := map[string]struct {
		values []string
		says   string
	}{
		"cluster":                  {[]string{"00", strings.Repeat("0", 32)}, "need 32|take the id that init made"},
		"replica":                  {[]string{"0", "4294967296"}, "count from 1|at most 4294967295"},
		"incarnation":              {[]string{"0", "18446744073709551616", "0x1ffffffffffffffff"}, "take the one|at most|64 bits"},
		"name":                     {[]string{strings.Repeat("n", nameBytesMax+1)}, "at most 64"},
		"dir":                      {[]string{long}, "at most 4096"},
		"listen":                   {[]string{":0", ":65536", "7000"}, "between 1 and 65535|not host:port"},
		"members":                  {[]string{"1=a:1"}, "is not id=host:port#fingerprint#incarnation"},
		"join":                     {[]string{"yes", "1", "true"}, "neither true nor false|members list replica 2 itself"},
		"format":                   {[]string{"0", "65537"}, "between 1 and 65536"},
		"format_max":               {[]string{"65537"}, "between 0 and 65536"},
		"f":                        {[]string{"2", "-1", "2147483648"}, "at most 1|neither auto nor|at most 2147483647"},
		"e":                        {[]string{"2", "half"}, "at most 1|neither auto nor"},
		"tls.ca":                   {[]string{long}, "at most 4096"},
		"tls.cert":                 {[]string{long}, "at most 4096"},
		"tls.key":                  {[]string{long}, "at most 4096"},
		"limits.in_flight":         {[]string{"0", "65537"}, "between 1 and 65536"},
		"limits.in_flight_per_key": {[]string{"0", "65537"}, "between 1 and 65536"},
		"limits.queue":             {[]string{"0", "1048577"}, "between 1 and 1048576"},
		"limits.client_requests":   {[]string{"0", "65537"}, "between 1 and 65536"},
		"limits.peer_queue_bytes":  {[]string{"1023KiB", "1025MiB"}, "between 1MiB and 1GiB"},
		"limits.watches":           {[]string{"0", "1048577"}, "between 1 and 1048576"},
		"watch.journal_bytes":      {[]string{"63KiB", "17GiB"}, "between 64KiB and 16GiB"},
		"limits.transfer_rate":     {[]string{"1KiB", "5GiB"}, "between 64KiB and 4GiB"},
		"timing.tick":              {[]string{"0s", "1001ms", "-1s"}, "between 1ms and 1s"},
		"timing.heartbeat":         {[]string{"9ms", "61m"}, "between one tick, 10ms, and 1h0m0s"},
		"timing.suspect":           {[]string{"899ms", "61m"}, "at least three heartbeats|between one tick"},
		"timing.resend":            {[]string{"9ms", "61m"}, "between one tick, 10ms, and 1h0m0s"},
		"timing.recover_stagger":   {[]string{"9ms", "61m"}, "between one tick, 10ms, and 1h0m0s"},
		"storage.reserve_bytes":    {[]string{"127MiB", "8589934592GiB"}, "at least four memtables|at most 8589934591"},
		"storage.memtable_bytes":   {[]string{"1023KiB", "65MiB"}, "between 1MiB and 64MiB"},
		"storage.scrub_period":     {[]string{"1ms", "9000h"}, "0s, or between 1s and"},
		"membership.evict_after":   {[]string{"9s"}, "at least 10s"},
		"membership.evict_bytes":   {[]string{"1MiB"}, "at least 64MiB"},
		"membership.evict_lag":     {[]string{"1"}, "at least 1000"},
		"peer_connections":         {[]string{"0", "17"}, "between 1 and 16"},
		"log.level":                {[]string{"trace"}, "debug, info, warn, error"},
		"log.format":               {[]string{"logfmt"}, "text or json"},
	}
	path := write(t, good)
	for _, k := range Keys() {
		if len(beyond[k.Name].values) == 0 {
			t.Errorf("%s: what is beyond its bounds?", k.Name)
		}
		for _, value := range beyond[k.Name].values {
			_, err := Load(Source{File: path, Env: environment{k.Env(): value}.lookup})
			if err == nil {
				t.Errorf("%s: %s is accepted", k.Name, value)
				continue
			}
			told := slices.ContainsFunc(strings.Split(beyond[k.Name].says, "|"), func(says string) bool {
				return strings.Contains(err.Error(), says)
			})
			if !told || !strings.Contains(err.Error(), "environment "+k.Env()+": "+k.Name+": ") {
				t.Errorf("%s: %.80s: the error is %v, want one that says %s", k.Name, value, err, beyond[k.Name].says)
			}
		}
	}
}

func TestRefusedFlagAndEnvironment(t *testing.T) {
	path := write(t, good)
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	AddFlags(flags)
	err := flags.Parse([]string{"--timing-tick=5"})
	if want := `invalid argument "5" for "--timing-tick" flag: "5" has no unit: write 5ms or 5s`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := flags.Parse([]string{"--timing-tick=2s"}); err != nil {
		t.Fatal(err)
	}
	_, err = Load(Source{File: path, Flags: flags})
	if want := "flag --timing-tick: timing.tick: 2s is impossible: between 1ms and 1s"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	for variable, test := range map[string]struct{ value, want string }{
		"EPAXOS_REPLICA":     {"02", `environment EPAXOS_REPLICA: replica: "02" starts with 0, which may mean base 8: write it without`},
		"EPAXOS_F":           {"7", "environment EPAXOS_F: f: 7 crashes of 3 members are too many: at most 1"},
		"EPAXOS_TIMING_TICK": {"500ms", "default: timing.heartbeat: 300ms is impossible: between one tick, 500ms, and 1h0m0s"},
		"EPAXOS_MEMBERS":     {"1=a:1#zz", `environment EPAXOS_MEMBERS: members: entry 1, "1=a:1#zz", is not id=host:port#fingerprint#incarnation`},
	} {
		_, err := Load(Source{File: path, Env: environment{variable: test.value}.lookup})
		if err == nil || err.Error() != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
	var problems *Error
	_, err = Load(Source{})
	if !errors.As(err, &problems) || len(problems.Problems) != 9 {
		t.Errorf("without any source: %v", err)
	}
}

func TestUnreadableFile(t *testing.T) {
	_, err := Load(Source{File: filepath.Join(t.TempDir(), "absent")})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
	_, err = load(t, strings.Repeat("# filler\n", fileBytesMax/8))
	if err == nil || !strings.Contains(err.Error(), "larger than 1MiB") {
		t.Errorf("huge file: %v", err)
	}
	_, err = load(t, "cluster: [\n")
	if err == nil || !strings.Contains(err.Error(), "not YAML") {
		t.Errorf("broken file: %v", err)
	}
}

func TestProfileRefused(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", "FILE: cluster: is not set\nFILE: endpoints: is not set\nFILE: ca: is not set\nFILE: cert: is not set\nFILE: key: is not set"},
		{"cluster: 0123456789abcdef0123456789abcdef\nendpoints: [a:1, ':7']\nca: a\ncert: b\nkey: c\n",
			`FILE:2: endpoints[1]: ":7" names no host: others must be able to reach it`},
		{"cluster: 0123456789abcdef0123456789abcdef\nendpoints: a:1\nca: a\ncert: b\nkey: c\n",
			`FILE:2: endpoints: must be a list, is the text "a:1"`},
		{"cluster: 0123456789abcdef0123456789abcdef\nendpoints: []\nca: a\ncert: b\nkey: c\n",
			"FILE:2: endpoints: is empty: list at least one replica"},
	} {
		path := write(t, test.text)
		_, err := LoadProfile(path)
		if err == nil || strings.ReplaceAll(err.Error(), path, "FILE") != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
}
