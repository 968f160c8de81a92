package wire

import "bytes"

const (
	resultFields = 6
	resultMin    = 1 + resultFields
	rangedFields = resultFields + 3 // with pairs, count and next
	leasedFields = rangedFields + 1 // with a lease
	pairFields   = 3
	pairMin      = 1 + pairFields
)

// AppendResult appends the answer of the key-value machine to one operation. What only ranges answer, and the lease, is
// written only where there is some.
func AppendResult(dst []byte, r *Result) []byte {
	e := appendTo(dst)
	e.result(r)
	return e.done()
}

// DecodeResult reads what AppendResult wrote. Values share one copy of b.
func DecodeResult(b []byte) (Result, error) {
	return decode("Result", bytes.Clone(b), func(d *decoder) Result { return d.result(true) })
}

func (e *encoder) result(r *Result) {
	ranged := len(r.Pairs) > 0 || r.Count > 0 || r.Next != nil
	switch {
	case !r.Lease.IsZero():
		ranged = true
		e.array(leasedFields)
	case ranged:
		e.array(rangedFields)
	default:
		e.array(resultFields)
	}
	e.uint(uint64(r.Status))
	e.bool(r.Found)
	e.bytes(r.Value)
	e.uint(r.Version)
	e.bool(r.Succeeded)
	e.array(len(r.Results))
	for i := range r.Results {
		e.result(&r.Results[i])
	}
	if !ranged {
		return
	}
	e.array(len(r.Pairs))
	for i := range r.Pairs {
		e.array(pairFields)
		e.bytes(r.Pairs[i].Key)
		e.bytes(r.Pairs[i].Value)
		e.uint(r.Pairs[i].Version)
	}
	e.uint(r.Count)
	e.bytes(r.Next)
	if !r.Lease.IsZero() {
		e.instance(r.Lease)
	}
}

// result reads a result; only that of a transaction has others inside.
func (d *decoder) result(txn bool) Result {
	extra := d.fields("result", resultFields)
	r := Result{
		Status:    OpStatus(d.uint("status", uint64(OpOK), uint64(statusLast))),
		Found:     d.bool("found"),
		Value:     d.view("value", ValueMax),
		Version:   d.uint64("version"),
		Succeeded: d.bool("succeeded"),
	}
	inside := OpsMax
	if !txn {
		inside = 0
	}
	if n := d.array("results", resultMin, inside); n > 0 {
		r.Results = make([]Result, 0, n)
		for i := 0; i < n && d.ok(); i++ {
			r.Results = append(r.Results, d.result(false))
		}
	}
	if extra >= rangedFields-resultFields {
		extra -= rangedFields - resultFields
		r.Pairs, r.Count, r.Next = d.pairs(), d.uint64("count"), d.view("next", KeyMax)
		if extra > 0 {
			extra--
			r.Lease = d.instanceOrNone("lease")
		}
	}
	d.skip(extra)
	return r
}

func (d *decoder) pairs() []Pair {
	n := d.array("pairs", pairMin, ScanMax)
	if n == 0 {
		return nil
	}
	pairs := make([]Pair, 0, n)
	for i := 0; i < n && d.ok(); i++ {
		extra := d.fields("pair", pairFields)
		pairs = append(pairs, Pair{
			Key: d.view("pair key", KeyMax), Value: d.view("pair value", ValueMax), Version: d.uint64("pair version"),
		})
		d.skip(extra)
	}
	return pairs
}
