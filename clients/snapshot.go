package clients

import (
	"context"
	"fmt"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Snapshot copies the state of the cluster at one cut of the order of all commands: every command that was
// answered before the call is in it, and with each all that it was executed after. The cluster serves meanwhile. It
// is read from one replica, the nearest if replica is 0.
//
// take is called for each part, in order, as internal/wire encodes it; its error ends the copy. The client asks for
// a part when the one before was taken, so nothing is lost and little is in memory. A copy that fails has to begin
// anew.
func (c *Client) Snapshot(ctx context.Context, replica epaxos.ReplicaID, take func(part []byte) error) error {
	var request wire.SnapshotRequest
	for {
		payload := wire.AppendSnapshotRequest(nil, &request)
		operation := Request{Payload: payload, ReadOnly: true, Replica: replica}
		reply, err := c.start(ctx, operation, wire.RequestSnapshot).Wait()
		if err != nil {
			return err
		}
		part, err := wire.DecodeSnapshotPart(reply.Result)
		if err != nil {
			return fmt.Errorf("epaxos: replica %d sends a part of a snapshot that cannot be read: %w", reply.Replica, err)
		}
		if err = c.takePart(&request, &part, reply.Result, take); err != nil || part.Last {
			c.endSnapshot(request.ID, reply.Replica)
			return err
		}
		replica = reply.Replica
	}
}

// takePart hands a part over, and makes the request for the next.
func (c *Client) takePart(
	request *wire.SnapshotRequest, part *wire.SnapshotPart, body []byte, take func([]byte) error,
) error {
	first := request.ID == 0
	if request.ID = part.ID; part.ID == 0 || first != (part.Head != nil) || !part.Last && len(part.Entries) == 0 {
		return fmt.Errorf("epaxos: a part of a snapshot that does not follow the one before: %w", wire.ErrMalformed)
	}
	if len(part.Entries) > 0 {
		request.After = part.Entries[len(part.Entries)-1].Key
	}
	return take(body)
}

// endSnapshot tells the replica that nothing more is wanted, without waiting for it: it would find out by itself.
func (c *Client) endSnapshot(id uint64, replica epaxos.ReplicaID) {
	end := wire.AppendSnapshotRequest(nil, &wire.SnapshotRequest{ID: id, End: true})
	c.start(c.ctx, Request{Payload: end, Replica: replica, Done: func(Reply, error) {}}, wire.RequestSnapshot)
}
