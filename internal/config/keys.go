package config

import "strings"

// Key is one setting of a configuration.
type Key struct {
	// Name is the place in the file: the groups, then the key, joined by dots.
	Name string
	// Default is what holds where no source gives a value, as one would write it.
	Default string
	// Required says that some source must give a value.
	Required bool
	// Help is one sentence without a full stop.
	Help string

	kind *kind
}

// Flag is the name of the setting on the command line, without the dashes.
func (k Key) Flag() string { return strings.NewReplacer(".", "-", "_", "-").Replace(k.Name) }

// Env is the name of the setting in the environment.
func (k Key) Env() string {
	return "EPAXOS_" + strings.ToUpper(strings.ReplaceAll(k.Name, ".", "_"))
}

// Kind names the type of the setting's values.
func (k Key) Kind() string { return k.kind.name }

// Keys lists every setting of a replica, in the order of the file.
func Keys() []Key { return append([]Key(nil), keys...) }

var keys = []Key{
	{Name: "cluster", kind: kindCluster, Required: true,
		Help: "id of the cluster, the same for all its replicas and clients"},
	{Name: "replica", kind: kindReplica, Required: true,
		Help: "id of this replica, never used by another one, not even later"},
	{Name: "incarnation", kind: kindIncarnation, Required: true,
		Help: "which life of the replica this is; a replica that lost its data comes back under a new one"},
	{Name: "name", kind: kindName,
		Help: "site or region of this replica, shown to people and to clients"},
	{Name: "dir", kind: kindPath, Required: true,
		Help: "data directory; in a file relative to the directory of the file"},
	{Name: "listen", kind: kindAddress, Required: true,
		Help: "UDP address for peers and clients, host:port; an empty host listens on all interfaces"},
	{Name: "members", kind: kindMembers, Required: true,
		Help: "the voters of the first epoch, or, of a replica that joins, whom it asks; later members are part of the " +
			"replicated state; by flag or environment 1=host:port#fingerprint#incarnation,2=…"},
	{Name: "join", kind: kindBool, Default: "false",
		Help: "whether this replica joins a cluster that runs, so that it is none of members; add makes it so"},
	{Name: "format", kind: kindCount, Default: "1",
		Help: "format level of the first epoch: what replicas may send each other; raised by epaxos member raise-format"},
	{Name: "format_max", kind: kindCount, Default: "0",
		Help: "the highest format level that this replica takes part at, as an older version would; 0 is all that it knows"},
	{Name: "f", kind: kindQuorum, Default: "auto",
		Help: "crashes the cluster survives, in the first epoch; auto is the largest minority"},
	{Name: "e", kind: kindQuorum, Default: "auto",
		Help: "crashes under which one round trip still decides, in the first epoch; auto is the largest that f allows"},
	{Name: "tls.ca", kind: kindPath, Required: true,
		Help: "certificates of the cluster's authority, PEM; in a file relative to the directory of the file"},
	{Name: "tls.cert", kind: kindPath, Required: true,
		Help: "certificate of this replica, PEM; in a file relative to the directory of the file"},
	{Name: "tls.key", kind: kindPath, Required: true,
		Help: "private key of this replica, PEM; in a file relative to the directory of the file"},
	{Name: "membership.evict_after", kind: kindDuration, Default: "0s",
		Help: "a voter without progress for so long, while others have some, is removed, if three are left; 0s is never"},
	{Name: "membership.evict_lag", kind: kindCount, Default: "0",
		Help: "a voter that has not executed so many commands that others have is removed likewise; 0 is never"},
	{Name: "membership.evict_bytes", kind: kindBytes, Default: "0",
		Help: "the voter for which a log is kept that has grown to so much is removed likewise; 0 is never"},
	{Name: "limits.in_flight", kind: kindCount, Default: "1024",
		Help: "own instances proposed and not yet executed here; more requests wait"},
	{Name: "limits.in_flight_per_key", kind: kindCount, Default: "16",
		Help: "the same for one key; the next requests on the key are gathered into one instance"},
	{Name: "limits.queue", kind: kindCount, Default: "16384",
		Help: "requests that may wait; beyond them clients are told to retry"},
	{Name: "limits.client_requests", kind: kindCount, Default: "4096",
		Help: "open requests of one client connection"},
	{Name: "limits.peer_queue_bytes", kind: kindBytes, Default: "8MiB",
		Help: "messages waiting for one peer; beyond them new ones are dropped, and caught up later"},
	{Name: "limits.transfer_rate", kind: kindBytes, Default: "32MiB",
		Help: "bytes of state in a second that this replica hands to others that join or catch up, all together"},
	{Name: "limits.watches", kind: kindCount, Default: "16384",
		Help: "watches that wait for a change at this replica; more are told to use another"},
	{Name: "watch.journal_bytes", kind: kindBytes, Default: "64MiB",
		Help: "changes kept in memory for watches that come back; who stays behind them has to read the state anew"},
	{Name: "timing.tick", kind: kindDuration, Default: "10ms",
		Help: "how often a replica looks at its timers; the unit of the times below"},
	{Name: "timing.heartbeat", kind: kindDuration, Default: "300ms",
		Help: "pause between two heartbeats to a peer"},
	{Name: "timing.suspect", kind: kindDuration, Default: "1s",
		Help: "silence after which a peer is suspected; longer than a pause of its process or disk"},
	{Name: "timing.resend", kind: kindDuration, Default: "700ms",
		Help: "pause before a message without enough answers is sent again; above the longest round trip"},
	{Name: "timing.recover_stagger", kind: kindDuration, Default: "700ms",
		Help: "pause between the replicas in line to recover an instance, so that they do not duel"},
	{Name: "storage.reserve_bytes", kind: kindBytes, Default: "256MiB",
		Help: "free disk space below which the replica refuses work, because its store dies on a full disk"},
	{Name: "storage.memtable_bytes", kind: kindBytes, Default: "32MiB",
		Help: "memory of one write buffer of the store, which has three; a turn saves at most 15 % of it"},
	{Name: "storage.scrub_period", kind: kindDuration, Default: "24h0m0s",
		Help: "all that is on disk is read and verified within this time, again and again; 0s is never"},
	{Name: "peer_connections", kind: kindCount, Default: "1",
		Help: "connections to each peer; 4 keep up on a WAN that loses 1 % of its packets"},
	{Name: "log.level", kind: kindLevel, Default: "info",
		Help: "least severe level that is logged: debug, info, warn or error"},
	{Name: "log.format", kind: kindFormat, Default: "text",
		Help: "form of the log lines: text or json"},
}

// memberKeys are the settings of one entry of members.
var memberKeys = []Key{
	{Name: "id", kind: kindReplica, Required: true, Help: "id of the replica"},
	{Name: "addr", kind: kindAddress, Required: true, Help: "address where the others reach it, host:port"},
	{Name: "fingerprint", kind: kindFingerprint, Required: true,
		Help: "SHA-256 of its public key (SubjectPublicKeyInfo), 64 hexadecimal digits"},
	{Name: "incarnation", kind: kindIncarnation, Required: true, Help: "its current life"},
	{Name: "name", kind: kindName, Help: "its site or region"},
}

// profileKeys are the settings of a client profile.
var profileKeys = []Key{
	{Name: "cluster", kind: kindCluster, Required: true, Help: "id of the cluster"},
	{Name: "endpoints", kind: kindAddresses, Required: true, Help: "replicas to connect to, host:port"},
	{Name: "ca", kind: kindPath, Required: true,
		Help: "certificates of the cluster's authority, PEM; relative to the directory of this file"},
	{Name: "cert", kind: kindPath, Required: true,
		Help: "certificate of the client, PEM; relative to the directory of this file"},
	{Name: "key", kind: kindPath, Required: true,
		Help: "private key of the client, PEM; relative to the directory of this file"},
}
