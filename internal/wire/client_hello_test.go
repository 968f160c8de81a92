package wire

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/epaxos"
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
		{"a learner in a later epoch", ServerHello{
			Cluster: clusterID, Format: 1, Replica: 1, Epoch: 300, Members: []MemberInfo{
				{Replica: 1, Endpoint: "10.0.0.1:7100"},
				{Replica: 4, Endpoint: "10.0.0.4:7100", Name: "virginia", Role: RoleLearner},
			},
		}},
	},
	generate: func(t *rapid.T) ServerHello {
		return ServerHello{
			Cluster: drawCluster(t), Format: uint32(drawNumber(t, 1, math.MaxUint32)), Replica: drawReplica(t),
			Draining: rapid.Bool().Draw(t, "draining"),
			Members: drawList(t, 8, func(t *rapid.T) MemberInfo {
				return MemberInfo{
					Replica: drawReplica(t), Endpoint: drawString(t), Name: drawString(t),
					Role: MemberRole(drawNumber(t, 0, math.MaxUint8)),
				}
			}),
			Epoch: epaxos.Epoch(drawNumber(t, 0, math.MaxUint32)),
		}
	},
	encode: func(dst []byte, h ServerHello) []byte { return AppendServerHello(dst, &h) },
	decode: DecodeServerHello,
}

func TestClientHello(t *testing.T)       { clientHelloCodec.test(t) }
func TestServerHello(t *testing.T)       { serverHelloCodec.test(t) }
func FuzzDecodeClientHello(f *testing.F) { clientHelloCodec.fuzz(f) }

func FuzzDecodeServerHello(f *testing.F) {
	f.Add([]byte(firstServerHello))
	serverHelloCodec.fuzz(f)
}

// firstServerHello is what the first programs of format 1 send: a hello without an epoch, of members
// without roles.
var firstServerHello = "\x96\x41\xc4\x10" + string(clusterID[:]) + "\x01\x02\xc2" +
	"\x92\x93\x01\xa5a:710\xa1x\x93\xcd\x01\x2c\xa5b:710\xa0"

func TestTheFirstServerHelloIsRead(t *testing.T) {
	want := ServerHello{Cluster: clusterID, Format: 1, Replica: 2, Members: []MemberInfo{
		{Replica: 1, Endpoint: "a:710", Name: "x"}, {Replica: 300, Endpoint: "b:710"},
	}}
	got, err := DecodeServerHello([]byte(firstServerHello))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestInfos(t *testing.T) {
	members := Members{
		Voters:   []Member{{Replica: 1, Addr: "a:1", Name: "oregon"}, {Replica: 5, Addr: "b:1"}},
		Learners: []Member{{Replica: 3, Addr: "c:1"}},
	}
	want := []MemberInfo{
		{Replica: 1, Endpoint: "a:1", Name: "oregon"}, {Replica: 5, Endpoint: "b:1"},
		{Replica: 3, Endpoint: "c:1", Role: RoleLearner},
	}
	if got := members.Infos(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
