package workload

import "fmt"

// Spec is what requests do. Shares are percentages of all requests; what Writes, Adds and Txns leave are gets.
//
// Keys: without Zipf and Shared, Conflict percent of the requests are on one key that all regions share and the others
// on keys of their region, drawn uniformly from a million of them, so that Conflict is the rate at which requests
// interfere. With Zipf or Shared those others draw from Keys keys that all regions share.
type Spec struct {
	Load     Load
	Conflict float64 // percent of requests on the hot key
	Zipf     float64 // exponent of the popularity of shared keys; 0 is uniform
	Shared   bool    // keys are shared though Zipf is 0
	Keys     int     // how many shared keys there are
	Writes   float64 // percent that are puts
	Adds     float64 // percent that add one to a counter without asking for the sum, see Source.Draw
	Txns     float64 // percent that are transactions, each of which puts two keys
	Value    int     // bytes of a value; at least 16 are written
}

// Bounds of a Spec.
const (
	keysMax  = 10_000_000
	zipfMax  = 5
	valueMax = 64 << 10
)

// Validate reports what is wrong with a Spec, or nil.
func (s *Spec) Validate() error {
	for _, share := range []float64{s.Conflict, s.Writes, s.Adds, s.Txns, s.Writes + s.Adds + s.Txns} {
		if !(share >= 0 && share <= 100) {
			return fmt.Errorf("conflicts of %v %%, puts of %v %%, adds of %v %%, transactions of %v %%: each must be 0 to 100, "+
				"and the last three together at most 100", s.Conflict, s.Writes, s.Adds, s.Txns)
		}
	}
	switch {
	case !(s.Zipf >= 0 && s.Zipf <= zipfMax):
		return fmt.Errorf("zipf %v: need an exponent from 0 to %d", s.Zipf, zipfMax)
	case s.sharing() && (s.Keys < 1 || s.Keys > keysMax):
		return fmt.Errorf("%d shared keys: need 1 to %d", s.Keys, keysMax)
	case s.Value < 0 || s.Value > valueMax:
		return fmt.Errorf("values of %d bytes: need at most %d", s.Value, valueMax)
	case (s.Load.Rate > 0) == (s.Load.Clients > 0) || s.Load.Rate < 0 || s.Load.Clients < 0:
		return fmt.Errorf("load %+v: need a rate or a number of clients", s.Load)
	}
	return nil
}

func (s *Spec) sharing() bool { return s.Zipf > 0 || s.Shared }
