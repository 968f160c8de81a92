package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

func newCluster(t *testing.T, addrs ...string) *Cluster {
	t.Helper()
	c, err := NewCluster(addrs, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *Cluster) table(t *testing.T) *Members {
	t.Helper()
	m, err := NewMembers(c.ID, c.Members)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func issueReplica(t *testing.T, c *Cluster, id epaxos.ReplicaID) *Credential {
	t.Helper()
	credential, err := c.Authority.IssueReplica(id, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return credential
}

func issueClient(t *testing.T, c *Cluster, name string) *Credential {
	t.Helper()
	credential, err := c.Authority.IssueClient(name, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return credential
}

// shake runs a TLS handshake over a pipe, to its end on both sides: under TLS 1.3 the caller is
// done before the server has judged its certificate, so the caller also waits for a byte.
func shake(caller, server *tls.Config) (callerErr, serverErr error) {
	near, far := net.Pipe()
	done := make(chan error, 1)
	go func() {
		conn := tls.Server(far, server)
		err := conn.Handshake()
		if err == nil {
			_, err = conn.Write([]byte{1})
		}
		far.Close()
		done <- err
	}()
	conn := tls.Client(near, caller)
	_, callerErr = conn.Read(make([]byte, 1))
	near.Close()
	return callerErr, <-done
}

func TestHandshakesBetweenThoseWhoBelong(t *testing.T) {
	c := newCluster(t, "a:1", "b:1", "c:1")
	server := c.Replicas[1].ServerConfig(nil)
	for name, caller := range map[string]*tls.Config{
		"peer":   c.Replicas[0].PeerConfig(c.Members[1]),
		"client": issueClient(t, c, "alice").ClientConfig(),
	} {
		if callerErr, serverErr := shake(caller, server); callerErr != nil || serverErr != nil {
			t.Errorf("%s: caller %v, server %v", name, callerErr, serverErr)
		}
	}
}

// Everyone who must not be let in, and what the server says about it.
func TestServerRefuses(t *testing.T) {
	c, foreign := newCluster(t, "a:1", "b:1", "c:1"), newCluster(t, "a:1", "b:1", "c:1")
	alice := issueClient(t, c, "alice")
	as := func(credential *Credential, protocol string) *tls.Config {
		config := credential.ClientConfig()
		config.NextProtos = []string{protocol}
		config.RootCAs = c.Replicas[0].roots()
		config.ServerName = ServerName(c.ID)
		config.VerifyConnection = nil
		return config
	}
	anonymous := as(alice, ClientProtocol)
	anonymous.Certificates = nil
	old := as(alice, ClientProtocol)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	for name, test := range map[string]struct {
		caller *tls.Config
		want   string
	}{
		"a client on the peers' lane":   {as(alice, PeerProtocol), "is a client"},
		"a replica that plays a client": {as(c.Replicas[0], ClientProtocol), "may not speak"},
		"a peer of another cluster":     {as(foreign.Replicas[0], PeerProtocol), "not one of this cluster's authority"},
		"a client of another cluster":   {as(issueClient(t, foreign, "eve"), ClientProtocol), "not one of this cluster's"},
		"nobody":                        {anonymous, "certificate"},
		"an unknown protocol":           {as(alice, "epaxos-client/2"), "application protocol"},
		"an old TLS":                    {old, "version"},
	} {
		t.Run(name, func(t *testing.T) {
			callerErr, serverErr := shake(test.caller, c.Replicas[1].ServerConfig(nil))
			if serverErr == nil || !strings.Contains(serverErr.Error(), test.want) {
				t.Errorf("server: %v, want %q", serverErr, test.want)
			}
			if callerErr == nil {
				t.Error("the caller noticed nothing")
			}
		})
	}
}

func TestTheServerReportsWhomItRefused(t *testing.T) {
	c, foreign := newCluster(t, "a:1", "b:1"), newCluster(t, "a:1", "b:1")
	caller := foreign.Replicas[0].PeerConfig(foreign.Members[1])
	caller.RootCAs = c.Replicas[0].roots()
	caller.ServerName = replicaDNS(c.ID, 2)
	caller.VerifyConnection = nil
	var reported error
	_, serverErr := shake(caller, c.Replicas[1].ServerConfig(func(_ net.Addr, err error) { reported = err }))
	if reported == nil || !strings.Contains(reported.Error(), foreign.ID.String()) {
		t.Errorf("reported %v (server: %v), want the name with the foreign cluster", reported, serverErr)
	}
}

// The dialer judges as well: whoever answers must be the one that was called.
func TestDialerRefuses(t *testing.T) {
	c, foreign := newCluster(t, "a:1", "b:1", "c:1"), newCluster(t, "a:1", "b:1", "c:1")
	alice := issueClient(t, c, "alice")
	forger, err := NewAuthority(c.ID, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	forged, err := forger.IssueReplica(2, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	toTwo := c.Replicas[0].PeerConfig(c.Members[1])
	for name, test := range map[string]struct {
		caller *tls.Config
		server *Credential
		want   string
	}{
		"another member":               {c.Replicas[0].PeerConfig(c.Members[2]), c.Replicas[1], "replica-3"},
		"the member with a wrong key":  {toTwo, issueReplica(t, c, 2), "binds the replica to key"},
		"a replica of another cluster": {toTwo, foreign.Replicas[1], "valid for replica-2." + foreign.ID.String()},
		"a forged authority":           {toTwo, forged, "unknown authority"},
		"a client that serves peers":   {toTwo, alice, "replica-2"},
		"a client that serves clients": {alice.ClientConfig(), issueClient(t, c, "eve"), ServerName(c.ID)},
		"another cluster, to a client": {alice.ClientConfig(), foreign.Replicas[1], foreign.ID.String()},
		"a forger, to a client":        {alice.ClientConfig(), forged, "unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			callerErr, _ := shake(test.caller, test.server.ServerConfig(nil))
			if callerErr == nil || !strings.Contains(callerErr.Error(), test.want) {
				t.Errorf("caller: %v, want %q", callerErr, test.want)
			}
		})
	}
}

// A client's certificate must not serve, even under names that it was never given.
func TestAClientCertificateCannotServe(t *testing.T) {
	c := newCluster(t, "a:1")
	alice := issueClient(t, c, "alice")
	_, err := alice.Certificate.Verify(x509.VerifyOptions{
		Roots:     alice.roots(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) || invalid.Reason != x509.IncompatibleUsage {
		t.Errorf("verified as a server: %v", err)
	}
}

// Replicas of the cluster that are no members pass TLS, and are told apart afterwards.
func TestWhoIsAMember(t *testing.T) {
	c := newCluster(t, "a:1", "b:1", "c:1")
	first := c.table(t)
	next, err := NewMembers(c.ID, c.Members[1:])
	if err != nil {
		t.Fatal(err)
	}
	fifth := next.InEpoch(5, 4)
	if next.Epoch() != 0 || fifth.Epoch() != 5 || fifth.Cluster() != c.ID {
		t.Errorf("epochs %d and %d", next.Epoch(), fifth.Epoch())
	}
	for name, test := range map[string]struct {
		members         *Members
		who             *Credential
		unknown, former bool
		want            string
	}{
		"a member":                       {first, c.Replicas[0], false, false, ""},
		"a stranger":                     {first, issueReplica(t, c, 9), true, false, "replica 9 is not a member (yet)"},
		"a former member, by its id":     {fifth, c.Replicas[0], true, true, "was removed: epoch 5 does not have it"},
		"a former member, not known so":  {next, c.Replicas[0], true, false, "replica 1 is not a member (yet)"},
		"a joiner":                       {fifth, issueReplica(t, c, 4), true, false, "(yet): epoch 5 does not have it"},
		"a second key for a member's id": {fifth, issueReplica(t, c, 2), true, false, "binds the replica to key"},
		"a client":                       {first, issueClient(t, c, "alice"), false, false, "is a client"},
		"a replica of another cluster":   {first, newCluster(t, "a:1").Replicas[0], false, false, "another cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := test.members.Verify(test.who.Certificate)
			byKey, found := test.members.ByFingerprint(test.who.Fingerprint())
			if test.want == "" {
				if err != nil || m != c.Members[0] || !found || byKey != m {
					t.Errorf("%+v, %v; by key %+v", m, err, byKey)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || found {
				t.Errorf("%v, want %q; by key %t", err, test.want, found)
			}
			if errors.Is(err, ErrUnknownMember) != test.unknown || errors.Is(err, ErrFormerMember) != test.former {
				t.Errorf("%v: unknown %t, former %t", err, errors.Is(err, ErrUnknownMember), errors.Is(err, ErrFormerMember))
			}
		})
	}
}

// A client and a replica need nothing but the authority to trust a replica that joined after both of
// them were set up.
func TestALateReplicaIsTrustedThroughTheAuthority(t *testing.T) {
	c := newCluster(t, "a:1")
	alice := issueClient(t, c, "alice")
	late := issueReplica(t, c, 7)
	if callerErr, serverErr := shake(alice.ClientConfig(), late.ServerConfig(nil)); callerErr != nil || serverErr != nil {
		t.Errorf("a client calls: caller %v, server %v", callerErr, serverErr)
	}
	caller := late.PeerConfig(c.Members[0])
	if callerErr, serverErr := shake(caller, c.Replicas[0].ServerConfig(nil)); callerErr != nil || serverErr != nil {
		t.Errorf("it calls a member: caller %v, server %v", callerErr, serverErr)
	}
}

func TestMembersRefuse(t *testing.T) {
	c := newCluster(t, "a:1", "b:1")
	one, two := c.Members[0], c.Members[1]
	with := func(m Member, change func(*Member)) Member {
		change(&m)
		return m
	}
	for name, second := range map[string]Member{
		"no id":           with(two, func(m *Member) { m.Replica = 0 }),
		"no address":      with(two, func(m *Member) { m.Addr = "" }),
		"no key":          with(two, func(m *Member) { m.Fingerprint = Fingerprint{} }),
		"one id twice":    with(two, func(m *Member) { m.Replica = 1 }),
		"one key twice":   with(two, func(m *Member) { m.Fingerprint = one.Fingerprint }),
		"one address for": with(two, func(m *Member) { m.Addr = one.Addr }),
	} {
		if _, err := NewMembers(c.ID, []Member{one, second}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := NewCluster(nil, time.Now()); err == nil {
		t.Error("made a cluster of nobody")
	}
	if _, err := NewCluster([]string{"a:1", "a:1"}, time.Now()); err == nil {
		t.Error("made a cluster with one address for two")
	}
}

func TestFilesRoundTrip(t *testing.T) {
	c := newCluster(t, "a:1")
	authorityDir, replicaDir := filepath.Join(t.TempDir(), "ca"), filepath.Join(t.TempDir(), "replica-1")
	if err := errors.Join(c.Authority.WriteFiles(authorityDir), c.Replicas[0].WriteFiles(replicaDir)); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{filepath.Join(authorityDir, AuthorityKeyFile), filepath.Join(replicaDir, KeyFile)} {
		info, err := os.Stat(key)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", key, info.Mode(), err)
		}
	}
	replica, err := LoadCredential(replicaDir)
	if err != nil {
		t.Fatal(err)
	}
	if replica.Name != c.Replicas[0].Name || replica.Fingerprint() != c.Members[0].Fingerprint {
		t.Errorf("loaded %v", replica.Name)
	}
	authority, err := LoadAuthority(authorityDir)
	if err != nil {
		t.Fatal(err)
	}
	late, err := authority.IssueClient("late", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	callerErr, serverErr := shake(late.ClientConfig(), replica.ServerConfig(nil))
	if callerErr != nil || serverErr != nil {
		t.Errorf("caller %v, server %v", callerErr, serverErr)
	}
	if err := c.Replicas[0].WriteFiles(replicaDir); !errors.Is(err, os.ErrExist) {
		t.Errorf("overwrote a key: %v", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	c, foreign := newCluster(t, "a:1"), newCluster(t, "a:1")
	ours, theirs := t.TempDir(), t.TempDir()
	if err := errors.Join(c.Replicas[0].WriteFiles(ours), foreign.Replicas[0].WriteFiles(theirs)); err != nil {
		t.Fatal(err)
	}
	good := Files{
		CA:   filepath.Join(ours, AuthorityCertificateFile),
		Cert: filepath.Join(ours, CertificateFile),
		Key:  filepath.Join(ours, KeyFile),
	}
	theirKey, theirCA := filepath.Join(theirs, KeyFile), filepath.Join(theirs, AuthorityCertificateFile)
	with := func(change func(*Files)) Files {
		f := good
		change(&f)
		return f
	}
	for name, test := range map[string]struct {
		files Files
		want  string
	}{
		"a foreign key":        {with(func(f *Files) { f.Key = theirKey }), "not that of the certificate"},
		"a foreign authority":  {with(func(f *Files) { f.CA = theirCA }), "not of the authority"},
		"a key as certificate": {with(func(f *Files) { f.Cert = f.Key }), "no PEM block of type CERTIFICATE"},
		"an authority to show": {with(func(f *Files) { f.Cert = f.CA }), "not that of the certificate"},
		"an absent file":       {with(func(f *Files) { f.Key += ".absent" }), "no such file"},
	} {
		if _, err := LoadFiles(test.files); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestNames(t *testing.T) {
	cluster, err := ParseClusterID("000102030405060708090a0b0c0d0e0f")
	if err != nil {
		t.Fatal(err)
	}
	const prefix = "epaxos://000102030405060708090a0b0c0d0e0f/"
	for text, want := range map[string]Name{
		prefix + "replica/1":          {Cluster: cluster, Replica: 1},
		prefix + "replica/4294967295": {Cluster: cluster, Replica: 1<<32 - 1},
		prefix + "client/alice.b-c_1": {Cluster: cluster, Client: "alice.b-c_1"},
	} {
		uri, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseName(uri)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"https://000102030405060708090a0b0c0d0e0f/replica/1",
		"epaxos://0001/replica/1",
		"epaxos://000102030405060708090A0B0C0D0E0F/replica/1",
		prefix + "replica/0", prefix + "replica/01", prefix + "replica/+1", prefix + "replica/4294967296",
		prefix + "replica/1/", prefix + "replica/1?x", prefix + "replica/1#x", prefix + "leader/1",
		prefix + "client/", prefix + "client/a/b", prefix + "client/a%20b",
		prefix + "client/" + strings.Repeat("a", 65),
		"epaxos://user@000102030405060708090a0b0c0d0e0f/replica/1",
	} {
		uri, err := url.Parse(text)
		if err != nil {
			continue
		}
		if got, err := parseName(uri); err == nil {
			t.Errorf("%s: read as %+v", text, got)
		}
	}
}

func TestRandomNumbersDiffer(t *testing.T) {
	a, errA := NewIncarnation()
	b, errB := NewIncarnation()
	if errA != nil || errB != nil || a == 0 || a == b {
		t.Errorf("incarnations %d, %d: %v, %v", a, b, errA, errB)
	}
	k, errK := NewResetKey()
	l, errL := NewResetKey()
	if errK != nil || errL != nil || k == l {
		t.Errorf("reset keys: %v, %v", errK, errL)
	}
	f := Fingerprint(k)
	if back, err := ParseFingerprint(f.String()); err != nil || back != f {
		t.Errorf("fingerprint %v, %v", back, err)
	}
}
