package identity

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/internal/hostile"
)

// FuzzName: a name has one spelling, and what is read is written as it was.
func FuzzName(f *testing.F) {
	id := ClusterID{1, 2, 3}
	for _, s := range []string{
		Name{Cluster: id, Replica: 1}.String(), Name{Cluster: id, Client: "alice"}.String(),
		"epaxos://" + id.String() + "/replica/01", "epaxos://" + id.String() + "/client/%61", "http://x", "epaxos:opaque",
		"epaxos://" + id.String() + "/replica/4294967296", "epaxos://user@" + id.String() + "/client/a?b#c", "::",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		uri, err := url.Parse(s)
		if err != nil {
			return
		}
		hostile.Cheap(t, hostile.Factor, len(s), func() { _, _ = parseName(uri) })
		name, err := parseName(uri)
		if err != nil {
			return
		}
		if name.String() != uri.String() {
			t.Errorf("violation of integrity: %q was read as %q", uri, name)
		}
		if (name.Replica != 0) == (name.Client != "") {
			t.Errorf("violation of integrity: %q is both or neither of replica and client", s)
		}
	})
}

// FuzzIDs: cluster ids and fingerprints are hex digits of their length, in lower case when written.
func FuzzIDs(f *testing.F) {
	f.Add(ClusterID{1}.String())
	f.Add(Fingerprint{1}.String())
	f.Add("ABCDEFABCDEFABCDEFABCDEFABCDEFAB")
	f.Fuzz(func(t *testing.T, s string) {
		hostile.Cheap(t, hostile.Factor, len(s), func() { _, _ = ParseClusterID(s); _, _ = ParseFingerprint(s) })
		if id, err := ParseClusterID(s); err == nil {
			if again, err := ParseClusterID(id.String()); err != nil || again != id {
				t.Errorf("violation of integrity: %q is %v, and that is %v, %v", s, id, again, err)
			}
		}
		if f, err := ParseFingerprint(s); err == nil {
			if again, err := ParseFingerprint(f.String()); err != nil || again != f {
				t.Errorf("violation of integrity: %q is %v, and that is %v, %v", s, f, again, err)
			}
		}
	})
}

// golden is the credential of a replica that was made once, so that a finding stays one.
func golden(f *testing.F) Files {
	f.Helper()
	dir := filepath.Join("testdata", "replica")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.RemoveAll(dir); err != nil {
			f.Fatal(err)
		}
		cluster, err := NewCluster([]string{"a:1", "b:1", "c:1"}, time.Unix(1_700_000_000, 0))
		if err != nil {
			f.Fatal(err)
		}
		if err := cluster.Replicas[0].WriteFiles(dir); err != nil {
			f.Fatal(err)
		}
	}
	return Files{
		CA:   filepath.Join(dir, AuthorityCertificateFile),
		Cert: filepath.Join(dir, CertificateFile), Key: filepath.Join(dir, KeyFile),
	}
}

func content(f *testing.F, path string) []byte {
	f.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	return b
}

// FuzzCertificate: whatever certificate somebody shows, whoever signed it, it speaks for no member but by
// the member's key.
func FuzzCertificate(f *testing.F) {
	block, _ := pem.Decode(content(f, golden(f).Cert))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		f.Fatal(err)
	}
	name, err := NameOf(cert)
	if err != nil {
		f.Fatal(err)
	}
	members, err := NewMembers(name.Cluster, []Member{
		{Replica: name.Replica, Fingerprint: PublicKeyFingerprint(cert), Incarnation: 1, Addr: "a:1"},
	})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := members.Verify(cert); err != nil {
		f.Fatal(err)
	}
	f.Add(cert.Raw)
	f.Add(bytes.Replace(cert.Raw, []byte("/replica/1"), []byte("/replica/2"), 1))
	f.Add(bytes.Replace(cert.Raw, []byte("/replica/1"), []byte("/client/ab"), 1))
	f.Fuzz(func(t *testing.T, der []byte) {
		shown, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		hostile.Cheap(t, hostile.Factor, len(der), func() { _, _ = NameOf(shown); _, _ = members.Verify(shown) })
		member, err := members.Verify(shown)
		if err == nil && (member.Replica != name.Replica || !bytes.Equal(shown.RawSubjectPublicKeyInfo, cert.RawSubjectPublicKeyInfo)) {
			t.Errorf("violation of integrity: a foreign key speaks for replica %d", member.Replica)
		}
	})
}

// FuzzLoadFiles: a credential loads from whole files that fit each other, or an error names a file.
func FuzzLoadFiles(f *testing.F) {
	files := golden(f)
	ca, cert, key := content(f, files.CA), content(f, files.Cert), content(f, files.Key)
	f.Add(ca, cert, key)
	f.Add(cert, cert, key)
	f.Add(ca, ca, key)
	f.Add(key, cert, ca)
	f.Add([]byte{}, cert[:len(cert)/2], []byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, ca, cert, key []byte) {
		dir := t.TempDir()
		files := Files{CA: filepath.Join(dir, "ca"), Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key")}
		for path, b := range map[string][]byte{files.CA: ca, files.Cert: cert, files.Key: key} {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		hostile.Cheap(t, hostile.Factor, len(ca)+len(cert)+len(key), func() { _, _ = LoadFiles(files) })
		credential, err := LoadFiles(files)
		if err == nil {
			if err := credential.Certificate.CheckSignatureFrom(credential.authority); err != nil {
				t.Errorf("violation of integrity: a credential of another authority was loaded: %v", err)
			}
			return
		}
		if !bytes.Contains([]byte(err.Error()), []byte(dir)) {
			t.Errorf("the error names no file: %v", err)
		}
	})
}
