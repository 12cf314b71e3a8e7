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
	nodes, stop, err := memory.Cluster(3)
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

// Two workers claim a job. With equal bytes, both find their value chosen. With a nonce in the value, only one does.
func ExampleNode_Propose() {
	nodes, stop, err := memory.Cluster(3)
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	ctx := context.Background()
	claim := func(job string, values ...paxos.Value) (winners int) {
		for i, v := range values {
			d, err := nodes[i].Propose(ctx, job, v)
			if err != nil {
				log.Fatal(err) // after which a worker would offer the same value again
			}
			if d.Value == v {
				winners++
			}
		}
		return winners
	}
	fmt.Println(claim("job 6", "worker", "worker"), "claim job 6")
	own := func() paxos.Value { return paxos.Value("worker " + rand.Text()) }
	fmt.Println(claim("job 7", own(), own()), "claims job 7")
	// Output:
	// 2 claim job 6
	// 1 claims job 7
}

func ExampleStart() {
	members := paxos.Members{Cluster: "shop", Acceptors: []paxos.ServerID{1}}
	storage, network := memory.NewStorage(), memory.NewNetwork()
	if err := paxos.Format(storage, 1, members); err != nil { // once in a server's life
		log.Fatal(err)
	}
	server, err := node.Start(context.Background(), node.Config{
		ID: 1, Members: members, Storage: storage, Transport: network.Join(1),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	d, err := server.Propose(context.Background(), "config 7", "")
	fmt.Printf("%q in ballot %s, %v\n", d.Value, d.Ballot, err)
	// Output: "" in ballot 1.1, <nil>
}

func ExampleNode_Mint() {
	nodes, stop, err := memory.Cluster(3)
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	ctx := context.Background()
	ticket, err := nodes[0].Mint("ticket") // a fresh name, of this server
	if err != nil {
		log.Fatal(err)
	}
	d, err := nodes[0].Propose(ctx, ticket, "Ada") // one round trip, where others take two
	if err != nil {
		log.Fatal(err)
	}
	late, err := nodes[1].Propose(ctx, ticket, "Bob") // anyone may propose; that takes two
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ticket, d.Value, late.Value)
	// Output: $1.1.1/ticket Ada Ada
}

func ExampleOwned() {
	nodes, stop, err := memory.Cluster(3)
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

func ExampleNode_Decisions() {
	nodes, stop, err := memory.Cluster(3)
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	ctx := context.Background()
	for _, job := range []string{"job 1", "job 2"} {
		if _, err := nodes[0].Propose(ctx, job, "server 1"); err != nil {
			log.Fatal(err)
		}
	}
	for learned, err := range nodes[0].Decisions(ctx, 0) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(learned.Index, learned.Instance, learned.Value)
		if learned.Index == 2 {
			break
		}
	}
	// Output:
	// 1 job 1 server 1
	// 2 job 2 server 1
}

func ExampleCheckQuorum() {
	_, err := paxos.Flexible(4, 2, 2)
	fmt.Println(err)
	// Output: paxos: quorum flexible(4,2,2): phase-1 quorum {0, 1} and phase-2 quorum {2, 3} do not meet, so two values could be chosen
}

func ExampleUnknown() {
	nodes, stop, err := memory.Cluster(3)
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
