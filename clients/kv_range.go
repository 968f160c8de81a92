package clients

import (
	"context"
	"iter"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Span is the keys from From on, up to and without End, in the order of their bytes. An empty End is no bound,
// so the zero value is all keys.
type Span struct{ From, End string }

// Prefix is the keys that begin with a prefix.
func Prefix(prefix string) Span {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			return Span{From: prefix, End: prefix[:i] + string([]byte{prefix[i] + 1})}
		}
	}
	return Span{From: prefix} // nothing follows what has only bytes 0xff
}

// Pair is a key of a range.
type Pair struct {
	Key     string
	Value   []byte // nil with KeysOnly
	Version uint64
}

// Page is what one command read or deleted of a range.
type Page struct {
	Pairs []Pair
	Count int // of the keys that were read, counted, deleted or forgotten
	// Next is the first key of the range that was not looked at, because of a limit; it is empty if
	// there is none. The range goes on at Span{From: Next, End: span.End}.
	Next string

	Replica epaxos.ReplicaID // which replica led the command
	Fast    bool             // the command was committed on the fast path
}

// More reports whether a limit ended the page before the range.
func (p Page) More() bool { return p.Next != "" }

// RangeOption says what to read of a range; any ReadOption is one.
type RangeOption interface {
	rangeOption(op *wire.Op, request *Request)
}

type opOption func(*wire.Op)

func (o opOption) rangeOption(op *wire.Op, _ *Request) { o(op) }

// Limit bounds the keys of a page; 0 is no bound beside those that Range has.
func Limit(keys int) RangeOption {
	return opOption(func(op *wire.Op) { op.Limit = uint64(max(keys, 0)) }) //nolint:gosec // not below 0
}

// KeysOnly leaves out the values.
func KeysOnly() RangeOption { return opOption(func(op *wire.Op) { op.Options = wire.RangeKeys }) }

// CountOnly leaves out the keys too: Page.Count is all that is told.
func CountOnly() RangeOption { return opOption(func(op *wire.Op) { op.Options = wire.RangeCount }) }

func rangeOp(kind wire.OpKind, span Span, request *Request, options []RangeOption) wire.Op {
	op := wire.Op{Kind: kind, Key: []byte(span.From), End: []byte(span.End)}
	for _, option := range options {
		option.rangeOption(&op, request)
	}
	return op
}

// Range reads the keys of a span, ascending. The page is linearizable: it is the range as it was at one
// moment between call and return. It ends before the range does after the limit, 512 KiB of keys and
// values, or 16,384 keys, deleted ones included; Next then tells where to go on.
//
// It takes one round trip if nobody changes keys of the range meanwhile, as any command, but interferes with
// all changes in the whole span, also beyond the limit. So ask for narrow spans where others write.
func (c *Client) Range(ctx context.Context, span Span, options ...RangeOption) (Page, error) {
	var how Request
	op := rangeOp(wire.OpRange, span, &how, options)
	result, err := c.apply(ctx, op, like(how))
	return result.Page, err
}

// Scan reads the keys of a span page after page. Each page is linearizable, all together are not one moment:
// what is written in between may be seen in part. An error ends it, with an empty pair. Limit bounds each page
// and not the scan; CountOnly has nothing to yield.
func (c *Client) Scan(ctx context.Context, span Span, options ...RangeOption) iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		for {
			page, err := c.Range(ctx, span, options...)
			if err != nil {
				yield(Pair{}, err)
				return
			}
			for _, pair := range page.Pairs {
				if !yield(pair, nil) {
					return
				}
			}
			if !page.More() {
				return
			}
			span.From = page.Next
		}
	}
}

// DeleteRange deletes the keys of a span at one moment, and tells how many there were. One command deletes at
// most some 1,700 keys, fewer if they are long, and looks at 16,384; if the range has more, Next tells
// where to go on. It interferes with all operations in the span.
func (c *Client) DeleteRange(ctx context.Context, span Span) (Page, error) {
	result, err := c.apply(ctx, rangeOp(wire.OpDeleteRange, span, nil, nil))
	return result.Page, err
}

// Forget drops what deletes have left of the keys of a span: their versions. Without it each deleted key takes
// some tens of bytes on the disks for ever, which matters where keys are made, deleted and never used again.
// What exists stays as it is. A key that was forgotten and is put again begins with version 1, so a
// compare with a version of its earlier life may hold by accident: forget only where nobody holds on to one.
// It tells how many keys, interferes with all operations in the span, and is as limited as DeleteRange.
func (c *Client) Forget(ctx context.Context, span Span) (Page, error) {
	result, err := c.apply(ctx, rangeOp(wire.OpForgetRange, span, nil, nil))
	return result.Page, err
}

func publicPage(r *wire.Result, reply Reply) Page {
	page := Page{
		Count: int(r.Count), Next: string(r.Next), //nolint:gosec // bounded by what one command looks at
		Replica: reply.Replica, Fast: reply.Fast,
	}
	for i := range r.Pairs {
		p := &r.Pairs[i]
		page.Pairs = append(page.Pairs, Pair{Key: string(p.Key), Value: p.Value, Version: p.Version})
	}
	return page
}
