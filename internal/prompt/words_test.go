package prompt

import (
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		line string
		want []string
	}{
		{"", nil},
		{" \t ", nil},
		{"put a b", []string{"put", "a", "b"}},
		{"  put\ta   b  ", []string{"put", "a", "b"}},
		{`put a "two words\x00\n"`, []string{"put", "a", "two words\x00\n"}},
		{`put a 'two "words" \n'`, []string{"put", "a", `two "words" \n`}},
		{`cas a --expect="x y"z`, []string{"cas", "a", "--expect=x yz"}},
		{`a\ b \"c`, []string{"a b", `"c`}},
		{`put a ""`, []string{"put", "a", ""}},
		{`put a ''`, []string{"put", "a", ""}},
		{"get a # why", []string{"get", "a"}},
		{"get a#b", []string{"get", "a#b"}},
		{"# get a", nil},
		{`get "a\"b"`, []string{"get", `a"b`}},
		{"get 日本\u00a0語", []string{"get", "日本", "語"}}, // U+00A0 is a blank, too
	} {
		got, err := Split(c.line)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, %v, want %q", c.line, got, err, c.want)
		}
	}
	for line, says := range map[string]string{
		`put "a`: "not closed", "put 'a": "not closed", `put a\`: "not closed", `put "\q"`: "cannot read", `a"\"`: "not closed",
	} {
		if got, err := Split(line); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %q, %v, want an error with %q", line, got, err, says)
		}
	}
}

func TestCursor(t *testing.T) {
	for _, c := range []struct {
		before string
		words  []string
		last   Word
	}{
		{"", nil, Word{}},
		{"ge", nil, Word{Text: "ge"}},
		{"get ", []string{"get"}, Word{Start: 4}},
		{"get a/", []string{"get"}, Word{Start: 4, Text: "a/"}},
		{`get "a b`, []string{"get"}, Word{Start: 4, Text: "a b", Quote: '"'}},
		{`get "a\n`, []string{"get"}, Word{Start: 4, Text: "a\n", Quote: '"'}},
		{`get 'a b`, []string{"get"}, Word{Start: 4, Text: "a b", Quote: '\''}},
		{`get x"a\`, []string{"get"}, Word{Start: 4, Text: "xa", Quote: '"'}},
	} {
		words, last, ok := Cursor(c.before)
		last.open = false
		if !ok || !slices.Equal(words, c.words) || last != c.last {
			t.Errorf("%q: %q, %+v, %t, want %q, %+v", c.before, words, last, ok, c.words, c.last)
		}
	}
	for _, before := range []string{"get a # b", `get "\q" x`} {
		if _, _, ok := Cursor(before); ok {
			t.Errorf("%q can be completed", before)
		}
	}
}

// FuzzSplit: whatever is read as words is written as a line that reads alike.
func FuzzSplit(f *testing.F) {
	for _, line := range []string{"put a b", `a "\x00" 'b'c`, `\`, "#", "a # b", `"`, "\xff"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := Split(line)
		_, last, ok := Cursor(line)
		if ok && (last.Start < 0 || last.Start > len(line)) {
			t.Fatalf("the word under the cursor begins at %d of %d", last.Start, len(line))
		}
		if err != nil {
			return
		}
		var quoted []string
		for _, word := range words {
			quoted = append(quoted, Quote(word))
		}
		again, err := Split(strings.Join(quoted, " "))
		if err != nil || !slices.Equal(again, words) {
			t.Fatalf("%q reads as %q, which is written %q and reads as %q, %v", line, words, quoted, again, err)
		}
	})
}
