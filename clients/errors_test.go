package clients

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestErrorsMatchTheirSentinels(t *testing.T) {
	sentinels := []error{
		ErrOutcomeUnknown, ErrOverloaded, ErrUnavailable, ErrInvalid, ErrClosed, ErrWrongType,
		context.DeadlineExceeded, context.Canceled,
	}
	tests := []struct {
		err  *Error
		want []error
		text string
	}{
		{&Error{Code: CodeOverloaded, Outcome: NotApplied, Retryable: true, Replica: 3, Detail: "full"},
			[]error{ErrOverloaded}, "epaxos: overloaded (not applied, retryable) at replica 3: full"},
		{&Error{Code: CodeUnavailable, Outcome: Unknown},
			[]error{ErrUnavailable, ErrOutcomeUnknown}, "epaxos: unavailable (outcome unknown)"},
		{&Error{Code: CodeTimeout, Outcome: NotApplied, causes: []error{&Error{Code: CodeOverloaded, Outcome: NotApplied}}},
			[]error{context.DeadlineExceeded, ErrOverloaded}, "epaxos: deadline exceeded (not applied)"},
		{&Error{Code: CodeInvalid, Outcome: NotApplied, causes: []error{ErrWrongType}},
			[]error{ErrInvalid, ErrWrongType}, "epaxos: invalid request (not applied)"},
		{&Error{Code: CodeCanceled, Outcome: Unknown, causes: []error{context.Canceled}},
			[]error{context.Canceled, ErrOutcomeUnknown}, "epaxos: cancelled (outcome unknown)"},
		{&Error{Code: CodeClosed, Outcome: NotApplied}, []error{ErrClosed}, "epaxos: client closed (not applied)"},
		{&Error{Code: CodeProtocol, Outcome: Applied}, nil, "epaxos: protocol violation (applied)"},
		{&Error{Code: CodeInternal, Outcome: NotApplied}, nil, "epaxos: internal fault (not applied)"},
		{&Error{Code: 77}, nil, "epaxos: code 77 (outcome unknown)"},
	}
	for _, test := range tests {
		if got := test.err.Error(); got != test.text {
			t.Errorf("text %q, want %q", got, test.text)
		}
		wrapped := fmt.Errorf("do something: %w", test.err)
		for _, sentinel := range sentinels {
			want := false
			for _, w := range test.want {
				want = want || w == sentinel
			}
			if got := errors.Is(wrapped, sentinel); got != want {
				t.Errorf("%v is %v: %v, want %v", test.err, sentinel, got, want)
			}
		}
		if got := OutcomeOf(wrapped); got != test.err.Outcome {
			t.Errorf("outcome of %v: %v", wrapped, got)
		}
		if got := IsRetryable(wrapped); got != test.err.Retryable {
			t.Errorf("%v is retryable: %v", wrapped, got)
		}
	}
	if OutcomeOf(nil) != Applied || OutcomeOf(errors.New("foreign")) != Unknown || IsRetryable(nil) {
		t.Error("errors that are none of ours")
	}
}
