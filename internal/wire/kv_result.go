package wire

import "bytes"

const (
	resultFields = 6
	resultMin    = 1 + resultFields
)

// AppendResult appends the answer of the key-value machine to one operation.
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
	e.array(resultFields)
	e.uint(uint64(r.Status))
	e.bool(r.Found)
	e.bytes(r.Value)
	e.uint(r.Version)
	e.bool(r.Succeeded)
	e.array(len(r.Results))
	for i := range r.Results {
		e.result(&r.Results[i])
	}
}

// result reads a result; only that of a transaction has others inside.
func (d *decoder) result(txn bool) Result {
	extra := d.fields("result", resultFields)
	r := Result{
		Status:    OpStatus(d.uint("status", uint64(OpOK), uint64(OpTooLarge))),
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
	d.skip(extra)
	return r
}
