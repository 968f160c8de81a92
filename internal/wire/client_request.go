package wire

import "math"

// ClientMessageType tells what kind of message of a client's stream body begins with.
func ClientMessageType(body []byte) (MessageType, error) {
	return decode("client message", body, func(d *decoder) MessageType {
		d.fields("array", 1)
		t := d.uint("type", uint64(TypeClientHello), uint64(TypeClientResponse))
		d.in.at = len(d.in.body) // the rest is for the decoder of that type
		return MessageType(t)
	})
}

// AppendClientRequest appends one request of a client.
func AppendClientRequest(dst []byte, r *ClientRequest) []byte {
	e := appendTo(dst)
	e.message(TypeClientRequest, 8)
	e.uint(r.ID)
	e.uint(uint64(r.Kind))
	e.uint(r.Timeout)
	e.instance(r.Session)
	e.uint(r.Number)
	e.bytes(r.Payload)
	e.uint(uint64(r.Consistency))
	e.bytes(r.Token)
	return e.done()
}

// DecodeClientRequest reads what AppendClientRequest wrote. The kind may be one that this program does
// not know: such a request is answered with CodeInvalid, and the stream goes on.
func DecodeClientRequest(body []byte) (ClientRequest, error) {
	return decode("ClientRequest", body, (*decoder).clientRequest)
}

func (d *decoder) clientRequest() ClientRequest {
	extra := d.message(TypeClientRequest, 6)
	r := ClientRequest{
		ID:      d.uint64("id"),
		Kind:    RequestKind(d.uint("kind", 1, math.MaxUint8)),
		Timeout: d.uint64("timeout"),
		Session: d.instanceOrNone("session"),
		Number:  d.uint64("number"),
		Payload: d.bytes("payload", ClientFrameMax),
	}
	if extra >= 2 { // the first programs of format 1 ask for no reads
		r.Consistency = Consistency(d.uint("consistency", 0, math.MaxUint8))
		r.Token = d.bytes("token", TokenMax)
		extra -= 2
	}
	d.skip(extra)
	return r
}
