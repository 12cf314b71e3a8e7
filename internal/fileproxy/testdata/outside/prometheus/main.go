// Prometheus decides one name on a server whose numbers Prometheus collects, by adapters/prometheus.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"

	prom "github.com/prometheus/client_golang/prometheus"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/adapters/prometheus"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
)

func main() {
	if err := decide(); err != nil {
		log.Fatal(err)
	}
}

func decide() error {
	registry, metrics := prom.NewRegistry(), prometheus.New(1)
	if err := registry.Register(metrics); err != nil {
		return err
	}
	ctx := context.Background()
	nodes, stop, err := memory.Cluster(memory.Config{
		Members: paxos.Members{Cluster: "outside", Acceptors: []paxos.ServerID{1}},
		Node:    func(c *node.Config) { c.Observer = metrics },
	})
	if err != nil {
		return err
	}
	defer stop()
	metrics.Watch(nodes[0])
	d, err := nodes[0].Propose(ctx, "lunch", "burger")
	if err != nil {
		return err
	}
	if families, err := registry.Gather(); err != nil || len(families) < 30 {
		return errors.Join(err, fmt.Errorf("%d metrics", len(families)))
	}
	fmt.Println(d.Value)
	return nil
}
