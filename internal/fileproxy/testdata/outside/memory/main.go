// Memory decides one name in memory.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/singledecree/paxos/memory"
)

func main() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	d, err := nodes[0].Propose(context.Background(), "lunch", "burger")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Value)
}
