package memory_test

import (
	"context"
	"fmt"
	"log"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
)

// Five servers vote, and a sixth one only learns.
func ExampleCluster() {
	nodes, stop, err := memory.Cluster(memory.Config{
		Members: paxos.Members{Acceptors: []paxos.ServerID{1, 2, 3, 4, 5}, Learners: []paxos.ServerID{9}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	ctx := context.Background()
	if _, err := nodes[4].Propose(ctx, "lunch", "burger"); err != nil {
		log.Fatal(err)
	}
	learner := nodes[5]
	d, err := learner.Wait(ctx, "lunch")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(learner.Status().ID, d.Value)
	// Output: 9 burger
}

// A server of one's own stands on a storage and joins a network.
func ExampleNewNetwork() {
	members := paxos.Members{Cluster: "lunch", Acceptors: []paxos.ServerID{1, 2}}
	network := memory.NewNetwork()
	var nodes []*node.Node
	for _, id := range members.Acceptors {
		storage := memory.NewStorage()
		if err := paxos.Format(storage, id, members); err != nil {
			log.Fatal(err)
		}
		n, err := node.Start(context.Background(), node.Config{ID: id, Members: members, Storage: storage, Transport: network.Join(id)})
		if err != nil {
			log.Fatal(err)
		}
		defer n.Close()
		nodes = append(nodes, n)
	}
	d, err := nodes[1].Propose(context.Background(), "lunch", "pizza")
	fmt.Println(d.Value, err)
	// Output: pizza <nil>
}

// A storage outlives its Node, as a disk does. A second start finds what the first one has decided.
func ExampleNewStorage() {
	members := paxos.Members{Cluster: "lunch", Acceptors: []paxos.ServerID{1}}
	storage, network := memory.NewStorage(), memory.NewNetwork()
	if err := paxos.Format(storage, 1, members); err != nil {
		log.Fatal(err)
	}
	for _, value := range []paxos.Value{"burger", "pizza"} {
		n, err := node.Start(context.Background(), node.Config{ID: 1, Members: members, Storage: storage, Transport: network.Join(1)})
		if err != nil {
			log.Fatal(err)
		}
		d, err := n.Propose(context.Background(), "lunch", value)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("start", n.Status().Boot, d.Value)
		n.Close()
	}
	// Output:
	// start 1 burger
	// start 2 burger
}
