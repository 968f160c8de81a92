package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/264bc8cf/epaxos/internal/hostile"
)

// TestParseScript reads each transaction in both forms; they must mean the same.
func TestParseScript(t *testing.T) {
	for _, c := range []struct{ name, lines, json string }{
		{"value", "if a = 1", `{"if": [{"key": "a", "value": "1"}]}`},
		{"relation", "if a != 1\nif a < 2\nif a > 0",
			`{"if": [{"key":"a","relation":"!=","value":"1"},{"key":"a","relation":"<","value":"2"},
			{"key":"a","relation":">","value":"0"}]}`},
		{"version", "if-version a > 3", `{"if": [{"key": "a", "relation": ">", "version": 3}]}`},
		{"branches", "then put a 1\nelse del a\nthen get b\nthen incr c\nelse incr c -2",
			`{"then": [{"op":"put","key":"a","value":"1"}, {"op":"get","key":"b"}, {"op":"incr","key":"c"}],
			"else": [{"op":"del","key":"a"}, {"op":"incr","key":"c","delta":-2}]}`},
		{"existence", "if-exists a\nif-absent b", `{"if": [{"key":"a","exists":true}, {"key":"b","exists":false}]}`},
		{"leases", "if-lease a = e2:1.7\nif-lease b != -\nthen put a 1 under 1.2\nelse swap a under\n",
			`{"if": [{"key":"a","lease":"e2:1.7"}, {"key":"b","relation":"!=","lease":"-"}],
			"then": [{"op":"put","key":"a","value":"1","lease":"1.2"}], "else": [{"op":"swap","key":"a","value":"under"}]}`},
		{"count", "if-count q/ < 9", `{"if": [{"prefix":"q/","relation":"<","count":9}]}`},
		{"more operations",
			"then put-if-absent a 1\nthen append a 2\nthen swap a 3\nthen take a\nthen add n\nthen add n -2",
			`{"then": [{"op":"put-if-absent","key":"a","value":"1"}, {"op":"append","key":"a","value":"2"},
			{"op":"swap","key":"a","value":"3"}, {"op":"take","key":"a"}, {"op":"add","key":"n"},
			{"op":"add","key":"n","delta":-2}]}`},
		{"ranges", "then range q/\nthen range \"\" 5\nelse del-range q/",
			`{"then": [{"op":"range","prefix":"q/"}, {"op":"range","prefix":"","limit":5}],
			"else": [{"op":"del-range","prefix":"q/"}]}`},
		{"blanks", "\n\t then  put \t a 1 # comment\r\n# comment\n", `{"then": [{"op":"put","key":"a","value":"1"}]}`},
		{"quotes", `then put "a b" "x\ty # \""`, `{"then": [{"op":"put","key":"a b","value":"x\ty # \""}]}`},
		{"empty value", `then put a ""`, `{"then": [{"op":"put","key":"a","value":""}]}`},
		{"bytes", `then put a "\xff\x00"`, `{"then": [{"op":"put","key":"a","value_base64":"/wA="}]}`},
		{"hash inside a word", "then put a b#c", `{"then": [{"op":"put","key":"a","value":"b#c"}]}`},
	} {
		lines, err := parseScript("x", []byte(c.lines))
		if err != nil {
			t.Errorf("%s: lines: %v", c.name, err)
			continue
		}
		body, err := parseScript("x", []byte(" \n"+c.json))
		if err != nil {
			t.Errorf("%s: JSON: %v", c.name, err)
			continue
		}
		a, _ := json.Marshal(lines)
		b, _ := json.Marshal(body)
		if string(a) != string(b) {
			t.Errorf("%s: lines mean %s, JSON means %s", c.name, a, b)
		}
	}
}

func TestParseScriptRefused(t *testing.T) {
	for _, c := range []struct{ text, says string }{
		{"", "is empty"},
		{"# nothing", "is empty"},
		{"{}", "is empty"},
		{"put a b", `x:1:1: begins with "put"`},
		{"then put a 1\nor", "x:2:1: begins with"},
		{"then", "names no operation"},
		{"then paint a", `x:1:6: "paint": need one of add, append, del, del-range, get`},
		{"then put a", "x:1:11: put has 1 words after it"},
		{"then put a two words", "x:1:16: put has 3 words after it: see epaxos txn --help; quote what has blanks"},
		{"then get a b", "get has 2 words after it"},
		{"# first\n  then incr a b", `x:2:15: "b" is not a whole number`},
		{"then incr a 9223372036854775808", "is not a whole number"},
		{"if a", "if has 1 words after it"},
		{"if 日本 ~ b", `x:1:7: relation "~"`},
		{"if-version a = x", `version "x"`},
		{"if-version a = -1", `version "-1"`},
		{`then put "a b`, "x:1:10: the quotes of \"a b do not close"},
		{`then put "a"b c`, "without a blank"},
		{`then put "\q" c`, "do not close, or hold"},
		{"{\"then\": [{\"op\": \"get\",\n\"key\": \"a\"}]} x", "x:2:14: the transaction goes on after"},
		{"{\n \"unless\": []}", "x:2:14: not as JSON should be: json: unknown field"},
		{`{"then": [{"op": "get", "key": "a", "value": "b"}]}`, "get takes no value"},
		{`{"then": [{"op": "put", "key": "a"}]}`, "need one of value and value_base64"},
		{`{"then": [{"op": "put", "key": "a", "value": "b", "value_base64": "Yg=="}]}`, "need one of"},
		{`{"else": [{"op": "del", "key": "a", "delta": 1}]}`, "del takes no delta"},
		{`{"else": [{"op": "swap", "key": "a"}]}`, "operation 1 of else"},
		{`{"if": [{"key": "a"}]}`, "need one of value, value_base64, version, exists, count and lease"},
		{`{"if": [{"key": "a", "value": "b", "version": 1}]}`, "need one of"},
		{`{"if": [{"key": "a", "relation": "==", "value": "b"}]}`, `relation "=="`},
		{"if-lease a = b", `lease "b"`},
		{"if-lease a < 1.1", "need = or !="},
		{"then put a b under c", `lease "c"`},
		{"then put a b over 1.1", "put has 4 words after it"},
		{"then append a b under 1.1", "append has 4 words after it"},
		{`{"then": [{"op": "get", "key": "a", "lease": "1.1"}]}`, "get takes no lease"},
		{"if-exists a b", "if-exists has 2 words after it: needs a key;"},
		{"if-count q/ = x", `count "x" is not a whole number`},
		{"then range a x", `"x" is not a whole number`},
		{"then range a -1", "range takes no limit -1"},
		{"then take a b", "take has 2 words after it"},
		{"then add a 1 2", "add has 3 words after it"},
		{`{"if": [{"key": "a", "exists": true, "relation": ">"}]}`, "exists takes no relation"},
		{`{"if": [{"prefix": "a", "value": "b"}]}`, "takes no range"},
		{`{"if": [{"prefix": "a", "from": "b", "count": 1}]}`, "not both"},
		{`{"then": [{"op": "range", "key": "a"}]}`, "range takes no key"},
		{`{"then": [{"op": "range", "prefix": "a", "to": "b"}]}`, "not both"},
		{`{"then": [{"op": "get", "prefix": "a"}]}`, "get: takes no range"},
		{`{"then": [{"op": "del-range", "prefix": "a", "limit": 1}]}`, "del-range takes no limit"},
		{`{"then": [{"op": "put", "key": "a", "value_base64": "?"}]}`, "not as JSON should be"},
	} {
		s, err := parseScript("x", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %+v, %v, want an error about %q", c.text, s, err, c.says)
		}
		if _, ok := errors.AsType[*usageError](err); err != nil && !ok {
			t.Errorf("%q: %v is not about usage", c.text, err)
		}
	}
}

// FuzzParseScript: no text makes the parser panic or take more memory than is fair, and what it accepts is
// complete.
func FuzzParseScript(f *testing.F) {
	for _, seed := range []string{
		"if a = 1\nthen put \"b\\x00\" 2\nelse incr c -3", `{"if":[{"key":"a","version":0}],"then":[{"op":"get","key":"a"}]}`,
		"# nothing\n\n", "if-version a > 18446744073709551615\nthen del a", "then put \"a\"b c", "then", "if a ~ b\nelse get x",
		`{"else":[{"op":"incr","key":"a","delta":-9223372036854775808},{"op":"put","key":"b","value_base64":"/w=="}]} `,
		"\u2028then\u00a0get\u3000a", `{"if":null,"then":[null]}`,
		"if-count \"\" > 3\nif-absent b\nthen range a 4\nthen del-range a\nelse swap a b\nelse add n",
		`{"if":[{"count":1,"from":"a"},{"key":"k","exists":false}],"then":[{"op":"range","from":"a","to":"b","limit":1}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		hostile.Cheap(t, hostile.Factor, len(content), func() { _, _ = parseScript("x", content) })
		s, err := parseScript("x", content)
		if err != nil {
			if _, ok := errors.AsType[*usageError](err); !ok {
				t.Errorf("%v is not about usage", err)
			}
			return
		}
		for i := range s.If {
			if c := &s.If[i]; relations[c.Relation] == 0 ||
				c.given()+count(c.Version != nil, c.Exists != nil, c.Count != nil, c.Lease != "") != 1 {
				t.Errorf("violation of integrity: accepted %+v", c)
			}
			s.If[i].compare()
		}
		for _, one := range append(s.Then, s.Else...) {
			one.operation()
		}
	})
}

// FuzzStatus: whatever a replica tells of itself, it is shown or refused.
func FuzzStatus(f *testing.F) {
	for _, seed := range []string{
		`{"replica":1,"peers":[{"replica":2,"up":true,"rtt_us":100},{"replica":3}],"executed":[1,2],"tops":[2]}`, `{}`,
		`{"replica":3,"members":{"voters":[{"replica":1,"name":"\u001b[0m"},{"replica":1}],"learners":[{}]},"lags":[{}],"epoch_held":true,"epoch_held_bytes":999999999}`, `null`,
		`{"replica":9,"disk_bytes":18446744073709551615,"uptime_ms":-1,"no_room":"full","name":"\u001b[2J"}`, `{"peers":[{},{}]}`,
		`{"cluster":"\u001b]0;title\u0007","no_room":"\r\n","peers":[{"replica":2,"addr":"\u001b[31m","name":"\u009b"}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		status, err := readStatus(1, body)
		if err != nil {
			return
		}
		all := membersOf(status)
		for i := range all {
			all[i].Reachable, all[i].Status = i%2 == 0, status
		}
		var out bytes.Buffer
		if err := showStatus(&shell{out: &out}, all); err != nil {
			t.Errorf("%s: %v", body, err)
		}
		if err := showMembers(&connection{sh: &shell{out: &out}}, all); err != nil && newestOf(all) != nil {
			t.Errorf("%s: %v", body, err)
		}
		if bytes.ContainsFunc(out.Bytes(), func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) {
			t.Errorf("violation of integrity: a terminal is told to do something by %q", out.Bytes())
		}
	})
}
