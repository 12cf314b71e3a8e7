package paxos_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"log"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/tcp"
	"github.com/singledecree/paxos/wal"
)

func Example() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()

	ctx := context.Background()
	first, err := nodes[0].Propose(ctx, "lunch", "burger")
	if err != nil {
		log.Fatal(err)
	}
	second, err := nodes[1].Propose(ctx, "lunch", "pizza") // too late: the answer is what was chosen
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(first.Value, second.Value)
	// Output: burger burger
}

// A server on disk and over TCP. It needs certificates and the addresses of the others, so it is compiled and not run.
func Example_server() {
	var (
		ctx    = context.Background()
		peers  map[paxos.ServerID]string // "host:port" of servers 2 and 3
		config *tls.Config               // from package tcp/certs
	)

	members := paxos.Members{Cluster: "lunch", Acceptors: []paxos.ServerID{1, 2, 3}}
	storage, err := wal.Open("data", wal.Options{}) // wal.Create made it, once in the life of the server
	if err != nil {
		log.Fatal(err)
	}
	defer storage.Close()
	transport, err := tcp.Listen(tcp.Config{ID: 1, Members: members, Addr: ":7000", Peers: peers, TLS: config})
	if err != nil {
		log.Fatal(err)
	}
	defer transport.Close()
	server, err := node.Start(ctx, node.Config{ID: 1, Members: members, Storage: storage, Transport: transport})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
}

func ExampleOwned() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	shift := paxos.Owned(1, "shift 42") // server 1 opens the shifts
	d, err := nodes[0].Propose(context.Background(), shift, "open")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(shift, d.Value, d.Ballot)
	// Output: $1/shift 42 open 0.1
}

func ExampleCheckQuorum() {
	_, err := paxos.Flexible(4, 2, 2)
	fmt.Println(err)
	// Output: paxos: quorum flexible(4,2,2): phase-1 quorum {0, 1} and phase-2 quorum {2, 3} do not meet, so two values could be chosen
}

func ExampleUnknown() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	stop()
	_, err = nodes[0].Propose(context.Background(), "lunch", "burger")
	fmt.Println(err)
	fmt.Println("may it have been chosen?", paxos.Unknown(err))
	// Output:
	// paxos: propose "lunch": server is closed
	// may it have been chosen? false
}

// Typed values are JSON. Same tells whether the own bytes were chosen; the nonce makes them different from those of others.
func ExampleTypedOf() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()

	type config struct {
		Debug bool   `json:"debug"`
		Nonce string `json:"nonce"`
	}
	for _, server := range nodes[:2] {
		configs := paxos.TypedOf[config](server)
		d, err := configs.Propose(context.Background(), "config/7", config{Debug: true, Nonce: rand.Text()})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(d.Content.Debug, d.Same)
	}
	// Output:
	// true true
	// true false
}
