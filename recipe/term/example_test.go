package term_test

import (
	"context"
	"fmt"
	"log"

	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/recipe/term"
)

// A store is what leaders write to. It refuses the token of a leader that was deposed.
type store struct {
	fence term.Fence
	value string
}

func (s *store) write(token uint64, value string) error {
	return s.fence.Do(token, func() error {
		s.value = value
		return nil
	})
}

// A leader is deposed. Until it learns that, its writes are refused by the store.
func Example() {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	ctx := context.Background()
	campaign := func(server int, after uint64, who string) *term.Leader {
		election, err := term.New(nodes[server], "shard 7")
		if err != nil {
			log.Fatal(err)
		}
		leader, err := election.Campaign(ctx, after, who)
		if err != nil {
			log.Fatal(err)
		}
		return leader
	}
	var s store
	old := campaign(0, 0, "server 1")
	defer old.Close()
	fmt.Println("term 1 writes:", s.write(old.Token(), "a"))

	next := campaign(1, 1, "server 2") // it has not heard of server 1 for long
	defer next.Close()
	fmt.Println("term 2 writes:", s.write(next.Token(), "b"))
	fmt.Println("term 1 writes:", s.write(old.Token(), "c"))
	<-old.Lost()
	fmt.Println(old.Err())

	fmt.Println("term 2 resigns:", next.Resign(ctx))
	election, err := term.New(nodes[2], "shard 7")
	if err != nil {
		log.Fatal(err)
	}
	state, err := election.State(ctx)
	fmt.Println(state, err, s.value)
	// Output:
	// term 1 writes: <nil>
	// term 2 writes: <nil>
	// term 1 writes: term: the token is old: token 1 comes after token 2
	// term: lead "shard 7/000000001": a later term has begun: term 2 is led by "server 2"
	// term 2 resigns: <nil>
	// term 3 is vacant, as "server 2" resigned <nil> b
}
