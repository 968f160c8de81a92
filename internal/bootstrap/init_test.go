package bootstrap

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/264bc8cf/epaxos/internal/config"
	"github.com/264bc8cf/epaxos/internal/identity"
	"github.com/264bc8cf/epaxos/storage"
)

// TestInit reads a cluster back through the packages that use it.
func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "below", "cluster")
	made, err := Init(Options{
		Dir: dir, Replicas: 3, Names: []string{"a", "b", "c"},
		Overrides: func(c *config.Config) { c.Limits.Queue = 7 },
	})
	if err != nil {
		t.Fatal(err)
	}
	// Everything must work from wherever the directory is moved to.
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(made.Dir, moved); err != nil {
		t.Fatal(err)
	}
	incarnations := map[uint64]bool{}
	for i, path := range made.Configs {
		path = filepath.Join(moved, strings.TrimPrefix(path, made.Dir))
		c, err := config.Load(config.Source{File: path})
		if err != nil {
			t.Fatal(err)
		}
		if int(c.Replica) != i+1 || c.Limits.Queue != 7 || len(c.Members) != 3 || c.Listen != made.Addrs[i] ||
			c.Name != "abc"[i:i+1] || c.Members[2].Name != "c" || c.F != config.Auto || c.E != config.Auto {
			t.Errorf("%s: %+v", path, c)
		}
		incarnations[c.Incarnation] = true
		got, err := storage.ReadIdentity(c.Dir)
		want := storage.Identity{Cluster: c.Cluster, Replica: uint32(c.Replica), Incarnation: c.Incarnation}
		if err != nil || got != want || identity.ClusterID(c.Cluster) != made.Cluster {
			t.Errorf("%s: %v, %v, want %v", c.Dir, got, err, want)
		}
		credential, err := identity.LoadFiles(identity.Files{CA: c.TLS.CA, Cert: c.TLS.Cert, Key: c.TLS.Key})
		if err != nil {
			t.Fatal(err)
		}
		if credential.Name.Replica != c.Replica ||
			config.Fingerprint(credential.Fingerprint()) != c.Members[i].Fingerprint {
			t.Errorf("%s: certificate of %s", path, credential.Name)
		}
	}
	if len(incarnations) != 3 {
		t.Errorf("incarnations %v: each replica needs its own", incarnations)
	}
	access, err := LoadAccess(filepath.Join(moved, "client.yaml"))
	if err != nil || identity.ClusterID(access.Cluster) != made.Cluster ||
		strings.Join(access.Endpoints, " ") != "127.0.0.1:7401 127.0.0.1:7402 127.0.0.1:7403" {
		t.Errorf("%+v, %v", access, err)
	}
	if authority, err := identity.LoadAuthority(filepath.Join(moved, "authority")); err != nil ||
		authority.Cluster != made.Cluster {
		t.Errorf("authority: %v", err)
	}
	checkSecrets(t, moved)
}

// checkSecrets looks at the mode of every key.
func checkSecrets(t *testing.T, dir string) {
	t.Helper()
	keys := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "key.pem") {
			return err
		}
		keys++
		info, err := entry.Info()
		if err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil || keys != 5 {
		t.Errorf("%d keys, %v", keys, err)
	}
}

// TestInitRefused checks that a refusal says why and leaves no trace.
func TestInitRefused(t *testing.T) {
	for _, c := range []struct {
		name    string
		options Options
		why     string
	}{
		{"no directory", Options{Replicas: 3, Dir: ""}, "no directory"},
		{"no replicas", Options{Dir: "c"}, "0 replicas"},
		{"negative", Options{Dir: "c", Replicas: -1}, "0 replicas"},
		{"too many", Options{Dir: "c", Replicas: 1000}, "1000 replicas"},
		{"addresses missing", Options{Dir: "c", Replicas: 3, Addrs: []string{"a:1"}}, "1 addresses for 3"},
		{"names missing", Options{Dir: "c", Replicas: 3, Names: []string{"a"}}, "1 names for 3"},
		{"same address", Options{Dir: "c", Addrs: []string{"a:1", "a:1"}}, "one address"},
		{"no port", Options{Dir: "c", Addrs: []string{"a"}}, "host:port"},
		{"port beyond", Options{Dir: "c", Replicas: 3, BasePort: 65534}, "port"},
		{"f", Options{Dir: "c", Replicas: 3, F: new(2)}, "at most 1"},
		{"e", Options{Dir: "c", Replicas: 3, E: new(2)}, "at most 1"},
		{"wildcard", Options{Dir: "c", Replicas: 3, Host: "0.0.0.0"}, "names no host"},
		{"full", Options{Dir: "full", Replicas: 3}, "never overwritten"},
		{"file", Options{Dir: "file", Replicas: 3}, "in the way"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if err := os.WriteFile("file", []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir("full", 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile("full/mine", []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Init(c.options)
			if err == nil || !strings.Contains(err.Error(), c.why) {
				t.Errorf("error %v, want one about %q", err, c.why)
			}
			var left []string
			if err := fs.WalkDir(os.DirFS("."), ".", func(path string, _ fs.DirEntry, err error) error {
				left = append(left, path)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(left, " "); got != ". file full full/mine" {
				t.Errorf("left behind: %s", got)
			}
		})
	}
}

// TestInitEmptyDirectory takes a directory that somebody made for it, through a link as well, but
// not twice.
func TestInitEmptyDirectory(t *testing.T) {
	base := t.TempDir()
	link := filepath.Join(base, "link")
	target := filepath.Join(base, "target")
	if err := errors.Join(os.Mkdir(target, 0o700), os.Symlink(target, link)); err != nil {
		t.Fatal(err)
	}
	if _, err := Init(Options{Dir: link, Replicas: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(config.Source{File: filepath.Join(target, "n1", "config.yaml")}); err != nil {
		t.Error(err)
	}
	if _, err := Init(Options{Dir: link, Replicas: 1}); err == nil {
		t.Error("a cluster was overwritten")
	}
}

// TestLoadAccessRefused swaps what belongs together.
func TestLoadAccessRefused(t *testing.T) {
	dir := t.TempDir()
	one, err := Init(Options{Dir: filepath.Join(dir, "one"), Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	two, err := Init(Options{Dir: filepath.Join(dir, "two"), Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LoadAccess(filepath.Join(dir, "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no profile: %v", err)
	}
	swap := func(from string) {
		t.Helper()
		target := filepath.Join(one.Dir, "client")
		if err := errors.Join(os.RemoveAll(target), os.CopyFS(target, os.DirFS(from))); err != nil {
			t.Fatal(err)
		}
	}
	swap(filepath.Join(two.Dir, "client"))
	if _, err := LoadAccess(one.Profile); err == nil || !strings.Contains(err.Error(), "need a client's of cluster") {
		t.Errorf("another cluster's certificate: %v", err)
	}
	swap(filepath.Join(one.Dir, "n1", "tls"))
	if _, err := LoadAccess(one.Profile); err == nil || !strings.Contains(err.Error(), "need a client's of cluster") {
		t.Errorf("a replica's certificate: %v", err)
	}
}
