// Package grpc carries the packets of a cluster over gRPC, with mutual TLS. Use it if your servers have a grpc.Server already, and its port is the
// one that is open. Otherwise use package tcp, which needs no other module. Its [Transport] is a [paxos.Transport].
//
//	t, err := grpc.New(grpc.Config{ID: 1, Members: members, TLS: config,
//		Peers: map[paxos.ServerID]string{2: "two.example:443", 3: "three.example:443"}})
//	t.Register(server) // a grpc.Server of your own, before its Serve
//	n, err := node.Start(ctx, node.Config{ID: 1, Members: members, Storage: storage, Transport: t})
//	…
//	n.Close()
//	t.Close()
//	server.GracefulStop()
//
// # Streams
//
// Each server opens one stream to each of the others, and sends on the one that it opened. A stream that ends is opened again, after a random
// wait that doubles. [Transport.Send] encodes a packet into the queue of its receiver, and never waits. A full queue drops its oldest packet. While
// no [Transport.Receive] is called, nothing is read: the flow control of HTTP/2 then holds back the sender.
//
// # Identity
//
// The host's grpc.Server has to ask its clients for certificates, at least with tls.VerifyClientCertIfGiven. It may serve other clients as well.
// For each stream the Transport verifies the certificate of the client by itself, with the authorities in Config.TLS. The certificate must name the
// server: see tcp.Identity. A Packet with another From ends its stream.
//
// The certificate of a grpc.Server has to name its server in the same way, unless [Config].HostNames is set.
//
// At most one process at a time is accepted as a server. A second process is refused while the first one answers.
//
// # Options of the host
//
// The defaults of a grpc.Server fit. These options matter:
//
//   - grpc.MaxRecvMsgSize must be at least 64 KiB. A larger packet is cut into messages of that size, so [Limits].MaxPacket may be larger.
//   - grpc.ForceServerCodec and ForceServerCodecV2 do not fit: they take the codec from this stream too. Each stream then ends with an error such as
//     "message is *grpc.message". Register your codec with encoding.RegisterCodecV2 instead. The codec of this stream is "paxos-bytes".
//   - keepalive.ServerParameters may end connections by their age. Packets under way are lost, and the stream is opened again. The other
//     parameters change nothing: each side sends a sign of life every [Timing].KeepAlive, as a message. HTTP/2 pings are sent only if
//     Config.DialOptions ask for them, so no enforcement policy of a host is broken.
//   - grpc.MaxConcurrentStreams and NumStreamWorkers may be 1 and more: each server has one stream here, on a connection of its own.
//
// Interceptors of the host see the stream "/paxos.Transport/Packets". An interceptor that demands a token has to let it pass, or gets the token
// from Config.DialOptions. An interceptor with a timeout for each call ends the stream each time.
//
// # Closing
//
// Close the Transport first. Its streams do not end by themselves, so GracefulStop waits for the Transport. Stop may come at any time.
package grpc

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"time"
	"unicode/utf8"

	rpc "google.golang.org/grpc"

	"github.com/singledecree/paxos"
)

// A Config says which server a [Transport] is for, and where the others are. ID, Members, and one of TLS and Plain are required. The zero value
// of every other field means its default.
type Config struct {
	// ID is this server.
	ID paxos.ServerID
	// Members is the cluster. Only its acceptors and learners may open streams, until [Transport.Reach] adds or removes some.
	Members paxos.Members
	// Peers are the addresses of other servers, "host:port". Packets to a server without an address are dropped and counted, until Reach gives
	// it.
	Peers map[paxos.ServerID]string
	// TLS has the certificate that this server shows when it dials. RootCAs has the authorities of the servers that it dials. ClientCAs has those
	// of the servers that open streams; nil means RootCAs. TLS is copied. The host's grpc.Server has a configuration of its own.
	TLS *tls.Config
	// HostNames makes a dial verify the host name in the certificate of the other grpc.Server, as a browser does. By default the certificate must
	// name the server: see tcp.Identity. Either way only the owner of a client certificate can send.
	HostNames bool
	// Plain chooses gRPC without TLS and without identity. Anybody with access to the port can then speak as any server.
	Plain bool
	// DialOptions are added to those of each dial, for example for a token that an interceptor of the host wants.
	DialOptions []rpc.DialOption
	Limits      Limits
	Timing      Timing
	// Logger gets what an operator should know: streams opened and lost, and refusals. A line about the same server comes every 10 s at most. Nil:
	// nothing is logged. Its keys are cluster, server, peer, addr, lines and err. A goroutine of its own calls it.
	Logger *slog.Logger
}

// Limits bounds what a [Transport] holds. A zero field means its default.
type Limits struct {
	// MaxPacket is the largest size of an encoded Packet, in bytes. The default is 4 MiB + 64 KiB, and 64 MiB the most. Each side tells its own;
	// the sender drops and counts a larger packet. The host's limit of messages does not matter, as long as it is at least 64 KiB.
	MaxPacket int
	// QueueBytes and QueuePackets are how much may wait for one peer. The defaults are 16 MiB, or twice MaxPacket if that is more, and 16,384
	// packets. For a peer that is not connected, at most 1 MiB or one packet waits.
	QueueBytes, QueuePackets int
}

// Timing holds the durations of a [Transport]. A zero field means its default.
type Timing struct {
	// Handshake bounds a dial, until the other server has welcomed the stream. The default is 5 s.
	Handshake time.Duration
	// KeepAlive is how often each side says that it lives. The default is a third of Idle.
	KeepAlive time.Duration
	// Idle is how long either side waits for a sign of life. The default is 15 s. It must be at least twice the KeepAlive of the others.
	Idle time.Duration
	// MaxRedial bounds the random wait after a stream that ended. The wait begins at 50 ms and doubles. The default is 1 s.
	MaxRedial time.Duration
	// Probe is how long a connected process has to answer, when another process wants to connect as the same server. The default is 1 s, or half
	// of Handshake if that is less.
	Probe time.Duration
}

func (c Config) withDefaults() Config {
	l, m := &c.Limits, &c.Timing
	orElse(&l.MaxPacket, 4<<20+64<<10)
	orElse(&l.QueueBytes, max(16<<20, 2*l.MaxPacket))
	orElse(&l.QueuePackets, 16384)
	orElse(&m.Handshake, 5*time.Second)
	orElse(&m.Idle, 15*time.Second)
	orElse(&m.KeepAlive, m.Idle/3)
	orElse(&m.MaxRedial, time.Second)
	orElse(&m.Probe, min(time.Second, m.Handshake/2))
	return c
}

func orElse[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// maxPeers bounds the other members: as many as two configurations have, each with 64 acceptors and 1,024 learners.
const maxPeers = 2 * (paxos.MaxAcceptors + 1024)

// check returns an error that names the field that is wrong; the defaults are filled in.
func (c Config) check() error {
	members := slices.Concat(c.Members.Acceptors, c.Members.Learners)
	switch {
	case c.ID == 0:
		return errors.New("Config.ID: 0 is not a valid ServerID")
	case c.Members.Cluster == "" || len(c.Members.Cluster) > paxos.MaxName || !utf8.ValidString(c.Members.Cluster):
		return fmt.Errorf("Config.Members.Cluster: %q: want 1 to %d bytes of UTF-8", c.Members.Cluster, paxos.MaxName)
	case !slices.Contains(members, c.ID):
		return fmt.Errorf("Config.ID: server %d is not in Config.Members", c.ID)
	case slices.Contains(members, 0):
		return errors.New("Config.Members: 0 is not a valid ServerID")
	case len(members) > maxPeers:
		return fmt.Errorf("Config.Members: %d servers: want at most %d", len(members), maxPeers)
	case c.TLS == nil && !c.Plain:
		return errors.New("Config.TLS: nil: give it, or choose Config.Plain, with which whoever reaches the port can speak as any server")
	case c.TLS != nil && c.Plain:
		return errors.New("Config.Plain: true, and Config.TLS is given too")
	}
	for _, id := range slices.Sorted(maps.Keys(c.Peers)) {
		_, _, err := net.SplitHostPort(c.Peers[id])
		switch {
		case id == c.ID:
			return fmt.Errorf("Config.Peers: server %d is this one", id)
		case !slices.Contains(members, id):
			return fmt.Errorf("Config.Peers: server %d is not in Config.Members", id)
		case err != nil:
			return fmt.Errorf("Config.Peers: server %d: %w: want \"host:port\"", id, err)
		}
	}
	if c.TLS != nil {
		if err := checkTLS(c.TLS); err != nil {
			return fmt.Errorf("Config.%w", err)
		}
	}
	return c.checkNumbers()
}

func (c Config) checkNumbers() error {
	for _, d := range []struct {
		name             string
		value, low, high int
	}{
		{"MaxPacket", c.Limits.MaxPacket, 4 << 10, 64 << 20}, {"QueueBytes", c.Limits.QueueBytes, c.Limits.MaxPacket, 1 << 30},
		{"QueuePackets", c.Limits.QueuePackets, 1, 1 << 24},
	} {
		if d.value < d.low || d.value > d.high {
			return fmt.Errorf("Config.Limits.%s: %d: want %d to %d, or 0 for the default", d.name, d.value, d.low, d.high)
		}
	}
	for _, d := range []struct {
		name             string
		value, low, high time.Duration
	}{
		{"Handshake", c.Timing.Handshake, 2 * time.Millisecond, time.Hour}, {"Idle", c.Timing.Idle, 3 * time.Millisecond, time.Hour},
		{"KeepAlive", c.Timing.KeepAlive, time.Millisecond, c.Timing.Idle / 2}, {"MaxRedial", c.Timing.MaxRedial, time.Millisecond, time.Hour},
		{"Probe", c.Timing.Probe, time.Millisecond, c.Timing.Handshake - 1},
	} {
		if d.value < d.low || d.value > d.high {
			return fmt.Errorf("Config.Timing.%s: %v: want %v to %v, or 0 for the default", d.name, d.value, d.low, d.high)
		}
	}
	return nil
}
