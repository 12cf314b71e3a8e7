package paxos_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"time"

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

// Format makes a storage that of one server, once in its life. A second Format is refused.
func ExampleFormat() {
	members := paxos.Members{Cluster: "lunch", Acceptors: []paxos.ServerID{1, 2, 3}}
	storage := memory.NewStorage()
	fmt.Println(paxos.Format(storage, 1, members))
	fmt.Println(paxos.Format(storage, 2, members))
	// Output:
	// <nil>
	// paxos: format: the storage belongs to server 1 of cluster "lunch" already
}

func ExampleMajority() {
	q := paxos.Majority(5)
	fmt.Println(q, "-", paxos.QuorumNeeds(q, true))
	// Output: majority(5) - majority(5) needs 3
}

// Decisions that have begun need two servers of four. To begin a ballot takes three.
func ExampleFlexible() {
	q, err := paxos.Flexible(4, 3, 2)
	fmt.Println(paxos.QuorumNeeds(q, false), err)
	fmt.Println(paxos.QuorumNeeds(q, true))
	// Output:
	// flexible(4,3,2) needs 3 <nil>
	// flexible(4,3,2) needs 2
}

// The second server counts twice: it and one other are a quorum of these four.
func ExampleWeighted() {
	q, err := paxos.Weighted([]int{1, 2, 1, 1})
	fmt.Println(q, err)
	fmt.Println(q.Phase2(paxos.Set(0).With(0).With(1)), q.Phase2(paxos.Set(0).With(0).With(2)))
	// Output:
	// weighted(1,2,1,1) <nil>
	// true false
}

// Six servers in two rows: a row promises, and a column votes.
func ExampleGrid() {
	q, err := paxos.Grid(2, 3)
	fmt.Println(q, err)
	fmt.Println("a row:", q.Phase1(paxos.Set(0).With(0).With(1).With(2)))
	fmt.Println("a column:", q.Phase2(paxos.Set(0).With(0).With(3)))
	// Output:
	// grid(2,3) <nil>
	// a row: true
	// a column: true
}

func ExamplePrefix() {
	october := paxos.Prefix("job/2026-10/")
	fmt.Println(october.Has("job/2026-10/17"), october.Has("job/2026-11/1"))
	fmt.Println(october.Covers(paxos.OneName("job/2026-10/17")))
	// Output:
	// true false
	// true
}

func ExampleOwnerOf() {
	owner, ok := paxos.OwnerOf(paxos.Owned(1, "shift 42"))
	fmt.Println(owner.Server, ok)
	_, ok = paxos.OwnerOf("shift 42")
	fmt.Println(ok)
	// Output:
	// 1 true
	// false
}

// An error tells how far the call came: here the silent servers, and that the value may be chosen all the same.
func ExampleOpError() {
	members := paxos.Members{Cluster: "lunch", Acceptors: []paxos.ServerID{1, 2, 3}}
	storage := memory.NewStorage()
	if err := paxos.Format(storage, 1, members); err != nil {
		log.Fatal(err)
	}
	alone, err := node.Start(context.Background(), node.Config{ID: 1, Members: members, Storage: storage, Transport: memory.NewNetwork().Join(1)})
	if err != nil {
		log.Fatal(err)
	}
	defer alone.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	_, err = alone.Propose(ctx, "lunch", "burger")
	var op *paxos.OpError
	if errors.As(err, &op) {
		fmt.Println(op.Op, op.Instance, op.Phase, "silent:", op.Silent, "unknown:", op.Unknown())
	}
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	// Output:
	// propose lunch prepare silent: [2 3] unknown: true
	// true
}

// The roles of the paper are plain values. Here two of three acceptors are enough, and the third one is never asked.
func ExampleProposer() {
	q := paxos.Majority(3)
	acceptors := make([]paxos.Acceptor, 3)
	proposer := paxos.NewProposer(paxos.Ballot{Round: 1, Server: 1}, "burger", q)
	learner := paxos.NewLearner(q)

	ask := proposer.Prepare()
	for range 2 { // phase 1, and phase 2
		var next paxos.Message
		for i := range 2 {
			a, reply, err := acceptors[i].Step(ask)
			if err != nil {
				log.Fatal(err)
			}
			acceptors[i] = a // durable before the reply leaves
			fmt.Println(ask.Kind, "->", reply.Kind)
			p, out, err := proposer.Step(i, reply)
			if err != nil {
				log.Fatal(err)
			}
			proposer = p
			if out.Kind != 0 {
				next = out
			}
			if learner, err = learner.Step(i, a.Accepted, a.Value); err != nil {
				log.Fatal(err)
			}
		}
		ask = next
	}
	fmt.Println(learner.Chosen())
	// Output:
	// prepare -> promise
	// prepare -> promise
	// accept -> accepted
	// accept -> accepted
	// burger true
}
