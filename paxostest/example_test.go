package paxostest_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
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

// The servers are in three regions. How long does a decision take, and how long when the nearest region is down?
func ExampleRegions() {
	s := paxostest.NewSim(paxostest.SimConfig{Regions: paxostest.Regions{
		Of: []string{"us-east", "us-west", "europe"}, // servers 1, 2 and 3
		RoundTrips: map[[2]string]time.Duration{
			{"us-east", "us-west"}: 67 * time.Millisecond,
			{"us-east", "europe"}:  93 * time.Millisecond,
			{"us-west", "europe"}:  141 * time.Millisecond,
		},
	}})
	show := func(c *paxostest.Call) {
		s.Until("it is decided", func() bool { return c.Ended })
		fmt.Println(c.Instance, c.Decision.Value, c.Took)
	}
	show(s.Propose(1, "lunch", "burger"))
	show(s.Propose(1, s.Mint(1, "lunch"), "burger")) // a name that server 1 owns: one round trip
	s.CrashRegion("us-west")
	show(s.Propose(1, "dinner", "soup"))
	// Output:
	// lunch burger 136ms
	// $1.1.1/lunch burger 68ms
	// dinner soup 188ms
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

// A server that nobody reaches decides nothing, and learns everything when it is reached again.
func ExampleNewNetwork() {
	network := paxostest.NewNetwork(paxostest.NetworkConfig{})
	nodes, stop, err := memory.Cluster(memory.Config{Node: func(c *node.Config) { c.Transport = network.Join(c.ID) }})
	if err != nil {
		panic(err)
	}
	defer stop()
	network.Isolate(3)
	if _, err := nodes[0].Propose(context.Background(), "lunch", "burger"); err != nil {
		panic(err)
	}
	_, known, _ := nodes[2].Peek(context.Background(), "lunch")
	fmt.Println("server 3 knows it:", known)
	network.Heal()
	d, err := nodes[2].Propose(context.Background(), "lunch", "pizza")
	fmt.Println("server 3 is told", d.Value, err)
	// Output:
	// server 3 knows it: false
	// server 3 is told burger <nil>
}

// The power goes while a server runs. All that was saved is there at the next start.
func ExampleNewCrashStorage() {
	members := paxos.Members{Cluster: "lunch", Acceptors: []paxos.ServerID{1}}
	storage := paxostest.NewCrashStorage()
	if err := paxos.Format(storage, 1, members); err != nil {
		panic(err)
	}
	start := func() *node.Node {
		n, err := node.Start(context.Background(), node.Config{ID: 1, Members: members, Storage: storage, Transport: memory.NewNetwork().Join(1)})
		if err != nil {
			panic(err)
		}
		return n
	}
	first := start()
	if _, err := first.Propose(context.Background(), "lunch", "burger"); err != nil {
		panic(err)
	}
	before := storage
	storage = storage.Crash()
	fmt.Println(errors.Is(before.Save(paxos.Batch{}), paxostest.ErrCrashed))
	first.Close()
	second := start()
	defer second.Close()
	d, err := second.Propose(context.Background(), "lunch", "pizza")
	fmt.Println(d.Value, err)
	// Output:
	// true
	// burger <nil>
}
