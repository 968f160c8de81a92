package transport

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReplicasExchangeHellosAndBodies(t *testing.T) {
	bed := newBed(t, 3)
	one, two, three := bed.start(1, nil), bed.start(2, nil), bed.start(3, nil)
	if got := next(t, two.ups, "peer"); got != "1:hello of 1" && got != "3:hello of 3" {
		t.Fatalf("up: %q", got)
	}
	for range 2 {
		next(t, one.ups, "peer")
	}
	if !one.Send(2, 0, []byte("to two")) || !one.Send(3, 7, []byte("to three")) {
		t.Fatal("Send refused a body that fits")
	}
	if got := next(t, two.received, "body"); got != (message{1, "to two"}) {
		t.Fatalf("replica 2 received %+v", got)
	}
	if got := next(t, three.received, "body"); got != (message{1, "to three"}) {
		t.Fatalf("replica 3 received %+v", got)
	}
}
