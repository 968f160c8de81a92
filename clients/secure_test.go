package clients_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/clients/gateway"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/identity"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/transport"
)

// serveSecurely runs replica 1 of a new cluster.
func serveSecurely(t *testing.T) (*identity.Cluster, *gateway.Gateway) {
	t.Helper()
	packets := listenUDP(t)
	secrets, err := identity.NewCluster([]string{packets.LocalAddr().String()}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return secrets, serveReplica(t, secrets, secrets.Replicas[0], packets)
}

func listenUDP(t *testing.T) *net.UDPConn {
	t.Helper()
	packets, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return packets
}

// serveReplica runs a gateway behind a replica's real port: the transport's socket and the cluster's own
// certificates.
func serveReplica(
	t *testing.T, secrets *identity.Cluster, credential *identity.Credential, packets *net.UDPConn,
) *gateway.Gateway {
	t.Helper()
	members, err := identity.NewMembers(secrets.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	host, err := transport.NewHost(transport.Config{
		Self: credential.Name.Replica, Conn: packets, Credential: credential, Members: members,
		Hello:      func(epaxos.ReplicaID) []byte { return nil },
		CheckHello: func(epaxos.ReplicaID, []byte) error { return nil },
		Receive:    func(epaxos.ReplicaID, []byte) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	g := gateway.New(gateway.Config{Proposer: instant{}, Cluster: secrets.ID, Replica: credential.Name.Replica})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := host.AcceptClient(context.Background())
			if err != nil {
				return
			}
			wg.Go(func() { _ = g.Serve(conn) })
		}
	})
	t.Cleanup(func() {
		g.Close()
		if err := host.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
	return g
}

func TestCertificatesOfTheCluster(t *testing.T) {
	secrets, gate := serveSecurely(t)
	credential, err := secrets.Authority.IssueClient("tester", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c, err := clients.Dial(t.Context(), []string{secrets.Members[0].Addr},
		clients.WithTLS(credential.ClientConfig()), clients.WithCluster(secrets.ID), clients.WithName("tester"),
		clients.WithoutSession())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if reply, err := c.Do(t.Context(), []byte("command")); err != nil || reply.Replica != 1 {
		t.Errorf("%+v, %v", reply, err)
	}
	// A replica that joins later is not in any profile: the authority vouches for it.
	late, err := secrets.Authority.IssueReplica(9, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	packets := listenUDP(t)
	serveReplica(t, secrets, late, packets)
	gate.SetMembers(2, []wire.MemberInfo{
		{Replica: 1, Endpoint: secrets.Members[0].Addr}, {Replica: 9, Endpoint: packets.LocalAddr().String()},
	})
	reply, err := c.Start(t.Context(), clients.Request{Payload: []byte("command"), Replica: 9}).Wait()
	if err != nil || reply.Replica != 9 {
		t.Errorf("%+v, %v", reply, err)
	}
}

func TestCertificatesOfAnotherClusterAreRefusedAtOnce(t *testing.T) {
	secrets, _ := serveSecurely(t)
	foreign, err := identity.NewAuthority(secrets.ID, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	credential, err := foreign.IssueClient("stranger", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	trusting := credential.ClientConfig() // it believes the replica, which does not believe it
	trusting.RootCAs = x509.NewCertPool()
	trusting.RootCAs.AddCert(secrets.Authority.Certificate)
	for says, config := range map[string]*tls.Config{
		"correct its authority":                   credential.ClientConfig(),
		"the replica refused this client's certi": trusting,
	} {
		_, err = clients.Dial(t.Context(), []string{secrets.Members[0].Addr}, clients.WithTLS(config))
		if err == nil || !strings.Contains(err.Error(), "every replica refused") || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want a refusal that says %q", err, says)
		}
	}
}
