package clients

import (
	"context"
	"time"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// Kind is a kind of operation, for observers.
type Kind uint8

const (
	KindCommand Kind = iota + 1 // may change the state
	KindRead                    // changes nothing
	KindSession                 // looks after a session; the client's own, mostly
	KindOther                   // status, control
	KindWatch                   // a poll of a watch; open until something changes, or for a while
)

// String is a word for labels.
func (k Kind) String() string {
	switch k {
	case KindCommand:
		return "command"
	case KindRead:
		return "read"
	case KindSession:
		return "session"
	case KindWatch:
		return "watch"
	default:
		return "other"
	}
}

// Report is the end of one operation.
type Report struct {
	Kind    Kind
	Copies  int           // how often it was sent; 0 if never
	Took    time.Duration // from Start to the answer
	Request RequestID     // zero if the cluster knows it by no name
	Reply   Reply         // without its result
	Err     error         // an *Error, or nil
}

// Observer hears of operations. It is called by the goroutine that starts one, with the context of that; what it
// returns, if not nil, is called once with the end, by any goroutine, and must neither block nor call the client. So a
// tracer starts a span and ends it, and a meter counts and measures.
type Observer func(ctx context.Context, kind Kind) func(Report)

// WithObserver tells an observer of every operation. It costs two reads of the clock for each.
func WithObserver(observer Observer) Option { return func(o *options) { o.observer = observer } }

func kindOf(f *Future) Kind {
	switch f.kind {
	case wire.RequestCommand:
		return KindCommand
	case wire.RequestRead:
		return KindRead
	case wire.RequestSession:
		return KindSession
	case wire.RequestWatch:
		return KindWatch
	default:
		return KindOther
	}
}

// observe tells the observer that the operation begins.
func (f *Future) observe() {
	if f.client.observer == nil {
		return
	}
	kind, began := kindOf(f), time.Now()
	ended := f.client.observer(f.ctx, kind)
	if ended == nil {
		return
	}
	f.observed = func() {
		report := Report{
			Kind: kind, Copies: int(f.copies.Load()), Took: time.Since(began), Request: f.RequestID(), Reply: f.reply,
		}
		report.Reply.Result = nil
		if f.err != nil {
			report.Err = f.err
		}
		ended(report)
	}
}
