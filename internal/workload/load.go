package workload

import (
	"fmt"
	"strconv"
	"strings"
)

// Load is how much clients ask for. Exactly one of its fields is set.
type Load struct {
	Rate    float64 // requests a second in each region, at the times of a Poisson process
	Clients int     // in each region, each of which sends the next request when the last is answered
}

// amountMax bounds both: more is a slip of the pen.
const amountMax = 1e6

// ParseLoad reads open:RATE or closed:CLIENTS.
func ParseLoad(text string) (Load, error) {
	kind, amount, _ := strings.Cut(text, ":")
	v, err := strconv.ParseFloat(amount, 64)
	switch {
	case err != nil || !(v > 0) || v > amountMax:
	case kind == "open":
		return Load{Rate: v}, nil
	case kind == "closed" && v == float64(int(v)):
		return Load{Clients: int(v)}, nil
	}
	return Load{}, fmt.Errorf("load %q: want open:RATE, in requests a second of each region, or closed:CLIENTS", text)
}

// Open reports whether requests come whether or not earlier ones are answered.
func (l Load) Open() bool { return l.Clients == 0 }

// String is the form that ParseLoad reads.
func (l Load) String() string {
	if l.Open() {
		return "open:" + strconv.FormatFloat(l.Rate, 'g', -1, 64)
	}
	return fmt.Sprintf("closed:%d", l.Clients)
}
