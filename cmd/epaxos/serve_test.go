package main

import (
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/264bc8cf/epaxos/internal/bootstrap"
	"github.com/264bc8cf/epaxos/internal/config"
)

// made is a cluster of three whose files a test damages.
func made(t *testing.T) bootstrap.Layout {
	t.Helper()
	layout, err := bootstrap.Init(bootstrap.Options{Dir: filepath.Join(t.TempDir(), "cluster"), Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	return layout
}

// edit replaces a text in a file that must hold it.
func edit(t *testing.T, path, from, to string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(content), from) {
		t.Fatalf("%s lacks %q", path, from)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(content), from, to)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestServeRefuses: a replica that must not run says so, and what to do.
func TestServeRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, l bootstrap.Layout)
		flags  string
		says   []string
	}{
		{"certificate of another replica", nil, "--tls-cert n2/tls/cert.pem --tls-key n2/tls/key.pem",
			[]string{"/replica/2, but this is replica 1", "correct tls.cert and tls.key"}},
		{"certificate of a client", nil, "--tls-cert client/cert.pem --tls-key client/key.pem",
			[]string{"/client/client, but this is replica 1", "correct tls.cert and tls.key"}},
		{"key of another replica", nil, "--tls-key n2/tls/key.pem", []string{"the key is not that of the certificate"}},
		{"authority of another cluster", func(t *testing.T, l bootstrap.Layout) {
			copyFile(t, filepath.Join(made(t).Authority, "ca.pem"), filepath.Join(l.Dir, "n1", "tls", "ca.pem"))
		}, "", []string{"it is not of the authority"}},
		{"certificate missing", func(t *testing.T, l bootstrap.Layout) {
			remove(t, filepath.Join(l.Dir, "n1", "tls", "cert.pem"))
		}, "", []string{"n1/tls/cert.pem: no such file"}},
		{"directory of another replica", nil, "--dir n2/data",
			[]string{"belongs to another replica", "What to do: correct dir"}},
		{"directory missing", nil, "--dir nowhere", []string{"data directory is empty", "What to do: mount the disk"}},
		{"directory emptied", func(t *testing.T, l bootstrap.Layout) {
			remove(t, filepath.Join(l.Dir, "n1", "data", "identity"))
		}, "", []string{"data directory is empty", "would forget what the replica promised"}},
		{"identity damaged", func(t *testing.T, l bootstrap.Layout) {
			edit(t, filepath.Join(l.Dir, "n1", "data", "identity"), "checksum ", "checksum 1")
		}, "", []string{"damaged", "Do not start it on this directory again"}},
		{"older format", func(t *testing.T, l bootstrap.Layout) {
			edit(t, filepath.Join(l.Dir, "n1", "data", "identity"), "epaxos-storage 1", "epaxos-storage 0")
		}, "", []string{"it has format 0, this program reads 1", "start the version of epaxos that wrote"}},
		{"newer format", func(t *testing.T, l bootstrap.Layout) {
			edit(t, filepath.Join(l.Dir, "n1", "data", "identity"), "epaxos-storage 1", "epaxos-storage 9")
		}, "", []string{"it has format 9, this program reads 1", "start the version of epaxos that wrote"}},
		{"another incarnation", nil, "--incarnation 5", []string{"incarnation: is 0x5, but members say"}},
		{"address of another machine", nil, "--listen 192.0.2.1:7401",
			[]string{"192.0.2.1:7401", "not one of this machine"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			layout := made(t)
			if c.damage != nil {
				c.damage(t, layout)
			}
			t.Chdir(layout.Dir)
			args := append([]string{"serve", "--config", "n1/config.yaml"}, strings.Fields(c.flags)...)
			got := invoke(t.Context(), "", nil, args...)
			want := exitFailed
			if slices.Contains(c.says, "Do not start it on this directory again") {
				want = exitRetired
			}
			if got.code != want || got.out != "" {
				t.Errorf("%+v, want code %d", got, want)
			}
			for _, says := range c.says {
				if !strings.Contains(got.err, says) {
					t.Errorf("%q lacks %q", got.err, says)
				}
			}
		})
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// TestServeAddressInUse starts a replica where somebody listens.
func TestServeAddressInUse(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close() //nolint:errcheck // nothing is lost
	layout := made(t)
	got := invoke(t.Context(), "", nil, "serve", "--config", layout.Configs[0], "--listen", taken.LocalAddr().String())
	if got.code != exitFailed || !strings.Contains(got.err, "Is this replica running already?") {
		t.Errorf("%+v", got)
	}
}

func TestServeConfiguration(t *testing.T) {
	got := invoke(t.Context(), "", nil, "serve")
	if got.code != exitFailed || !strings.Contains(got.err, configEnv) || !strings.Contains(got.err, "tls.key: is not set") {
		t.Errorf("no configuration: %+v", got)
	}
	layout := made(t)
	env := map[string]string{configEnv: layout.Configs[0], "EPAXOS_F": "2", "EPAXOS_LIMITS_QUEUE": "many"}
	got = invoke(t.Context(), "", env, "serve", "--f", "1")
	if got.code != exitFailed || !strings.Contains(got.err, `environment EPAXOS_LIMITS_QUEUE: limits.queue: "many"`) ||
		strings.Contains(got.err, "EPAXOS_F:") {
		t.Errorf("environment: %+v", got)
	}
}

func TestLogger(t *testing.T) {
	for format, want := range map[string]string{"text": "level=WARN msg=now", "json": `"level":"WARN","msg":"now"`} {
		var out strings.Builder
		log := logger(&shell{err: &out}, config.Log{Level: slog.LevelWarn, Format: format})
		log.Info("never")
		log.Warn("now")
		if got := out.String(); !strings.Contains(got, want) || strings.Contains(got, "never") {
			t.Errorf("%s: %s", format, got)
		}
	}
}

func TestMachineMemory(t *testing.T) {
	const meminfo = "MemTotal:       16384 kB\nMemFree:  1 kB\n"
	const v2, v1 = "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"no file", nil, 0},
		{"machine", map[string]string{"/proc/meminfo": meminfo}, 16 << 20},
		{"no limit", map[string]string{"/proc/meminfo": meminfo, v2: "max\n"}, 16 << 20},
		{"limit", map[string]string{"/proc/meminfo": meminfo, v2: "1048576\n"}, 1 << 20},
		{"limit above", map[string]string{"/proc/meminfo": meminfo, v2: "104857600\n"}, 16 << 20},
		{"version 1", map[string]string{v1: "2097152\n"}, 2 << 20},
		{"malformed", map[string]string{"/proc/meminfo": "MemTotal: lots kB", v2: "-1"}, 0},
		{"overflow", map[string]string{"/proc/meminfo": "MemTotal: 9223372036854775807 kB"}, 0},
	} {
		got := machineMemory(func(name string) ([]byte, error) {
			content, found := c.files[name]
			if !found {
				return nil, fs.ErrNotExist
			}
			return []byte(content), nil
		})
		if got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	if explained(fs.ErrExist) != fs.ErrExist {
		t.Error("an error without advice stays itself")
	}
}
