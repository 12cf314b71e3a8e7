package node_test

import (
	"context"
	"crypto/rand"
	"errors"
	"expvar"
	"fmt"
	"log"
	"strings"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
)

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

// Two workers claim a job. With equal bytes, both find their value chosen. With a nonce in the value, only one does.
func ExampleNode_Propose() {
	nodes, stop, err := memory.Cluster(memory.Config{})
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

func ExampleNode_Mint() {
	nodes, stop, err := memory.Cluster(memory.Config{})
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

func ExampleNode_Decisions() {
	nodes, stop, err := memory.Cluster(memory.Config{})
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

// Old decisions are forgotten together, by the beginning of their names. Such a name is never decided again.
func ExampleNode_Forget() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	ctx := context.Background()
	for _, name := range []string{"job/2026-10/1", "job/2026-10/2", "job/2026-11/1"} {
		if _, err := nodes[0].Propose(ctx, name, "done"); err != nil {
			log.Fatal(err)
		}
	}
	if err := nodes[1].Forget(ctx, paxos.Prefix("job/2026-10/")); err != nil {
		log.Fatal(err)
	}
	_, err = nodes[1].Propose(ctx, "job/2026-10/1", "again")
	fmt.Println(errors.Is(err, paxos.ErrForgotten))
	november, err := nodes[2].Propose(ctx, "job/2026-11/1", "again")
	fmt.Println(november.Value, err)
	// Output:
	// true
	// done <nil>
}

// One line publishes the numbers of a server beside those of the program, at /debug/vars.
func ExampleNode_Metrics() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	server := nodes[0]
	if expvar.Get("paxos") == nil { // once in the life of a program
		expvar.Publish("paxos", expvar.Func(func() any { return server.Metrics() }))
	}
	if _, err := server.Propose(context.Background(), "lunch", "burger"); err != nil {
		log.Fatal(err)
	}
	m := server.Metrics()
	fmt.Println(m.Running, m.Counters.Decided, m.Open)
	fmt.Println(strings.Contains(expvar.Get("paxos").String(), `"no_quorum":0`))
	// Output:
	// true 1 0
	// true
}

// Read asks a quorum. So it sees what any server has decided before, and also knows that nothing was decided.
func ExampleNode_Read() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	ctx := context.Background()
	_, decided, err := nodes[2].Read(ctx, "lunch")
	fmt.Println(decided, err)
	if _, err := nodes[0].Propose(ctx, "lunch", "burger"); err != nil {
		log.Fatal(err)
	}
	d, decided, err := nodes[2].Read(ctx, "lunch")
	fmt.Println(decided, d.Value, err)
	// Output:
	// false <nil>
	// true burger <nil>
}

// Wait returns when this server has learned the decision. Peek then has it without a message.
func ExampleNode_Wait() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	ctx := context.Background()
	go nodes[0].Propose(ctx, "lunch", "burger")
	d, err := nodes[1].Wait(ctx, "lunch")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Value)
	// Output: burger
}

// Peek asks no other server. That it shows nothing does not mean that nothing is decided: only Read says so.
func ExampleNode_Peek() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	ctx := context.Background()
	if _, err := nodes[0].Propose(ctx, "lunch", "burger"); err != nil {
		log.Fatal(err)
	}
	d, known, err := nodes[0].Peek(ctx, "lunch")
	fmt.Println(d.Value, known, err)
	_, known, err = nodes[0].Peek(ctx, "dinner")
	fmt.Println(known, err)
	// Output:
	// burger true <nil>
	// false <nil>
}

// A service waits with Ready before it tells a balancer that it is there.
func ExampleNode_Ready() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	ctx := context.Background()
	fmt.Println(nodes[0].Ready(ctx))
	// Output: <nil>
}

// Status has the numbers and the faults of a server, for people and for alarms.
func ExampleNode_Status() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	ctx := context.Background()
	if _, err := nodes[0].Propose(ctx, "lunch", "burger"); err != nil {
		log.Fatal(err)
	}
	s := nodes[0].Status()
	fmt.Println(s.Members)
	fmt.Println("decided:", s.Counters.Decided, "no quorum for:", s.NoQuorum, "broken:", len(s.Broken))
	for _, p := range s.Peers {
		fmt.Println("server", p.ID, "votes:", p.Votes)
	}
	// Output:
	// cluster "memory", acceptors 1,2,3 majority(3)
	// decided: 1 no quorum for: 0s broken: 0
	// server 2 votes: true
	// server 3 votes: true
}

// Server 4 is a learner, and becomes an acceptor in the place of server 3. When that is settled, server 3 can be stopped for good.
func ExampleNode_Change() {
	nodes, stop, err := memory.Cluster(memory.Config{
		Members: paxos.Members{Acceptors: []paxos.ServerID{1, 2, 3}, Learners: []paxos.ServerID{4}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	ctx := context.Background()
	if err := nodes[0].Ready(ctx); err != nil {
		log.Fatal(err)
	}
	now, _ := nodes[0].Configuration()
	next := now.Members.Clone()
	next.Acceptors, next.Learners, next.Quorum = []paxos.ServerID{1, 2, 4}, nil, nil // the majority of the new ones
	c, err := nodes[0].Change(ctx, next)
	if err != nil {
		log.Fatal(err)
	}
	if err := nodes[0].Settled(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Number, c.Members.Voters())
	// Output: 1 1,2,4 majority(3)
}

// A server that traces keeps its latest events, for a drawing or a report.
func ExampleNode_Events() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	ctx := context.Background()
	nodes[0].SetTracing(true)
	if _, err := nodes[0].Propose(ctx, "lunch", "burger"); err != nil {
		log.Fatal(err)
	}
	for e := range nodes[0].Events(0) {
		if e.Kind == paxos.EventSend && e.Peer == 2 && e.Message.Instance == "lunch" {
			fmt.Println(e.Message)
			if e.Message.Kind == paxos.KindAccept {
				break
			}
		}
	}
	// Output:
	// prepare 1.1 "burger" @lunch
	// accept 1.1 "burger" @lunch
}

// Done tells that the server has stopped, and Err the reason. After Close there is none.
func ExampleNode_Done() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	ctx := context.Background()
	if err := nodes[0].Close(); err != nil {
		log.Fatal(err)
	}
	<-nodes[0].Done()
	_, err = nodes[0].Propose(ctx, "lunch", "burger")
	fmt.Println(nodes[0].Err(), errors.Is(err, paxos.ErrClosed))
	// Output: <nil> true
}
