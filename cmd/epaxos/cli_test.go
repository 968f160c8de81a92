package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/server"
)

// ended is what a command left behind.
type ended struct {
	code     int
	out, err string
}

// invoke runs one command line in this process, with nothing in its environment but env.
func invoke(ctx context.Context, in string, env map[string]string, args ...string) ended {
	var out, errs bytes.Buffer
	sh := &shell{in: strings.NewReader(in), out: &out, err: &errs, patience: time.Minute}
	sh.env = func(name string) (string, bool) {
		value, found := env[name]
		return value, found
	}
	code := run(ctx, sh, args)
	return ended{code, out.String(), errs.String()}
}

// startReplicas runs a cluster in this process and returns the profile of its client.
func startReplicas(t *testing.T, n int) (profile string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "cluster")
	conns := make([]net.PacketConn, n)
	addrs := make([]string, n)
	for i := range conns {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		conns[i], addrs[i] = conn, conn.LocalAddr().String()
	}
	configs, err := server.Init(dir, addrs...)
	if err != nil {
		t.Fatal(err)
	}
	for i, path := range configs {
		config, err := server.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		config.Conn = conns[i]
		replica, err := server.Open(config, execution.KV{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := replica.Close(); err != nil && !errors.Is(err, server.ErrRemoved) {
				t.Error(err)
			}
		})
	}
	return filepath.Join(dir, "client.yaml")
}

// TestCommands is a session at a shell: each line sees what those before it left.
func TestCommands(t *testing.T) {
	env := map[string]string{profileEnv: startReplicas(t, 3)}
	for i, c := range []struct {
		in   string
		args string
		code int
		says string // in the output, with blanks squeezed
		errs string
	}{
		{"", "get colour", 1, "colour not found - 0", ""},
		{"", "get colour -o raw", 1, "", "there is no key colour"},
		{"", "put colour blue", 0, "colour ok - 1", ""},
		{"", "get colour", 0, "colour ok blue 1", ""},
		{"", "get colour -o raw", 0, "blue", ""},
		{"", "get colour -o json", 0, `"value": "blue"`, ""},
		{"two\nlines", "put text", 0, "text ok - 1", ""},
		{"", "get text", 0, `text ok "two\nlines" 1`, ""},
		{"\xff\x00", "put bytes", 0, "bytes ok", ""},
		{"", "get bytes", 0, `bytes ok "\xff\x00" 1`, ""},
		{"", "get bytes -o raw", 0, "\xff\x00", ""},
		{"", "get bytes -o json", 0, `"value_base64": "/wA="`, ""},
		{"", "put nothing", 0, "nothing ok", ""},
		{"", "get nothing", 0, `nothing ok "" 1`, ""},
		{"", "get nothing -o json", 0, `"value": ""`, ""},
		{"", "put dash -- -1", 0, "dash ok", ""},
		{"", "get dash -o raw", 0, "-1", ""},

		{"", "cas colour red --expect green", 1, "colour not as expected blue 1", ""},
		{"", "cas colour red --expect blue", 0, "colour ok - 2", ""},
		{"", "cas colour grey --version 1", 1, "colour not as expected red 2", ""},
		{"", "cas colour grey --version 2", 0, "colour ok - 3", ""},
		{"", "cas colour red --absent", 1, "colour not as expected grey 3", ""},
		{"hello", "cas fresh --absent -o json", 0, `"succeeded": true`, ""},
		{"", "get fresh -o raw", 0, "hello", ""},

		{"", "incr n", 0, "n ok 1 1", ""},
		{"", "incr n --by 0 -o raw", 0, "1", ""},
		{"", "incr n --by 0", 0, "n ok 1 3", ""},
		{"", "incr n --by -5", 0, "n ok -4 4", ""},
		{"", "incr colour", 1, "", "not a decimal number"},
		{"", "del n", 0, "n ok", ""},
		{"", "del n", 1, "n not found", ""},

		{"if colour = grey\nthen put a 1\nthen incr b 7", "txn", 0, "then: all conditions held", ""},
		{"if colour = grey\nthen put a 1\nthen incr b 7", "txn", 0, "put a ok - 2", ""},
		{"if-version a > 2\nthen del a\nelse get b # why", "txn", 1, "get b ok 14 2", ""},
		{"then incr colour", "txn", 0, "incr colour not as expected", ""},
		{"if colour = grey", "txn", 0, "then: all conditions held", ""},
		{`{"if": [{"key": "a", "value": "1"}], "then": [{"op": "get", "key": "a"}]}`, "txn -o json", 0, `"value": "1"`, ""},
		{"if a = 1\nif-count q/ > 2\nthen add n\nelse get b", "txn - --dry-run", 0,
			"2 conditions, then 1 operation, else 1; not carried out ACCESS KEY TO read a - read b - add n - read q/ q0", ""},
		{"then put a 1\nelse range \"\"", "txn --dry-run", 0, `write a - read "" (the end)`, ""},
		{"then put a 1\nthen get a", "txn --dry-run -o json", 0, `{ "footprint": [ { "access": "write", "key": "a" } ] }`, ""},
		{"then put \"\" 1", "txn --dry-run", 1, "", "empty key"},
		{"", "txn /dev/null/none", 1, "", "read the transaction"},

		{"", "put a 1 --if-absent", 1, "a not as expected 1 2", ""},
		{"", "put once 1 --if-absent", 0, "once ok - 1", ""},
		{"", "put once 2 --previous", 0, "once ok 1 2", ""},
		{"", "append once 3", 0, "once ok - 3", ""},
		{"more", "append once", 0, "once ok - 4", ""},
		{"", "del once --previous -o json", 0, `"value": "23more"`, ""},
		{"", "del once --previous", 1, "once not found - 0", ""},
		{"", "put once again", 0, "once ok - 6", ""},
		{"", "add visits --by 41", 0, "visits ok - 0", ""},
		{"", "add visits", 0, "visits ok", ""},
		{"", "get visits", 0, "visits ok 42 2", ""},
		{"", "add once", 1, "", "not a decimal number"},

		{"", "put q/1 one", 0, "q/1 ok", ""},
		{"\xff", "put q/2", 0, "q/2 ok", ""},
		{"", "put q/3 three", 0, "q/3 ok", ""},
		{"", "range --prefix q/", 0, `KEY VALUE VERSION q/1 one 1 q/2 "\xff" 1 q/3 three 1 3 keys, read by`, ""},
		{"", "range q/ q/3 --keys-only", 0, "KEY VALUE VERSION q/1 - 1 q/2 - 1 2 keys, read by", ""},
		{"", "range q/2 --limit 1", 0, "1 key, more from q/3, read by", ""},
		{"", "range --prefix q/ --limit 1 --all --keys-only", 0, "q/1 - 1 q/2 - 1 q/3 - 1 3 keys, read by", ""},
		{"", "range --prefix q/ --count-only", 0, "3 keys, read by", ""},
		{"", "range --prefix q/ -o json", 0, `"value_base64": "/w=="`, ""},
		{"", "range --prefix q/ -o raw", 0, "q/1\tone\nq/2\t\xff\nq/3\tthree\n", ""},
		{"", "range --prefix q/ -o raw --keys-only --all --limit 1", 0, "q/1\nq/2\nq/3\n", ""},
		{"", "range --prefix q/ -o raw --count-only", 0, "3\n", ""},
		{"", "range --prefix none/", 0, "0 keys, read by", ""},
		{"", "range b a", 1, "", "empty range"},
		{"if-count q/ = 3\nthen range q/ 2\nthen del-range q/1", "txn", 0,
			`range q/ ok (2 keys, more from q/3) 0 q/1 one 1 q/2 "\xff" 1 del-range q/1 ok (1 key) 0`, ""},
		{"if-absent q/1\nif-exists q/2\nthen take q/2\nthen swap q/3 x\nthen put-if-absent q/3 y\nthen add n", "txn", 0,
			`take q/2 ok "\xff" 2 swap q/3 ok three 2 put-if-absent q/3 not as expected x 2 add n ok - 0`, ""},
		{`{"then": [{"op": "range", "from": "q/", "to": "q0"}]}`, "txn -o json", 0, `"count": 1`, ""},
		{"", "del --prefix q/", 0, "1 key deleted, by", ""},
		{"", "del --prefix q/", 1, "0 keys deleted, by", ""},
		{"", "del --prefix q/ -o json", 1, `"count": 0`, ""},
		{"", "forget --prefix q/", 0, "3 keys forgotten, by", ""},
		{"", "forget q/ q0", 0, "0 keys forgotten, by", ""},
		{"", "put q/1 anew", 0, "q/1 ok - 1", ""},

		{"", "watch once --state --count 2", 0, "state once 6 again current", "to go on: --token "},
		{"", "watch --prefix onc --state --count 2 -o raw", 0, "state\tonce\t6\tagain\ncurrent\n", ""},
		{"", "watch o p --state --count 1 -o json", 0, `{"type":"state","key":"once","value":"again","version":6,"token":"`, ""},
		{"", "watch b a", 1, "", "no key is between"},

		{"", "status", 0, "3 of 3 replicas answer; quorums: 2 slow, 2 fast", ""},
		{"", "status -o json", 0, `"reachable": true`, ""},
		{"", "put " + strings.Repeat("k", 5000) + " v", 1, "", "invalid request"},
		{strings.Repeat("v", 300_000), "put big", 1, "", "longer than"},
	} {
		got := invoke(t.Context(), c.in, env, strings.Fields(c.args)...)
		if got.code != c.code || !strings.Contains(squeeze(got.out), squeeze(c.says)) ||
			!strings.Contains(got.err, c.errs) || c.errs == "" && got.err != "" {
			t.Errorf("step %d, %.60s: %+v, want code %d, output %q, error %q", i, c.args, got, c.code, c.says, c.errs)
		}
	}
}

func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

// TestUsage: what is wrong with the words of a command ends with code 2, whatever the cluster does.
func TestUsage(t *testing.T) {
	profile := map[string]string{profileEnv: "does-not-matter.yaml"}
	for _, c := range []struct {
		in, args, says string
	}{
		{"", "paint", `unknown command "paint"`},
		{"", "get", "accepts 1 arg"},
		{"", "get a b", "accepts 1 arg"},
		{"", "put", "accepts between 1 and 2 arg"},
		{"", "get a -o xml", `--output "xml": need table, json or raw`},
		{"", "txn -o raw --dry-run", "the transaction is empty"},
		{"", "status -o raw", `--output "raw": need table or json`},
		{"", "watch a b --prefix c", "not both"},
		{"", "watch a --state --token t", "[state token]"},
		{"", "watch a --token t", "--token: watch token"},
		{"", "watch a --count -1", "--count -1: need 0 or more"},
		{"", "get a --timeout 0s", "need at least 1ms"},
		{"", "get a --timeout soon", "invalid argument"},
		{"", "get a --colour", "unknown flag: --colour"},
		{"", "cas a b", "at least one of the flags"},
		{"", "cas a b --expect x --absent", "none of the others can be"},
		{"", "cas a b --version -1", "invalid argument"},
		{"", "incr a --by x", "invalid argument"},
		{"", "incr a -5", "unknown shorthand flag"},
		{"", "range a b c", "accepts at most 2 arg"},
		{"", "range a --prefix b", "need --prefix, or FROM and TO, not both"},
		{"", "range --limit -1", "need 0 or more"},
		{"", "range --keys-only --count-only", "none of the others can be"},
		{"", "del", "need a key, or --prefix"},
		{"", "del a --prefix b", "need a key, or --prefix"},
		{"", "put a b --if-absent --previous", "none of the others can be"},
		{"", "append", "accepts between 1 and 2 arg"},
		{"", "txn", "the transaction is empty"},
		{"maybe put a b", "txn", "<stdin>:1:1: begins with"},
		{"{", "txn", "not as JSON should be"},
		{"", "txn a b", "accepts at most 1 arg"},
		{"", "init", `required flag(s) "dir" not set`},
		{"", "init --dir d extra", "unknown command"},
		{"", "init --dir d --f many", `--f "many": need a number or auto`},
		{"", "init --dir d --e -1", `--e "-1": need a number or auto`},
		{"", "init --dir d --addr a:1 --host b", "none of the others can be"},
		{"", "serve --limits-queue many", `"many" is not a whole number`},
		{"", "serve here", "unknown command"},
		{"", "status all", "unknown command"},
	} {
		got := invoke(t.Context(), c.in, profile, strings.Fields(c.args)...)
		if got.code != exitUsage || !strings.Contains(got.err, c.says) || got.out != "" {
			t.Errorf("%s: %+v, want code 2 and %q", c.args, got, c.says)
		}
	}
	if got := invoke(t.Context(), "", nil, "get", "a"); got.code != exitUsage || !strings.Contains(got.err, profileEnv) {
		t.Errorf("no profile: %+v", got)
	}
	if got := invoke(t.Context(), "", profile, "get", "a"); got.code != exitFailed ||
		!strings.Contains(got.err, "does-not-matter.yaml") {
		t.Errorf("no such profile: %+v", got)
	}
	if got := invoke(t.Context(), "", nil, "version"); got.code != exitOK || !strings.Contains(got.out, "formats") {
		t.Errorf("version: %+v", got)
	}
	if got := invoke(t.Context(), "", nil); got.code != exitOK || !strings.Contains(got.out, "Exit codes:") {
		t.Errorf("no command: %+v", got)
	}
}

// TestUnreachable asks a port where nobody answers.
func TestUnreachable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close() //nolint:errcheck // nothing is lost
	if _, err := server.Init(dir, silent.LocalAddr().String()); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{profileEnv: filepath.Join(dir, "client.yaml")}
	for _, command := range []string{"put a b", "get a", "status"} {
		args := append(strings.Fields(command), "--timeout", "50ms")
		if got := invoke(t.Context(), "", env, args...); got.code != exitUnavailable ||
			!strings.Contains(got.err, silent.LocalAddr().String()) {
			t.Errorf("%s: %+v", command, got)
		}
	}
}

// TestCodeOf is the table of the help.
func TestCodeOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
	}{
		{io.ErrUnexpectedEOF, exitFailed},
		{&clients.Error{Code: clients.CodeInvalid, Outcome: clients.NotApplied}, exitFailed},
		{&clients.Error{Code: clients.CodeCanceled, Outcome: clients.NotApplied}, exitFailed},
		{&clients.Error{Code: clients.CodeProtocol, Outcome: clients.Applied}, exitFailed},
		{&clients.Error{Code: clients.CodeTimeout, Outcome: clients.Applied}, exitFailed},
		{&clients.Error{Code: clients.CodeTimeout, Outcome: clients.Unknown}, exitUnknown},
		{&clients.Error{Code: clients.CodeCanceled, Outcome: clients.Unknown}, exitUnknown},
		{fmt.Errorf("at last: %w", &clients.Error{Code: clients.CodeInternal, Outcome: clients.Unknown}), exitUnknown},
		{&clients.Error{Code: clients.CodeTimeout, Outcome: clients.NotApplied}, exitUnavailable},
		{&clients.Error{Code: clients.CodeOverloaded, Outcome: clients.NotApplied}, exitUnavailable},
		{&clients.Error{Code: clients.CodeUnavailable, Outcome: clients.NotApplied}, exitUnavailable},
		{&clients.Error{Code: clients.CodeInternal, Outcome: clients.NotApplied}, exitUnavailable},
	} {
		if got := codeOf(c.err); got != c.code {
			t.Errorf("%v: code %d, want %d", c.err, got, c.code)
		}
	}
}

// TestOmitted shows the result of a transaction whose values fit in no answer.
func TestOmitted(t *testing.T) {
	var out bytes.Buffer
	c := connection{sh: &shell{out: &out}, output: formTable}
	steps := []step{{Op: "get", Key: "a"}, {Op: "get", Key: "b"}, {Op: "get", Key: "c"}}
	result := clients.TxnResult{Succeeded: true, Replica: 2, Results: []clients.Result{
		{Succeeded: true, Found: true, Value: []byte("here"), Version: 3},
		{Succeeded: true, Found: true, Omitted: true, Version: 4},
		{Succeeded: true},
	}}
	if err := c.showTxn(steps, result); err != nil {
		t.Fatal(err)
	}
	if got := squeeze(out.String()); !strings.Contains(got, "get a ok here 3 get b ok (left out) 4 get c not found - 0") {
		t.Errorf("%s", out.String())
	}
	out.Reset()
	c.output = formJSON
	if err := c.showTxn(steps, result); err != nil {
		t.Fatal(err)
	}
	var body struct{ Results []map[string]any }
	if err := json.Unmarshal(out.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	if b := body.Results[1]; b["omitted"] != true || b["value"] != nil || body.Results[0]["omitted"] != nil {
		t.Errorf("%s", out.String())
	}
}

func TestPrintable(t *testing.T) {
	for _, c := range []struct{ value, shown string }{
		{"plain", "plain"}, {"two words", "two words"}, {"日本", "日本"}, {`in"side`, `in"side`},
		{"", `""`}, {"-", `"-"`}, {`"quoted"`, `"\"quoted\""`}, {" edge", `" edge"`}, {"a\tb", `"a\tb"`},
		{"\x1b[31mred", `"\x1b[31mred"`}, {"\xff", `"\xff"`}, {"right\u202eleft", `"right\u202eleft"`},
	} {
		if got := printable([]byte(c.value)); got != c.shown {
			t.Errorf("%q is shown as %s, want %s", c.value, got, c.shown)
		}
	}
}

// TestStatusTable draws what a live cluster rarely shows.
func TestStatusTable(t *testing.T) {
	peer := server.PeerStatus{Replica: 2, Addr: "b:1", Up: true, RTTMicros: 70_500}
	status := server.Status{
		Replica: 1, Name: "paris", Cluster: "c0ffee", UptimeMS: 3_600_500, FastQuorum: 2, SlowQuorum: 2,
		Executed: []uint64{10, 4, 0}, Tops: []uint64{12, 4, 1}, Pending: 2, InFlight: 1, Queued: 4,
		Led: 12, Fast: 3, Slow: 1, DiskBytes: 5 << 20, DiskFree: 100 << 30, NoRoom: "disk is full", Admitted: true,
		Peers: []server.PeerStatus{peer, {Replica: 3, Suspected: true, Up: true}},
	}
	fresh := server.Status{Replica: 3, Cluster: "c0ffee", Peers: []server.PeerStatus{{Replica: 1}, {Replica: 2, Up: true}}}
	all := []replicaStatus{
		{Replica: 1, Name: "paris", Addr: "a:1", Reachable: true, Status: &status},
		{Replica: 2, Addr: "b:1", Error: "deadline"},
		{Replica: 3, Addr: "c:1", Reachable: true, Status: &fresh},
	}
	var out bytes.Buffer
	if err := showStatus(&shell{out: &out}, all); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"cluster c0ffee: 2 of 3 replicas answer",
		"1 paris a:1 disk full 1h0m0s [10 4 0] 3 12 75.0% 7 5.0MiB 100GiB",
		"2 - b:1 unreachable - - - - - - - -",
		"3 - c:1 waits for a quorum 0s [] 0 0 - 0 0B 0B",
		"from 1 - 70.5ms suspected",
		"from 3 down ? -",
		"replica 1 takes no work: disk is full",
	} {
		if !strings.Contains(squeeze(out.String()), line) {
			t.Errorf("the table lacks %q:\n%s", line, out.String())
		}
	}
	err := showStatus(&shell{out: io.Discard}, []replicaStatus{{Replica: 1}})
	if failed, ok := errors.AsType[*failure](err); !ok || failed.code != exitUnavailable {
		t.Errorf("nobody answers: %v", err)
	}
	if _, err := json.Marshal(all); err != nil {
		t.Error(err)
	}
}

func TestMembersOf(t *testing.T) {
	members := server.MembersStatus{
		Voters: []server.MemberStatus{{Replica: 1, Addr: "a"}, {Replica: 4, Addr: "d"}}, Learners: []server.MemberStatus{{Replica: 3}},
	}
	for self, want := range map[uint32]string{2: "[1 2 3 4]", 3: "[1 3 4]", 5: "[1 3 4 5]"} {
		var ids []uint32
		for _, one := range membersOf(&server.Status{Replica: epaxos.ReplicaID(self), Members: members}) {
			ids = append(ids, uint32(one.Replica))
		}
		if fmt.Sprint(ids) != want {
			t.Errorf("members seen by %d: %v", self, ids)
		}
	}
}

// TestCancelled ends a command that waits, as an interrupt does.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := filepath.Join(t.TempDir(), "c")
	if _, err := server.Init(dir, "127.0.0.1:9"); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(10*time.Millisecond, cancel)
	got := invoke(ctx, "", map[string]string{profileEnv: filepath.Join(dir, "client.yaml")}, "put", "a", "b")
	if got.code != exitUnavailable {
		t.Errorf("%+v", got)
	}
}
