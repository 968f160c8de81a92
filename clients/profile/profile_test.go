package profile

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/server"
)

// TestDial reaches a replica by its profile alone.
func TestDial(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "cluster")
	configs, err := server.Init(dir, conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	config, err := server.Load(configs[0])
	if err != nil {
		t.Fatal(err)
	}
	config.Conn = conn
	replica, err := server.Open(config, execution.KV{})
	if err != nil {
		t.Fatal(err)
	}
	defer replica.Close() //nolint:errcheck // nothing is asked of it afterwards
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	client, err := Dial(ctx, filepath.Join(dir, "client.yaml"), clients.WithName("test"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close() //nolint:errcheck // likewise
	if result, err := client.Increment(ctx, "n", 2); err != nil || string(result.Value) != "2" {
		t.Errorf("%+v, %v", result, err)
	}
	if _, err := Dial(ctx, filepath.Join(dir, "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no profile: %v", err)
	}
}
