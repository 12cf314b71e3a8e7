package paxostest_test

import (
	"context"
	"fmt"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/paxostest"
)

// The accept of server 1 reaches server 3 alone, then server 1 fails. The others finish what it began.
func ExampleSim() {
	s := paxostest.NewSim(paxostest.SimConfig{Servers: 3})
	s.Drop(paxostest.Match{From: 1, To: 2, Kind: paxos.KindAccept})
	s.Propose(1, "lunch", "burger")
	s.Until("server 3 has voted", func() bool {
		return s.Sent(paxostest.Match{From: 3, Kind: paxos.KindAccepted}) > 0
	})
	s.Crash(1)
	s.Run()

	pizza := s.Propose(2, "lunch", "pizza")
	s.Run()
	fmt.Println(pizza)
	// Output: propose "pizza" on server 2 returned "burger", chosen in ballot 2.2
}

// The seed decides the faults, and the calls during them.
func ExampleChaos() {
	for seed := range uint64(100) {
		c := paxostest.NewChaos(seed)
		if r := c.Run(false); r.Err != nil {
			short := c.Shrink() // as little of it as still fails
			r = short.Run(true)
			fmt.Println(short, r.Err, r.Sim.Draw())
		}
	}
	fmt.Println("nothing was broken")
	// Output: nothing was broken
}

// A service is tested on a bad network, with storages that crash. In a synctest bubble the times below cost nothing.
func ExampleNetwork() {
	network := paxostest.NewNetwork(paxostest.NetworkConfig{Seed: 1, Loss: 0.1, Delay: time.Millisecond, Jitter: time.Millisecond})
	members := paxos.Members{Cluster: "test", Acceptors: []paxos.ServerID{1, 2, 3}}
	stores := map[paxos.ServerID]*paxostest.CrashStorage{}
	start := func(id paxos.ServerID) *node.Node {
		n, err := node.Start(context.Background(), node.Config{ID: id, Members: members, Storage: stores[id], Transport: network.Join(id)})
		if err != nil {
			panic(err)
		}
		return n
	}
	nodes := map[paxos.ServerID]*node.Node{}
	for _, id := range members.Acceptors {
		stores[id] = paxostest.NewCrashStorage()
		if err := paxos.Format(stores[id], id, members); err != nil {
			panic(err)
		}
		nodes[id] = start(id)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	d, err := nodes[1].Propose(ctx, "lunch", "burger")
	fmt.Println(string(d.Value), err)

	stores[1] = stores[1].Crash() // the power goes
	nodes[1].Close()
	nodes[1] = start(1)
	d, err = nodes[1].Propose(ctx, "lunch", "pizza")
	fmt.Println(string(d.Value), err)
	for _, n := range nodes {
		n.Close()
	}
	// Output:
	// burger <nil>
	// burger <nil>
}
