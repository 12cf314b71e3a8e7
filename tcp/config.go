package tcp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/singledecree/paxos"
)

// A Config says which server a [Transport] is for, where it listens, and where the others are. ID, Members, one of Addr and Listener, and
// one of TLS and Plain are required. The zero value of every other field means its default.
type Config struct {
	// ID is this server.
	ID paxos.ServerID
	// Members is the cluster. Only its acceptors and learners may connect, until [Transport.Reach] adds or removes some.
	Members paxos.Members
	// Addr is where to listen, "host:port" or ":port". Port 0 takes a free one: see [Transport.Addr].
	Addr string
	// Listener, if not nil, is where to listen instead. The Transport closes it.
	Listener net.Listener
	// Peers are the addresses of other servers, "host:port", with both parts. An address that can't be dialed is an error of [Listen]. A
	// host name is looked up anew at each dial.
	//
	// Packets to a server that is not in Peers are dropped and counted, until [Transport.SetAddr] or [Transport.Reach] gives its address.
	Peers map[paxos.ServerID]string
	// TLS has the certificate of this server, and in RootCAs the authorities of all the others. The server shows the certificate as a
	// listener and as a dialer: an extended key usage, if there is one, must allow both. ClientCAs nil means RootCAs.
	//
	// TLS is copied, and hardened: TLS 1.3 at least, a certificate from both sides, no resumption, [ALPN] in NextProtos. A renewed certificate can come from
	// GetCertificate, GetClientCertificate, GetConfigForClient and VerifyConnection: they are called as usual. On a dialer,
	// VerifyPeerCertificate gets no chains.
	//
	// See [Transport.SetTLS] for other changes, and package tcp/certs for certificates in files.
	TLS *tls.Config
	// Plain chooses TCP without TLS. Anybody with access to the port can then read everything, and speak as any server. The log warns
	// unless the listener is on a loopback address.
	Plain  bool
	Limits Limits
	Timing Timing
	// Logger gets what an operator should know: connections made and lost, refusals, failures of Accept. A line about a server is
	// repeated at most every 10 s. Nil: nothing is logged. Its keys are cluster, server, peer, addr, reason, suppressed, lines and err.
	//
	// A goroutine of its own calls it, so a slow Logger holds up nothing. At most 1,024 lines wait for it; one line says how many more
	// were lost.
	Logger *slog.Logger
}

// Limits bounds what a [Transport] holds. A zero field means its default.
type Limits struct {
	// MaxFrame is the largest size of an encoded Packet, in bytes. The default is 4 MiB + 64 KiB, enough for the default of
	// paxos.Limits.MaxPacket. The receiver tells its MaxFrame; the sender drops and counts a larger packet.
	//
	// A Node needs 1 KiB more than its Limits.MaxValue and its Limits.MaxPacket, and at least 65 KiB.
	MaxFrame int
	// QueueBytes and QueuePackets are how much may wait for one peer. The defaults are 16 MiB, or twice MaxFrame if that is more, and
	// 16,384 packets. A queue that would hold more drops its oldest packets.
	//
	// For a peer that is not connected, at most 1 MiB or one packet waits. The memory of a queue can be three times as much.
	QueueBytes, QueuePackets int
	// Pending is how many connections may be open that have not proved who they are: 256. One more ends the oldest.
	Pending int
}

// Timing holds the durations of a [Transport]. A zero field means its default.
type Timing struct {
	// Handshake bounds a dial, with everything up to the welcome. On the side of the listener it bounds the time from Accept until the
	// hello. The default is 5 s.
	Handshake time.Duration
	// Write bounds each write, of at most 256 KiB. The default is 10 s.
	Write time.Duration
	// KeepAlive is how often a dialer pings. The default is a third of Idle, 5 s; at most half of Idle is allowed.
	KeepAlive time.Duration
	// Idle is how long either side waits for any frame. The default is 15 s. It must be at least twice the KeepAlive of the others. A
	// frame that has begun may take that long, and one second more for each 64 KiB.
	Idle time.Duration
	// MaxRedial bounds the random wait after a dial that failed. The wait begins at 50 ms and doubles; the default bound is 1 s. When the
	// peer connects to this server, this server dials it at once.
	MaxRedial time.Duration
	// Probe is how long a connected process has to answer, when another process wants to connect as the same server. The default is 1 s,
	// or half of Handshake if that is less. It must be less than Handshake.
	Probe time.Duration
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		field *int
		value int
	}{{&l.MaxFrame, 4<<20 + 64<<10}, {&l.QueuePackets, 16384}, {&l.Pending, 256}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if l.QueueBytes == 0 {
		l.QueueBytes = max(16<<20, 2*l.MaxFrame)
	}
	return l
}

func (l Limits) check() error {
	for _, d := range []struct {
		name             string
		value, low, high int
	}{
		{"MaxFrame", l.MaxFrame, 4 << 10, 65 << 20}, {"QueueBytes", l.QueueBytes, l.MaxFrame, 1 << 30},
		{"QueuePackets", l.QueuePackets, 1, 1 << 24}, {"Pending", l.Pending, 1, 1 << 16},
	} {
		if d.value < d.low || d.value > d.high {
			return fmt.Errorf("Limits.%s: %d: want %d to %d, or 0 for the default", d.name, d.value, d.low, d.high)
		}
	}
	return nil
}

func (m Timing) withDefaults() Timing {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&m.Handshake, 5 * time.Second}, {&m.Write, 10 * time.Second}, {&m.Idle, 15 * time.Second}, {&m.MaxRedial, time.Second}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if m.KeepAlive == 0 {
		m.KeepAlive = m.Idle / 3
	}
	if m.Probe == 0 {
		m.Probe = min(time.Second, m.Handshake/2)
	}
	return m
}

func (m Timing) check() error {
	for _, d := range []struct {
		name             string
		value, low, high time.Duration
	}{
		{"Handshake", m.Handshake, 2 * time.Millisecond, time.Hour}, {"Write", m.Write, time.Millisecond, time.Hour},
		{"Idle", m.Idle, 3 * time.Millisecond, time.Hour}, {"KeepAlive", m.KeepAlive, time.Millisecond, m.Idle / 2},
		{"MaxRedial", m.MaxRedial, time.Millisecond, time.Hour}, {"Probe", m.Probe, time.Millisecond, m.Handshake - 1},
	} {
		if d.value < d.low || d.value > d.high {
			return fmt.Errorf("Timing.%s: %v: want %v to %v, or 0 for the default", d.name, d.value, d.low, d.high)
		}
	}
	return nil
}

// maxPeers bounds the other members: as many as two configurations have, each with 64 acceptors and 1,024 learners.
const maxPeers = 2 * (paxos.MaxAcceptors + 1024)

// maxAddr is more than the bytes of any address that can be dialed.
const maxAddr = 512

// check returns an error that names the field that is wrong; the defaults are filled in.
func (c Config) check() error {
	switch {
	case c.ID == 0:
		return errors.New("Config.ID: 0 is not a valid ServerID")
	case c.Members.Cluster == "" || len(c.Members.Cluster) > paxos.MaxName || !utf8.ValidString(c.Members.Cluster):
		return fmt.Errorf("Config.Members.Cluster: %q: want 1 to %d bytes of UTF-8", c.Members.Cluster, paxos.MaxName)
	case !isMember(c.Members, c.ID):
		return fmt.Errorf("Config.ID: server %d is not in Config.Members", c.ID)
	case isMember(c.Members, 0):
		return errors.New("Config.Members: 0 is not a valid ServerID")
	case len(c.Members.Acceptors)+len(c.Members.Learners) > maxPeers:
		return fmt.Errorf("Config.Members: %d servers: want at most %d", len(c.Members.Acceptors)+len(c.Members.Learners), maxPeers)
	case c.Addr == "" && c.Listener == nil:
		return errors.New("Config.Addr: empty, and Config.Listener is nil")
	case c.Addr != "" && c.Listener != nil:
		return errors.New("Config.Addr: given, and Config.Listener too")
	case c.TLS == nil && !c.Plain:
		return errors.New("Config.TLS: nil: give it, or choose Config.Plain, with which whoever reaches the port can speak as any server")
	case c.TLS != nil && c.Plain:
		return errors.New("Config.Plain: true, and Config.TLS is given too")
	}
	for _, id := range slices.Sorted(maps.Keys(c.Peers)) {
		if err := checkPeer(c.Members, c.ID, id); err != nil {
			return fmt.Errorf("Config.Peers: %w", err)
		}
		if err := checkAddr(c.Peers[id]); err != nil {
			return fmt.Errorf("Config.Peers: server %d: %w", id, err)
		}
	}
	if err := c.Limits.check(); err != nil {
		return fmt.Errorf("Config.%w", err)
	}
	if err := c.Timing.check(); err != nil {
		return fmt.Errorf("Config.%w", err)
	}
	if c.TLS != nil {
		if err := checkTLS(c.TLS); err != nil {
			return fmt.Errorf("Config.%w", err)
		}
	}
	return nil
}

// checkPeer returns an error unless a peer with that ID can have an address.
func checkPeer(m paxos.Members, self, id paxos.ServerID) error {
	switch {
	case id == self:
		return fmt.Errorf("server %d is this one", id)
	case !isMember(m, id):
		return fmt.Errorf("server %d is not in Config.Members", id)
	}
	return nil
}

// checkAddr returns an error unless addr has a host and a port, so that it can be dialed. Each dial finds out whether the host exists.
func checkAddr(addr string) error {
	if err := checkHostPort(addr); err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(addr)
	if _, err := strconv.Atoi(port); err != nil { // it may be the name of a service
		if _, err := net.LookupPort("tcp", port); err != nil {
			return badAddr(addr, "its port is neither a number nor a service that this machine knows")
		}
	}
	return nil
}

func badAddr(addr, why string) error {
	return fmt.Errorf("address %q: %s: want \"host:port\", as in \"two.example:7000\"", addr, why)
}

// checkHostPort is checkAddr without a look at the services that this machine knows: a dial does that.
func checkHostPort(addr string) error {
	wrong := func(why string) error { return badAddr(addr, why) }
	host, port, err := net.SplitHostPort(addr)
	var bad *net.AddrError
	switch {
	case addr == "":
		return wrong("it is empty")
	case errors.As(err, &bad):
		return wrong(bad.Err)
	case err != nil:
		return wrong(err.Error())
	case host == "":
		return wrong("it has no host")
	case strings.ContainsFunc(host, func(c rune) bool { return c <= ' ' || c == 0x7f || strings.ContainsRune("/,;@[]", c) }):
		return wrong("its host has a character that is not allowed there")
	case port == "":
		return wrong("it has no port")
	}
	if n, err := strconv.Atoi(port); err == nil && (n < 1 || n > 65535) {
		return wrong("its port is not in 1 to 65535")
	}
	return nil
}

func isMember(m paxos.Members, id paxos.ServerID) bool {
	return slices.Contains(m.Acceptors, id) || slices.Contains(m.Learners, id)
}
