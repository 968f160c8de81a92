package wire

import (
	"math"

	"github.com/264bc8cf/epaxos/epaxos"
)

// AppendClientHello appends the hello of a client. Its name has at most NameMax bytes.
func AppendClientHello(dst []byte, h *ClientHello) []byte {
	e := appendTo(dst)
	e.message(TypeClientHello, 4)
	e.bytes(h.Cluster[:])
	e.uint(uint64(h.FormatMin))
	e.uint(uint64(h.FormatMax))
	e.text(h.Name)
	return e.done()
}

// DecodeClientHello reads what AppendClientHello wrote.
func DecodeClientHello(body []byte) (ClientHello, error) {
	return decode("ClientHello", body, (*decoder).clientHello)
}

func (d *decoder) clientHello() ClientHello {
	extra := d.message(TypeClientHello, 4)
	h := ClientHello{
		Cluster:   d.cluster(),
		FormatMin: uint32(d.uint("format min", 1, math.MaxUint32)),
		FormatMax: uint32(d.uint("format max", 1, math.MaxUint32)),
		Name:      d.text("name", NameMax),
	}
	d.formats(h.FormatMin, h.FormatMax)
	d.skip(extra)
	return h
}

// AppendServerHello appends a replica's answer to the hello of a client.
func AppendServerHello(dst []byte, h *ServerHello) []byte {
	e := appendTo(dst)
	e.message(TypeServerHello, 6)
	e.bytes(h.Cluster[:])
	e.uint(uint64(h.Format))
	e.uint(uint64(h.Replica))
	e.bool(h.Draining)
	e.memberInfos(h.Members)
	e.uint(uint64(h.Epoch))
	return e.done()
}

// DecodeServerHello reads what AppendServerHello wrote.
func DecodeServerHello(body []byte) (ServerHello, error) {
	return decode("ServerHello", body, (*decoder).serverHello)
}

func (d *decoder) serverHello() ServerHello {
	extra := d.message(TypeServerHello, 5)
	h := ServerHello{
		Cluster:  d.cluster(),
		Format:   uint32(d.uint("format", 1, math.MaxUint32)),
		Replica:  d.replica("replica"),
		Draining: d.bool("draining"),
	}
	h.Members = d.memberInfos()
	if extra > 0 { // the first programs of format 1 know no epochs
		h.Epoch = epaxos.Epoch(d.uint("epoch", 0, math.MaxUint32))
		extra--
	}
	d.skip(extra)
	return h
}
