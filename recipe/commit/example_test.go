package commit_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/recipe/commit"
)

// A coordinator begins two transactions, and dies. A participant of the second one is silent. Another process finishes both.
func Example() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	ctx := context.Background()

	for i, ready := range [][]string{{"orders", "stock"}, {"orders"}} {
		tx, err := commit.New(nodes[0], fmt.Sprint("tx/", i))
		if err != nil {
			log.Fatal(err)
		}
		if err := tx.Begin(ctx, "orders", "stock"); err != nil {
			log.Fatal(err)
		}
		for _, participant := range ready {
			// It has saved all that it needs to commit. Now it says so.
			if err := tx.Prepare(ctx, participant, ""); err != nil {
				log.Fatal(err)
			}
		}
	}
	nodes[0].Close()

	for i := range 2 {
		tx, err := commit.New(nodes[1], fmt.Sprint("tx/", i))
		if err != nil {
			log.Fatal(err)
		}
		outcome, err := tx.WaitThenFinish(ctx, 100*time.Millisecond)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(outcome.State)
	}
	// Output:
	// committed
	// aborted
}
