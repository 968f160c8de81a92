package wire

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var clientHelloCodec = codec[ClientHello]{
	name: "client_hello",
	samples: []sample[ClientHello]{
		{"any cluster", ClientHello{FormatMin: 1, FormatMax: 1}},
		{"named", ClientHello{Cluster: clusterID, FormatMin: 1, FormatMax: 3, Name: strings.Repeat("n", NameMax)}},
	},
	generate: func(t *rapid.T) ClientHello {
		least := uint32(drawNumber(t, 1, math.MaxUint32))
		return ClientHello{
			Cluster: drawCluster(t), FormatMin: least,
			FormatMax: uint32(drawNumber(t, uint64(least), math.MaxUint32)), Name: drawString(t),
		}
	},
	encode: func(dst []byte, h ClientHello) []byte { return AppendClientHello(dst, &h) },
	decode: DecodeClientHello,
}

var serverHelloCodec = codec[ServerHello]{
	name: "server_hello",
	samples: []sample[ServerHello]{
		{"alone", ServerHello{Cluster: clusterID, Format: 1, Replica: 1, Draining: true}},
		{"three members", ServerHello{Cluster: clusterID, Format: 1, Replica: 2, Members: []MemberInfo{
			{Replica: 1, Endpoint: "10.0.0.1:7100", Name: "oregon"},
			{Replica: 2, Endpoint: "10.0.0.2:7100", Name: "virginia"},
			{Replica: 300, Endpoint: "[::1]:7100"},
		}}},
	},
	generate: func(t *rapid.T) ServerHello {
		return ServerHello{
			Cluster: drawCluster(t), Format: uint32(drawNumber(t, 1, math.MaxUint32)), Replica: drawReplica(t),
			Draining: rapid.Bool().Draw(t, "draining"),
			Members: drawList(t, 8, func(t *rapid.T) MemberInfo {
				return MemberInfo{Replica: drawReplica(t), Endpoint: drawString(t), Name: drawString(t)}
			}),
		}
	},
	encode: func(dst []byte, h ServerHello) []byte { return AppendServerHello(dst, &h) },
	decode: DecodeServerHello,
}

func TestClientHello(t *testing.T)       { clientHelloCodec.test(t) }
func TestServerHello(t *testing.T)       { serverHelloCodec.test(t) }
func FuzzDecodeClientHello(f *testing.F) { clientHelloCodec.fuzz(f) }
func FuzzDecodeServerHello(f *testing.F) { serverHelloCodec.fuzz(f) }
