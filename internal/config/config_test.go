package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/264bc8cf/epaxos/epaxos"
)

const good = `cluster: "000102030405060708090a0b0c0d0e0f"
replica: 2
incarnation: 0x2b
name: "virginia"
dir: data
listen: ":7000"
members:
  - id: 1
    addr: "a.example:7000"
    fingerprint: "1111111111111111111111111111111111111111111111111111111111111111"
    incarnation: 0x2a
  - id: 2
    addr: "b.example:7000"
    fingerprint: "2222222222222222222222222222222222222222222222222222222222222222"
    incarnation: 43
    name: virginia
  - id: 3
    addr: "c.example:7000"
    fingerprint: "3333333333333333333333333333333333333333333333333333333333333333"
    incarnation: 0x2c
tls:
  ca: ca.pem
  cert: replica.pem
  key: /secret/replica.key
`

func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "replica.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t testing.TB, text string) (Config, error) {
	t.Helper()
	return Load(Source{File: write(t, text)})
}

// TestLoadAtOnce is for the race detector: several replicas may be configured at once in one process.
func TestLoadAtOnce(t *testing.T) {
	var loads sync.WaitGroup
	for range 100 {
		loads.Go(func() {
			if err := kindCluster.read("000102030405060708090a0b0c0d0e0f"); err != nil {
				t.Error(err)
			}
		})
	}
	loads.Wait()
}

// TestLoad pins every field of a file, so a key that the table and the struct name differently shows.
func TestLoad(t *testing.T) {
	path := write(t, good+`f: 1
e: 0
limits: {in_flight: 7, in_flight_per_key: 2, queue: 9, client_requests: 11, peer_queue_bytes: 3MiB}
timing: {tick: 2ms, heartbeat: 20ms, suspect: 1.5s, resend: 200ms, recover_stagger: 300ms}
storage: {reserve_bytes: 1GiB, memtable_bytes: 8388608}
peer_connections: 4
log: {level: warn, format: json}
`)
	got, err := Load(Source{File: path})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	want := Config{
		Cluster:     ClusterID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
		Replica:     2,
		Incarnation: 43,
		Name:        "virginia",
		Dir:         filepath.Join(dir, "data"),
		Listen:      ":7000",
		Members: []Member{
			{ID: 1, Addr: "a.example:7000", Fingerprint: repeated(0x11), Incarnation: 42},
			{ID: 2, Addr: "b.example:7000", Fingerprint: repeated(0x22), Incarnation: 43, Name: "virginia"},
			{ID: 3, Addr: "c.example:7000", Fingerprint: repeated(0x33), Incarnation: 44},
		},
		Format: 1, F: 1, E: 0,
		TLS:             TLS{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "replica.pem"), Key: "/secret/replica.key"},
		Limits:          Limits{InFlight: 7, InFlightPerKey: 2, Queue: 9, ClientRequests: 11, PeerQueueBytes: 3 * MiB, TransferRate: 32 * MiB, Watches: 16384},
		Watch:           Watch{JournalBytes: 64 * MiB},
		Timing:          Timing{2 * time.Millisecond, 20 * time.Millisecond, 1500 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond},
		Storage:         Storage{ReserveBytes: GiB, MemtableBytes: 8 * MiB, ScrubPeriod: 24 * time.Hour},
		PeerConnections: 4,
		Log:             Log{Level: 4, Format: "json"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

func repeated(b byte) (f Fingerprint) {
	for i := range f {
		f[i] = b
	}
	return f
}

func TestDefaults(t *testing.T) {
	c, err := load(t, good)
	if err != nil {
		t.Fatal(err)
	}
	d := Default()
	if c.Limits != d.Limits || c.Timing != d.Timing || c.Storage != d.Storage || c.Log != d.Log {
		t.Errorf("a file without settings differs from Default: %+v, %+v", c, d)
	}
	if want := (Limits{1024, 16, 16384, 4096, 8 * MiB, 32 * MiB, 16384}); d.Limits != want {
		t.Errorf("limits: %+v, want %+v", d.Limits, want)
	}
	l, timing := epaxos.DefaultLimits(), epaxos.DefaultTiming()
	if l.InFlight != d.Limits.InFlight || l.InFlightPerKey != d.Limits.InFlightPerKey || l.Queue != d.Limits.Queue ||
		timing.Resend != d.Timing.Resend || timing.Stagger != d.Timing.RecoverStagger {
		t.Errorf("the core has other defaults: %+v, %+v", l, timing)
	}
	if got := c.Membership(); !reflect.DeepEqual(got, epaxos.NewMembership(1, 1, 2, 3)) {
		t.Errorf("membership: %+v", got)
	}
	if self, ok := c.Self(); !ok || self.Addr != "b.example:7000" {
		t.Errorf("self: %+v, %v", self, ok)
	}
}

// TestMembership pins that E follows a smaller F, and that Auto asks for the largest.
func TestMembership(t *testing.T) {
	members := make([]Member, 5)
	for i := range members {
		members[i].ID = epaxos.ReplicaID(i + 1)
	}
	for _, test := range []struct{ f, e, wantF, wantE int }{
		{Auto, Auto, 2, 2}, {Auto, 1, 2, 1}, {1, Auto, 1, 1}, {2, 0, 2, 0}, {0, Auto, 0, 0},
	} {
		m := Config{Members: members, F: test.f, E: test.e}.Membership()
		if m.F != test.wantF || m.E != test.wantE {
			t.Errorf("f=%d e=%d: got %d, %d, want %d, %d", test.f, test.e, m.F, m.E, test.wantF, test.wantE)
		}
		if err := m.Validate(); err != nil {
			t.Errorf("f=%d e=%d: %v", test.f, test.e, err)
		}
	}
}

// TestPrecedence gives one key by every source in turn, and takes the strongest away each time.
func TestPrecedence(t *testing.T) {
	path := write(t, good+"limits: {queue: 100, in_flight: 50}\n")
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	AddFlags(flags)
	if err := flags.Parse([]string{"--limits-queue=300"}); err != nil {
		t.Fatal(err)
	}
	env := environment{"EPAXOS_LIMITS_QUEUE": "200", "EPAXOS_NAME": ""}
	for _, test := range []struct {
		source Source
		want   int
	}{
		{Source{File: path, Flags: flags, Env: env.lookup}, 300},
		{Source{File: path, Env: env.lookup}, 200},
		{Source{File: path}, 100},
	} {
		c, err := Load(test.source)
		if err != nil {
			t.Fatal(err)
		}
		if c.Limits.Queue != test.want || c.Limits.InFlight != 50 || c.Limits.InFlightPerKey != 16 || c.Name != "virginia" {
			t.Errorf("got %+v, name %q, want queue %d", c.Limits, c.Name, test.want)
		}
	}
}

type environment map[string]string

func (e environment) lookup(name string) (string, bool) {
	value, found := e[name]
	return value, found
}

// TestEveryKeyFromEverySource loads the same configuration from a file, from flags alone and from
// the environment alone.
func TestEveryKeyFromEverySource(t *testing.T) {
	texts := map[string]string{
		"cluster": "000102030405060708090a0b0c0d0e0f", "replica": "4", "incarnation": "0x2b",
		"name": "virginia", "dir": "data", "listen": ":7000",
		"members": "1=a:1#" + strings.Repeat("11", 32) + "#42,2=b:1#" + strings.Repeat("22", 32) + "#0x2b#virginia," +
			"3=[::1]:1#" + strings.Repeat("33", 32) + "#44",
		"join": "true", "format": "3", "format_max": "4", "f": "1", "e": "0", "tls.ca": "ca.pem", "tls.cert": "r.pem", "tls.key": "r.key",
		"limits.in_flight": "7", "limits.in_flight_per_key": "2", "limits.queue": "9",
		"limits.client_requests": "11", "limits.peer_queue_bytes": "3MiB",
		"timing.tick": "2ms", "timing.heartbeat": "20ms", "timing.suspect": "2s", "timing.resend": "200ms",
		"timing.recover_stagger": "300ms", "storage.reserve_bytes": "1GiB", "storage.memtable_bytes": "8MiB",
		"limits.watches": "100", "watch.journal_bytes": "1MiB",
		"limits.transfer_rate": "1MiB", "storage.scrub_period": "1h", "membership.evict_after": "1m", "membership.evict_lag": "100000", "membership.evict_bytes": "1GiB",
		"peer_connections": "4", "log.level": "warn", "log.format": "json",
	}
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	AddFlags(flags)
	env := environment{}
	for _, k := range Keys() {
		text, ok := texts[k.Name]
		if !ok || text == k.Default {
			t.Fatalf("this test needs a value other than the default for %s", k.Name)
		}
		env[k.Env()] = text
		if err := flags.Set(k.Flag(), text); err != nil {
			t.Fatal(err)
		}
	}
	byFlags, err := Load(Source{Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	byEnv, err := Load(Source{Env: env.lookup})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(byFlags, byEnv) {
		t.Errorf("flags gave\n%+v\nenvironment gave\n%+v", byFlags, byEnv)
	}
	if want := (Member{ID: 2, Addr: "b:1", Fingerprint: repeated(0x22), Incarnation: 43, Name: "virginia"}); byEnv.Members[1] != want {
		t.Errorf("member: %+v", byEnv.Members[1])
	}
	d := reflect.ValueOf(Default())
	for i := range d.NumField() {
		if reflect.DeepEqual(d.Field(i).Interface(), reflect.ValueOf(byEnv).Field(i).Interface()) {
			t.Errorf("field %s was set by no source", d.Type().Field(i).Name)
		}
	}
}

// TestWriteJoin writes the configuration of a replica that joins: YAML has truth values of its own.
func TestWriteJoin(t *testing.T) {
	c, err := load(t, strings.Replace(good, "replica: 2", "replica: 9\njoin: true", 1))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "written.yaml")
	if err := Write(path, c); err != nil {
		t.Fatal(err)
	}
	if got, err := Load(Source{File: path}); err != nil || !got.Join || !reflect.DeepEqual(got, c) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestWrite checks that a written file says the same, in another working directory too.
func TestWrite(t *testing.T) {
	c, err := load(t, good+"timing: {tick: 5ms}\nname: 'quote \" and \\ é'\n")
	if err == nil {
		t.Fatal("a repeated key was accepted")
	}
	c, err = load(t, strings.Replace(good, `"virginia"`, `'quote " and \ é # x'`, 1)+"timing: {tick: 5ms}\nf: 0\n")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "written.yaml")
	c.TLS.CA = filepath.Join(filepath.Dir(path), "tls", "ca.pem")
	if err := Write(path, c); err != nil {
		t.Fatal(err)
	}
	got, err := Load(Source{File: path})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, c) {
		t.Errorf("got\n%+v\nwant\n%+v", got, c)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\n  ca: \"tls/ca.pem\"\n", "\n  tick: 5ms\n", "\n  # heartbeat: 300ms\n", "\n# limits:\n", "\n#   queue: 16384\n", "\nf: 0\n", "\n# e: auto\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the file lacks %q:\n%s", want, text)
		}
	}
	if err := Write(path, c); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("the file was overwritten: %v", err)
	}
	c.Replica = 9
	if err := Write(filepath.Join(t.TempDir(), "x"), c); err == nil {
		t.Error("an invalid configuration was written")
	}
}

func TestProfile(t *testing.T) {
	dir := t.TempDir()
	want := Profile{
		Cluster: ClusterID{1}, Endpoints: []string{"a:1", "[::1]:2"},
		CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "client.pem"), Key: "/elsewhere/client.key",
	}
	path := filepath.Join(dir, "client.yaml")
	if err := WriteProfile(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := LoadProfile(path)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if err := WriteProfile(filepath.Join(dir, "other"), Profile{}); err == nil {
		t.Error("an empty profile was written")
	}
}

// TestDocumentation keeps docs/configuration.md in step with the table. UPDATE_GOLDEN=1 rewrites it.
func TestDocumentation(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "configuration.md")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(Markdown()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != Markdown() {
		t.Error("docs/configuration.md does not show the table of keys: run make golden")
	}
}

// TestTable checks that the table and the structs have the same keys, and every default is a value.
func TestTable(t *testing.T) {
	named := map[string]bool{}
	for _, k := range Keys() {
		named[k.Name] = true
		if !k.Required && k.Default != "" {
			if err := k.kind.read(k.Default); err != nil {
				t.Errorf("default of %s: %v", k.Name, err)
			}
		}
		if k.Help == "" || strings.HasSuffix(k.Help, ".") || strings.Contains(k.Help, "|") {
			t.Errorf("help of %s: %q", k.Name, k.Help)
		}
	}
	for _, field := range leaves(reflect.TypeFor[Config](), "") {
		if !named[field] {
			t.Errorf("field %s is not in the table", field)
		}
		delete(named, field)
	}
	for name := range named {
		t.Errorf("key %s has no field", name)
	}
}

func leaves(typ reflect.Type, path string) []string {
	var names []string
	for i := range typ.NumField() {
		field := typ.Field(i)
		name := join(path, field.Tag.Get("mapstructure"))
		if field.Type.Kind() == reflect.Struct {
			names = append(names, leaves(field.Type, name)...)
		} else {
			names = append(names, name)
		}
	}
	return names
}
