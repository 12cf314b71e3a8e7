// Memory decides one name in memory.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/singledecree/paxos"
)

func main() {
	nodes, stop, err := paxos.MemoryCluster(3)
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
