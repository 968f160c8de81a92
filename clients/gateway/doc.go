// Package gateway is the server half of package clients: it speaks with the clients of one replica
// and hands their commands to a Proposer.
//
//	g := gateway.New(gateway.Config{Proposer: replica, Cluster: id, Replica: 1, Members: members})
//	for {
//		conn, err := host.AcceptClient(ctx)
//		...
//		go g.Serve(conn)
//	}
//
// # Bounds
//
// Nothing that a client sends makes the gateway keep more than a bounded amount: frames are at
// most wire.ClientFrameMax long, checked before they are read; requests in the hands of the
// proposer are bounded per connection and in all, and more are refused as "overloaded, not
// applied, retry"; answers that a client does not read are bounded in bytes and in time, after
// which the client is disconnected. A request counts until the proposer has answered it, whatever
// became of its client and its deadline, because that is how long it costs memory.
//
// # Threads
//
// Two goroutines per connection, one of which is the caller of Serve, and one for the gateway that
// keeps time for all. Propose is called by the connection's reading goroutine, answers may come
// from any. A request costs no goroutine and no timer: at each tick a connection is looked at only
// if the earliest of its deadlines has passed.
//
// # Deadlines
//
// Clients send the time they will still wait. The proposer sees it as Request.Deadline, and may
// answer "timeout, not applied" if it has not proposed the request by then. Shortly after, the
// gateway answers "timeout, outcome unknown" itself.
//
// # Stopping
//
// Drain sends the clients to other replicas, refuses their commands and waits for those under way;
// Close then sends the answers that are left, waits for the clients to hang up, and ends every
// goroutine.
package gateway
