package once_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/recipe/once"
)

// Two workers want one job. The first one dies, a third one succeeds it, and the result is there for all.
func Example() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	ctx := context.Background()
	attempt := func(server int, token uint64, owner string) *once.Claim {
		job, err := once.New(nodes[server], "invoice/2026-11")
		if err != nil {
			log.Fatal(err)
		}
		claim, err := job.Attempt(token, owner)
		if err != nil {
			log.Fatal(err)
		}
		switch err := claim.Take(ctx); {
		case err == nil:
			fmt.Printf("%s holds token %d\n", owner, token)
		case errors.Is(err, once.ErrHeld), errors.Is(err, once.ErrDone):
			fmt.Println(err)
		default:
			log.Fatal(err) // if it is Unknown, a worker would take the same claim again
		}
		return claim
	}
	first := attempt(0, 1, "worker 1")
	attempt(1, 1, "worker 2")
	// Worker 1 has been silent for long, so worker 3 believes that it is dead.
	third := attempt(2, 2, "worker 3")
	fmt.Println("worker 3 is done:", third.Done(ctx, "sent"))
	fmt.Println("worker 1 is late:", first.Done(ctx, "sent twice"))
	attempt(1, 3, "worker 2")
	// Output:
	// worker 1 holds token 1
	// once: take "invoice/2026-11/000000001": another claim holds the job: attempt 1 is held by "worker 1"
	// worker 3 holds token 2
	// worker 3 is done: <nil>
	// worker 1 is late: once: done "invoice/2026-11/000000001": another claim holds the job: attempt 2 is held by "worker 3"
	// once: take "invoice/2026-11/000000003": the job is done: attempt 2 is done
}
