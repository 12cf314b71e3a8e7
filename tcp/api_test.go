package tcp_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/tcp"
)

// The names and signatures that programs outside the repository compile against.
var (
	_ paxos.Transport                                             = (*tcp.Transport)(nil)
	_ func(tcp.Config) (*tcp.Transport, error)                    = tcp.Listen
	_ func(*tcp.Transport, paxos.Packet)                          = (*tcp.Transport).Send
	_ func(*tcp.Transport, context.Context) (paxos.Packet, error) = (*tcp.Transport).Receive
	_ func(*tcp.Transport) net.Addr                               = (*tcp.Transport).Addr
	_ func(*tcp.Transport, paxos.ServerID, string) error          = (*tcp.Transport).SetAddr
	_ func(*tcp.Transport, *tls.Config) error                     = (*tcp.Transport).SetTLS
	_ func(*tcp.Transport) tcp.Stats                              = (*tcp.Transport).Stats
	_ func(*tcp.Transport) error                                  = (*tcp.Transport).Close
	_ func(cluster string, id paxos.ServerID) *url.URL            = tcp.Identity

	_ = tcp.Config{ID: 1, Members: paxos.Members{}, Addr: "", Listener: net.Listener(nil), Peers: map[paxos.ServerID]string{},
		TLS: &tls.Config{}, Plain: false, Limits: tcp.Limits{}, Timing: tcp.Timing{}, Logger: (*slog.Logger)(nil)}
	_ = tcp.Limits{MaxFrame: 0, QueueBytes: 0, QueuePackets: 0, Pending: 0}
	_ = tcp.Timing{Handshake: time.Duration(0), Write: 0, KeepAlive: 0, Idle: 0, MaxRedial: 0, Probe: 0}
	_ = tcp.Stats{Sent: uint64(0), Refused: map[tcp.Reason]uint64{tcp.ReasonCluster: 1}, Peers: []tcp.Peer{{ID: 1, Addr: "", Out: true, In: true, Err: ""}}}
)

func ExampleIdentity() {
	fmt.Println(tcp.Identity("prod", 3))
	fmt.Println(tcp.Identity("my cluster", 3))
	// Output:
	// paxos:prod/3
	// paxos:my%20cluster/3
}
