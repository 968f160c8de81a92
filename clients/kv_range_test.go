package clients_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/internal/wire"
)

func TestPrefix(t *testing.T) {
	for _, c := range []struct {
		prefix string
		want   clients.Span
	}{
		{"", clients.Span{}},
		{"a", clients.Span{From: "a", End: "b"}},
		{"a/", clients.Span{From: "a/", End: "a0"}},
		{"a\xff", clients.Span{From: "a\xff", End: "b"}},
		{"\xff\xff", clients.Span{From: "\xff\xff"}},
	} {
		if got := clients.Prefix(c.prefix); got != c.want {
			t.Errorf("%q: got %q, want %q", c.prefix, got, c.want)
		}
	}
}

// told is a page on one line.
func told(p clients.Page) string {
	text := fmt.Sprintf("%d", p.Count)
	for _, pair := range p.Pairs {
		text += fmt.Sprintf(" %s=%s@%d", pair.Key, pair.Value, pair.Version)
	}
	if p.More() {
		text += " next " + p.Next
	}
	return text
}

func TestRange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := keyValue(t)
		ctx := t.Context()
		for i := range 4 {
			if _, err := c.Put(ctx, fmt.Sprintf("q/%d", i), fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
		}
		read := func(span clients.Span, options ...clients.RangeOption) func() (clients.Page, error) {
			return func() (clients.Page, error) { return c.Range(ctx, span, options...) }
		}
		for _, step := range []struct {
			do   func() (clients.Page, error)
			want string
		}{
			{read(clients.Prefix("q/")), "4 q/0=0@1 q/1=1@1 q/2=2@1 q/3=3@1"},
			{read(clients.Prefix("q/"), clients.Limit(1)), "1 q/0=0@1 next q/1"},
			{read(clients.Span{From: "q/2"}, clients.KeysOnly()), "2 q/2=@1 q/3=@1"},
			{read(clients.Span{}, clients.CountOnly()), "4"},
			{func() (clients.Page, error) { return c.DeleteRange(ctx, clients.Span{From: "q/", End: "q/2"}) }, "2"},
			{read(clients.Span{}, clients.Limit(-1)), "2 q/2=2@1 q/3=3@1"},
			{func() (clients.Page, error) { return c.Forget(ctx, clients.Prefix("q/")) }, "2"},
			{func() (clients.Page, error) { return c.Forget(ctx, clients.Prefix("q/")) }, "0"},
		} {
			page, err := step.do()
			if err != nil {
				t.Fatal(err)
			}
			if got := told(page); got != step.want || page.Replica != 1 || !page.Fast {
				t.Errorf("got %s of replica %d, fast %t, want %s", got, page.Replica, page.Fast, step.want)
			}
		}
		_, err := c.Range(ctx, clients.Span{From: "b", End: "a"})
		wantError(t, err, clients.CodeInvalid, clients.NotApplied)
	})
}

// TestScan goes from page to page, and ends where the caller or an error does.
func TestScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := keyValue(t)
		ctx := t.Context()
		for i := range 5 {
			if _, err := c.Put(ctx, fmt.Sprint(i), nil); err != nil {
				t.Fatal(err)
			}
		}
		keys := func(enough int) (text string) {
			for pair, err := range c.Scan(ctx, clients.Span{}, clients.Limit(2), clients.KeysOnly()) {
				if err != nil {
					t.Fatal(err)
				}
				if text += pair.Key; len(text) == enough {
					break
				}
			}
			return text
		}
		if got := keys(0); got != "01234" {
			t.Errorf("got %s", got)
		}
		if got := keys(3); got != "012" {
			t.Errorf("got %s after a break", got)
		}
		failed := 0
		for pair, err := range c.Scan(ctx, clients.Span{From: "b", End: "a"}) {
			failed++
			if !errors.Is(err, clients.ErrInvalid) || pair.Key != "" {
				t.Errorf("%+v, %v", pair, err)
			}
		}
		if failed != 1 {
			t.Errorf("%d errors", failed)
		}
	})
}

// TestConditionsAndRangesInTransactions: a range is a condition and an operation.
func TestConditionsAndRangesInTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := keyValue(t)
		claim := func(name string) clients.TxnResult {
			t.Helper()
			got, err := c.Txn(t.Context()).
				If(clients.Empty(clients.Prefix("owner/")), clients.Absent("closed")).
				Then(clients.OpPutIfAbsent("owner/"+name, nil), clients.OpAdd("claims", 1)).
				Then(clients.OpAppend("log", []byte(name))).
				Else(clients.OpRange(clients.Prefix("owner/"), clients.KeysOnly()), clients.OpPutIfAbsent("log", nil)).
				Commit()
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		if got := claim("ann"); !got.Succeeded || !got.Results[0].Succeeded {
			t.Errorf("the first: %+v", got)
		}
		got := claim("bob")
		if got.Succeeded || told(got.Results[0].Page) != "1 owner/ann=@1" || got.Results[1].Succeeded ||
			string(got.Results[1].Value) != "ann" {
			t.Errorf("the second: %+v", got)
		}
		owners := clients.Prefix("owner/")
		release, err := c.Txn(t.Context()).
			If(clients.Exists("owner/ann"), clients.CompareCount(owners, clients.Less, 2)).
			Then(clients.OpDeleteRange(owners), clients.OpTake("log"), clients.OpSwap("closed", []byte("yes"))).
			Commit()
		if err != nil || !release.Succeeded || release.Results[0].Page.Count != 1 ||
			string(release.Results[1].Value) != "ann" || release.Results[2].Found {
			t.Errorf("the release: %+v, %v", release, err)
		}
		if got := claim("cyd"); got.Succeeded {
			t.Errorf("after it was closed: %+v", got)
		}
	})
}

// TestLimitsAreNamed: what exceeds one says which.
func TestLimitsAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := keyValue(t)
		ctx := t.Context()
		large := bytes.Repeat([]byte("x"), wire.ValueMax)
		if _, err := c.Put(ctx, "k", large); err != nil {
			t.Fatal(err)
		}
		_, err := c.Append(ctx, "k", []byte("x"))
		wantError(t, err, clients.CodeInvalid, clients.NotApplied)
		if !errors.Is(err, clients.ErrLimit) {
			t.Errorf("error %v", err)
		}
		txn := c.Txn(ctx)
		for range wire.OpsMax + 1 {
			txn.Then(clients.OpGet("k"))
		}
		long := strings.Repeat("x", wire.KeyMax+1)
		for _, f := range []struct {
			says string
			do   func() error
		}{
			{"4096", func() error { _, err := c.Get(ctx, long); return err }},
			{"262144", func() error { _, err := c.Put(ctx, "k", append(large, 'x')); return err }},
			{"4096", func() error { _, err := c.Range(ctx, clients.Prefix(long)); return err }},
			{"128", func() error { _, err := txn.Commit(); return err }},
		} {
			err := f.do()
			wantError(t, err, clients.CodeInvalid, clients.NotApplied)
			if !strings.Contains(err.Error(), f.says) {
				t.Errorf("no %s in %v", f.says, err)
			}
		}
	})
}

// TestRangesAreRepeated after an unknown outcome, since they only read.
func TestRangesAreRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := settled(t)
		for _, r := range w.replicas {
			r.proposer.set(newTable().Propose)
		}
		w.replicas[1].packets.plug(false)
		if page, err := c.Range(t.Context(), clients.Span{}); err != nil || page.Replica != 2 {
			t.Errorf("%+v, %v", page, err)
		}
		time.Sleep(time.Second)
	})
}
