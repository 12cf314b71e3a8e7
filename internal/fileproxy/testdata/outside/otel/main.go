// Otel decides one name on a server that tells OpenTelemetry of its calls, by adapters/otel.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/adapters/otel"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
)

func main() {
	if err := decide(); err != nil {
		log.Fatal(err)
	}
}

func decide() error {
	telemetry, err := otel.New(1, otel.Config{})
	if err != nil {
		return err
	}
	defer telemetry.Close()
	nodes, stop, err := memory.Cluster(memory.Config{
		Members: paxos.Members{Cluster: "outside", Acceptors: []paxos.ServerID{1}},
		Node:    func(c *node.Config) { c.Observer = telemetry },
	})
	if err != nil {
		return err
	}
	defer stop()
	telemetry.Watch(nodes[0])
	d, err := nodes[0].Propose(context.Background(), "lunch", "burger")
	if err != nil {
		return err
	}
	fmt.Println(d.Value)
	return nil
}
