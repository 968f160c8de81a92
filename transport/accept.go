package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/264bc8cf/epaxos/internal/identity"
)

// accept sorts the connections that others dialed, whose certificates TLS has checked.
func (h *Host) accept() {
	for {
		conn, err := h.listener.Accept(h.ctx)
		if err != nil {
			// Either the host is closing, or the socket has failed: then dialing fails too, and
			// says so for each peer.
			if h.ctx.Err() == nil {
				h.config.Logger.Error("cannot accept connections any more", slog.Any("reason", err))
			}
			return
		}
		authenticated(conn)
		switch conn.ConnectionState().TLS.NegotiatedProtocol {
		case identity.PeerProtocol:
			h.wg.Go(func() { h.servePeer(conn) })
		default:
			h.handOver(conn)
		}
	}
}

// handOver gives a client's connection to whoever waits in AcceptClient.
func (h *Host) handOver(conn *quic.Conn) {
	if h.clientsOpen.Add(1) > int64(h.config.ClientsMax) {
		h.clientsOpen.Add(-1)
		closeConn(conn, CloseBusy, fmt.Sprintf("%d clients are connected already", h.config.ClientsMax))
		return
	}
	h.wg.Go(func() {
		defer h.clientsOpen.Add(-1)
		select {
		case <-conn.Context().Done():
		case <-h.ctx.Done():
			closeConn(conn, CloseShutdown, "the replica is shutting down")
		}
	})
	select {
	case h.clients <- conn:
	default:
		closeConn(conn, CloseBusy, "too many clients are connecting at a time")
	}
}

// servePeer receives from a member until its connection ends.
func (h *Host) servePeer(conn *quic.Conn) {
	p, err := h.peerOf(conn)
	if err != nil {
		var refused dismissal
		errors.As(err, &refused)
		closeConn(conn, refused.code, refused.reason)
		h.callerRefused(conn.RemoteAddr(), err)
		return
	}
	stop := context.AfterFunc(p.ctx, func() { p.dismiss(conn) })
	defer stop()
	err = p.receive(conn)
	closeConn(conn, codeFor(err), err.Error())
	end := endOf(conn, err)
	if h.ctx.Err() == nil {
		p.logger.Info("a connection from the peer ended", slog.Any("reason", end))
	}
	p.disowned(end)
}

// peerOf finds out which member called. The error is a dismissal: in TLS, a caller that is not or no
// longer a member could not have been told why.
func (h *Host) peerOf(conn *quic.Conn) (*peer, error) {
	now := h.roster.Load()
	cert := conn.ConnectionState().TLS.PeerCertificates[0]
	member, err := now.members.Verify(cert)
	if err != nil {
		name, _ := identity.NameOf(cert) //nolint:errcheck // TLS has read it
		return nil, now.refusal(name.Replica, err)
	}
	p, found := now.peers[member.Replica]
	if !found {
		return nil, dismissal{CloseNotMember, fmt.Sprintf("replica %d has called itself", member.Replica)}
	}
	return p, nil
}

// receive greets the caller and takes its frames.
func (p *peer) receive(conn *quic.Conn) error {
	ctx, cancel := context.WithTimeout(p.ctx, helloTimeout)
	defer cancel()
	stream, err := conn.AcceptStream(ctx)
	if err != nil {
		return err
	}
	if err := stream.SetDeadline(time.Now().Add(helloTimeout)); err != nil {
		return err
	}
	config := &p.host.config
	frames := newFrameReader(stream, 1+HelloBytesMax)
	number, hello, err := readHello(frames)
	if err != nil {
		return err
	}
	if err := config.CheckHello(p.member.Replica, hello); err != nil {
		return refusal{err}
	}
	// Registered before it is answered: at the dialer, an answer means that its older connection
	// of this lane delivers nothing more.
	p.register(number, conn)
	defer p.unregister(number, conn)
	own := config.Hello(p.member.Replica)
	if len(own) == 0 {
		return errNothingToSay
	}
	answer := appendFrame(nil, frameHello, []byte{byte(number)}, own)
	if _, err := stream.Write(answer); err != nil {
		return err
	}
	if err := stream.SetDeadline(time.Time{}); err != nil {
		return err
	}
	p.hear()
	for _, lane := range p.lanes {
		lane.nudge()
	}
	p.bulk.nudge()
	frames.bodyMax = max(config.FrameBytesMax, heartbeatBytes)
	return p.serveFrames(frames, stream)
}

func (p *peer) serveFrames(frames *frameReader, stream *quic.Stream) error {
	for {
		kind, body, err := frames.next()
		if err != nil {
			return err
		}
		if p.ctx.Err() != nil {
			return context.Cause(p.ctx) // what a former member sent before it was removed is dropped
		}
		p.hear()
		switch kind {
		case frameData:
			p.counters.framesReceived.Add(1)
			p.counters.bytesReceived.Add(uint64(len(body)))
			p.host.config.Receive(p.member.Replica, body)
		case frameHeartbeat:
			if len(body) != heartbeatBytes {
				return protocolError{fmt.Sprintf("heartbeat of %d bytes", len(body))}
			}
			// An echo that does not fit is dropped: waiting for room here would let a peer that
			// does not read hold back what it sends.
			_ = stream.TryWriteAll(appendFrame(nil, frameEcho, body))
		default:
			return protocolError{fmt.Sprintf("frame of %s in the midst of a connection", kind)}
		}
	}
}
