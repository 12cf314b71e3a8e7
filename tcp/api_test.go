package tcp_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/tcp"
)

// The names and signatures that programs outside the repository compile against.
var (
	_ paxos.SizedTransport                                        = (*tcp.Transport)(nil)
	_ paxos.IDTransport                                           = (*tcp.Transport)(nil)
	_ paxos.ReachTransport                                        = (*tcp.Transport)(nil)
	_ func(tcp.Config) (*tcp.Transport, error)                    = tcp.Listen
	_ func(*tcp.Transport, paxos.Packet)                          = (*tcp.Transport).Send
	_ func(*tcp.Transport, context.Context) (paxos.Packet, error) = (*tcp.Transport).Receive
	_ func(*tcp.Transport) net.Addr                               = (*tcp.Transport).Addr
	_ func(*tcp.Transport, paxos.ServerID, string) error          = (*tcp.Transport).SetAddr
	_ func(*tcp.Transport, paxos.ServerID, string)                = (*tcp.Transport).Reach
	_ func(*tcp.Transport, *tls.Config) error                     = (*tcp.Transport).SetTLS
	_ func(*tcp.Transport) tcp.Stats                              = (*tcp.Transport).Stats
	_ func(*tcp.Transport) error                                  = (*tcp.Transport).Close
	_ func(cluster string, id paxos.ServerID) *url.URL            = tcp.Identity
	_ func(*x509.Certificate, string, paxos.ServerID) error       = tcp.CheckIdentity

	_ = tcp.Config{ID: 1, Members: paxos.Members{}, Addr: "", Listener: net.Listener(nil), Peers: map[paxos.ServerID]string{},
		TLS: &tls.Config{}, Plain: false, Limits: tcp.Limits{}, Timing: tcp.Timing{}, Logger: (*slog.Logger)(nil)}
	_ = tcp.Limits{MaxFrame: 0, QueueBytes: 0, QueuePackets: 0, Pending: 0}
	_ = tcp.Timing{Handshake: time.Duration(0), Write: 0, KeepAlive: 0, Idle: 0, MaxRedial: 0, Probe: 0}
	_ = tcp.Stats{Sent: uint64(0), Refused: map[tcp.Reason]uint64{tcp.ReasonCluster: 1}, Peers: []tcp.Peer{{ID: 1, Addr: "", Out: true, In: true, Err: ""}}}
)

// Two servers on one machine. On several, TLS takes the place of Plain, and the addresses are known beforehand.
func ExampleListen() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	members := paxos.Members{Cluster: "example", Acceptors: []paxos.ServerID{1, 2}}
	var nets []*tcp.Transport
	for _, id := range members.Acceptors {
		t, err := tcp.Listen(tcp.Config{ID: id, Members: members, Addr: "127.0.0.1:0", Plain: true})
		if err != nil {
			panic(err)
		}
		defer t.Close()
		nets = append(nets, t)
	}
	nets[0].SetAddr(2, nets[1].Addr().String())
	nets[1].SetAddr(1, nets[0].Addr().String())

	var nodes []*node.Node
	for i, id := range members.Acceptors {
		storage := memory.NewStorage()
		if err := paxos.Format(storage, id, members); err != nil {
			panic(err)
		}
		n, err := node.Start(ctx, node.Config{ID: id, Members: members, Storage: storage, Transport: nets[i]})
		if err != nil {
			panic(err)
		}
		defer n.Close()
		nodes = append(nodes, n)
	}
	first, err := nodes[0].Propose(ctx, "lunch", "burger")
	if err != nil {
		panic(err)
	}
	second, err := nodes[1].Propose(ctx, "lunch", "pizza")
	if err != nil {
		panic(err)
	}
	fmt.Println(first.Value, second.Value)
	// Output: burger burger
}

func ExampleIdentity() {
	fmt.Println(tcp.Identity("prod", 3))
	fmt.Println(tcp.Identity("my cluster", 3))
	// Output:
	// paxos:prod/3
	// paxos:my%20cluster/3
}

// A certificate of server 3 is not one of server 1, and the error says whose it is.
func ExampleCheckIdentity() {
	c := &x509.Certificate{URIs: []*url.URL{tcp.Identity("prod", 3)}}
	fmt.Println(tcp.CheckIdentity(c, "prod", 3))
	fmt.Println(tcp.CheckIdentity(c, "prod", 1) != nil)
	// Output:
	// <nil>
	// true
}

// Server 3 comes later. From Reach on, the others talk to it, and let it in.
func ExampleTransport_Reach() {
	members := paxos.Members{Cluster: "example", Acceptors: []paxos.ServerID{1, 2}}
	t, err := tcp.Listen(tcp.Config{ID: 1, Members: members, Addr: "127.0.0.1:0", Plain: true})
	if err != nil {
		panic(err)
	}
	defer t.Close()
	t.Reach(3, "127.0.0.1:7003")
	for _, p := range t.Stats().Peers {
		fmt.Printf("server %d at %q\n", p.ID, p.Addr)
	}
	t.Reach(2, "") // it has left
	fmt.Println(len(t.Stats().Peers), "other member")
	// Output:
	// server 2 at ""
	// server 3 at "127.0.0.1:7003"
	// 1 other member
}
