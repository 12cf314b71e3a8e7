package sequence_test

import (
	"context"
	"fmt"
	"log"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/recipe/sequence"
)

// Two servers append configurations, and a third one follows.
func Example() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	ctx := context.Background()

	for i, config := range []string{"debug=off", "debug=on", "debug=off, cache=1GiB"} {
		configs, err := sequence.New(nodes[i%2], "config")
		if err != nil {
			log.Fatal(err)
		}
		entry, err := configs.NewEntry(ctx, paxos.Value(config))
		if err != nil {
			log.Fatal(err)
		}
		// A retry of the same Entry, on any server, finds it where it is.
		for range 2 {
			at, err := configs.AppendEntry(ctx, entry)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println("slot", at.Slot)
		}
	}

	follower, err := sequence.New(nodes[2], "config")
	if err != nil {
		log.Fatal(err)
	}
	for item, err := range follower.Entries(ctx, sequence.Position{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d: %s\n", item.Slot, item.Value)
		if item.Slot == 2 {
			break // a service would go on, and get the next one when it comes
		}
	}
	// Output:
	// slot 0
	// slot 0
	// slot 1
	// slot 1
	// slot 2
	// slot 2
	// 0: debug=off
	// 1: debug=on
	// 2: debug=off, cache=1GiB
}
