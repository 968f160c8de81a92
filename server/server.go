package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/264bc8cf/epaxos/clients/gateway"
	"github.com/264bc8cf/epaxos/deps"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/identity"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
	"github.com/264bc8cf/epaxos/transport"
)

// Server is one running replica. Its methods are safe for concurrent use.
type Server struct {
	config  Config
	machine execution.StateMachine
	log     *slog.Logger
	started time.Time

	store   *storage.Badger
	node    *node.Node // owned by the goroutine of run
	host    *transport.Host
	gateway *gateway.Gateway
	inbox   *inbox
	calls   calls
	fresh   freshness // owned by the goroutine of run
	out     outbox

	snapshots  snapshots
	cutReaders chan struct{}
	followed   followed      // owned by the goroutine of run
	disowned   disownings    // by members
	alone      time.Duration // since when this replica, disowned, makes no quorum; owned by the goroutine of run
	draining   atomic.Bool   // by Drain

	fault    error                         // found outside of the run goroutine, which owns this
	lagging  map[epaxos.ReplicaID]*lagging // likewise
	scrubs   atomic.Uint64                 // of all that is saved, finished
	scrubbed atomic.Int64                  // when the last was, on the replica's clock

	unreadable atomic.Uint64 // frames of peers that did not decode
	complained atomic.Int64  // when the log last told of one

	status   atomic.Pointer[Status]
	cancel   context.CancelFunc
	tasks    sync.WaitGroup // accepting clients
	stop     chan stopMode
	done     chan struct{}
	err      error // set before done is closed
	stopOnce sync.Once
}

// stopMode says how a replica ends.
type stopMode uint8

const (
	stopClean stopMode = iota + 1 // what is in memory is saved
	stopAbrupt
)

// errWrongReplica: the hello does not fit the certificate.
var errWrongReplica = errors.New("the hello names another replica than the certificate: let replica, tls.cert " +
	"and dir in its configuration be of one replica")

// Open starts a replica on its data directory. It returns once the directory is read and the port
// is open; see Status.Admitted for when the replica takes part. The state machine must be the one that
// wrote the directory.
func Open(config Config, machine execution.StateMachine) (*Server, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if err := config.checkFirst(); err != nil {
		return nil, err
	}
	s := &Server{
		config: config, machine: machine,
		log: config.Logger.With("replica", config.Replica), started: time.Now(),
		inbox: newInbox(), cutReaders: make(chan struct{}, cutReaders),
		stop: make(chan stopMode, 1), done: make(chan struct{}),
	}
	s.calls.init()
	if s.config.Trace == nil && s.log.Enabled(context.Background(), slog.LevelDebug) {
		s.config.Trace = func(line string) { s.log.Debug(line) }
	}
	if err := s.openNode(); err != nil {
		return nil, err
	}
	if err := s.openNetwork(); err != nil {
		return nil, errors.Join(err, s.store.Close())
	}
	return s, nil
}

func (s *Server) openNode() error {
	store, err := storage.Open(s.config.storeOptions())
	if err != nil {
		return s.condemn(err)
	}
	s.store = store
	s.snapshots.open, s.snapshots.unpin = map[uint64]*snapshot{}, store.Unpin
	s.node, err = node.New(s.nodeConfig(store))
	if err != nil {
		return s.condemn(errors.Join(fmt.Errorf("replay %s: %w", s.config.Dir, err), store.Close()))
	}
	members, role := s.node.Members()
	if role == node.Removed && store.Held() == 0 { // else somebody may not have begun the epoch without it
		return errors.Join(fmt.Errorf("%w: epoch %d does not have it", ErrRemoved, members.Epoch), store.Close())
	}
	if err := s.config.checkBudget(len(members.Voters), store.SaveBytesMax()); err != nil {
		return errors.Join(err, store.Close())
	}
	s.adopt(0, members, role)
	return nil
}

func (s *Server) nodeConfig(store *storage.Badger) node.Config {
	protocol := s.config.Protocol
	if protocol == nil {
		protocol = &node.Protocol{
			NewCore:    s.newCore,
			NewOrderer: func(m epaxos.Membership) node.Orderer { return execution.NewGraph(m) },
		}
	}
	return node.Config{
		ID: s.config.Replica, Incarnation: s.config.Incarnation, Cluster: s.config.Cluster,
		Members: s.config.firstMembers(), NewCore: protocol.NewCore, NewOrderer: protocol.NewOrderer,
		Store: store, Machine: s.machine, WriteBack: s.config.Timing.WriteBack, Trace: s.config.Trace,
		FormatMax: s.config.formatMax(), Transfer: node.Transfer{BytesPerSecond: s.config.TransferRate},
		Watching: node.Watching{JournalBytes: s.config.JournalBytes, PollsMax: s.config.Watches},
	}
}

// newCore makes the protocol of an epoch.
func (s *Server) newCore(m epaxos.Membership) (node.Core, error) {
	return epaxos.New(epaxos.Config{
		ID: s.config.Replica, Membership: m, Index: deps.New(m.N()),
		Rand:   rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), //nolint:gosec // jitter only
		Limits: s.config.Limits, Timing: s.config.Timing.Core,
	})
}

func (s *Server) openNetwork() error {
	credential, err := identity.LoadFiles(identity.Files{
		CA: s.config.CAFile, Cert: s.config.CertFile, Key: s.config.KeyFile,
	})
	if err != nil {
		return err
	}
	if name := credential.Name; name.Cluster != s.config.Cluster || name.Replica != s.config.Replica {
		return fmt.Errorf("the certificate in %s is of %s, but this is replica %d of cluster %x: "+
			"correct tls.cert and tls.key", s.config.CertFile, name, s.config.Replica, s.config.Cluster)
	}
	members, err := s.identities()
	if err != nil {
		return err
	}
	resetKey, err := s.config.resetKey()
	if err != nil {
		return err
	}
	conn, err := s.config.listen()
	if err != nil {
		return err
	}
	s.out.init(s)
	s.publishStatus()
	go s.run()
	s.host, err = transport.NewHost(transport.Config{
		Self: s.config.Replica, Conn: conn, Credential: credential, Members: members, ResetKey: resetKey,
		Hello: s.hello, CheckHello: s.checkHello, Receive: s.receive,
		PeerUp: s.peerUp, PeerDown: s.peerDown, Disowned: s.disown,
		Lanes: s.config.PeerConnections, QueueBytes: s.config.PeerQueueBytes, FrameBytesMax: wire.PeerFrameMax,
		HeartbeatInterval: s.config.Timing.Heartbeat, SuspectAfter: s.config.Timing.Suspect, Logger: s.log,
	})
	if err != nil {
		s.stopRun(stopAbrupt)
		return err
	}
	s.gateway = gateway.New(gateway.Config{
		Proposer: proposer{s}, Cluster: s.config.Cluster, Replica: s.config.Replica,
		Status: s.statusJSON, Log: s.log, OpenPerConnMax: s.config.ClientRequests,
	})
	s.inbox.do(func() {
		s.out.host = s.host
		s.tellNetwork()
	})
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.tasks.Go(func() { s.acceptClients(ctx) })
	if s.config.ScrubPeriod > 0 {
		s.tasks.Go(func() { s.scrub(ctx) })
	}
	go func() {
		// A replica that has stopped must fall silent: as long as its heartbeats went on, peers would wait
		// for it instead of recovering what it led, and clients would stay.
		<-s.done
		s.shut(stopAbrupt) //nolint:errcheck // Close and Err tell
	}()
	return nil
}

func (s *Server) acceptClients(ctx context.Context) {
	for {
		conn, err := s.host.AcceptClient(ctx)
		if err != nil {
			return
		}
		s.tasks.Go(func() {
			if err := s.gateway.Serve(conn); err != nil {
				s.log.Debug("client left", "error", err)
			}
		})
	}
}

// Done is closed when the replica has stopped.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err is why the replica stopped, nil after Close or while it runs.
func (s *Server) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Drain sends clients to other replicas, refuses new requests and waits for those under way, at
// most until ctx ends. The replica keeps voting.
func (s *Server) Drain(ctx context.Context) error {
	s.draining.Store(true)
	s.gateway.SetDraining(true)
	s.sendWatchesAway()
	return s.gateway.Drain(ctx)
}

// Close saves what is in memory and stops the replica. It returns the error of that, or of the
// fault that stopped the replica before.
func (s *Server) Close() error { return s.shut(stopClean) }

// Abort stops the replica as a crash would: nothing in memory is saved, no peer or client is told.
// Tests and demonstrations use it.
func (s *Server) Abort() {
	if s.config.Conn != nil {
		s.config.Conn.Close() //nolint:errcheck // the socket goes first, so that no farewell leaves
	}
	s.shut(stopAbrupt) //nolint:errcheck // a crash returns nothing
}

func (s *Server) shut(mode stopMode) error {
	s.stopOnce.Do(func() {
		s.stopRun(mode)
		s.cancel()
		s.gateway.Close()
		s.host.Close() //nolint:errcheck // nothing is lost that the protocol does not repeat
		s.tasks.Wait()
	})
	<-s.done
	return s.err
}

func (s *Server) stopRun(mode stopMode) {
	select {
	case s.stop <- mode:
	default:
	}
	<-s.done
}
