package wire

import "math"

// AppendClientResponse appends the answer to one request. Its detail has at most DetailMax bytes.
func AppendClientResponse(dst []byte, r *ClientResponse) []byte {
	e := appendTo(dst)
	e.message(TypeClientResponse, 10)
	e.uint(r.ID)
	e.uint(uint64(r.Code))
	e.uint(uint64(r.Outcome))
	e.bool(r.Retry)
	e.uint(uint64(r.Replica))
	e.bool(r.Fast)
	e.bytes(r.Result)
	e.text(r.Detail)
	e.bytes(r.Token)
	e.uint(r.Age)
	return e.done()
}

// DecodeClientResponse reads what AppendClientResponse wrote. The code may be one that this program does not
// know; the outcome holds all the same.
func DecodeClientResponse(body []byte) (ClientResponse, error) {
	return decode("ClientResponse", body, (*decoder).clientResponse)
}

func (d *decoder) clientResponse() ClientResponse {
	extra := d.message(TypeClientResponse, 8)
	r := ClientResponse{
		ID:      d.uint64("id"),
		Code:    Code(d.uint("code", uint64(CodeOK), math.MaxUint8)),
		Outcome: Outcome(d.uint("outcome", uint64(OutcomeApplied), uint64(OutcomeUnknown))),
		Retry:   d.bool("retry"),
		Replica: d.replica("replica"),
		Fast:    d.bool("fast"),
		Result:  d.bytes("result", ClientFrameMax),
		Detail:  d.text("detail", DetailMax),
	}
	if extra >= 2 { // the first programs of format 1 know no tokens
		r.Token = d.bytes("token", TokenMax)
		r.Age = d.uint64("age")
		extra -= 2
	}
	d.skip(extra)
	return r
}
