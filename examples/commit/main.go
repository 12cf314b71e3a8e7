// Commit books trips: a flight, a hotel and a car, all three or none. Each is sold by another company, on another server.
//
//	go run ./examples/commit
//
// An agent asks the companies. One agent dies in the middle, with its server. The companies find an outcome without it, and all of them
// the same.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/recipe/commit"
)

// patience is how long a company waits for the others, before it aborts those that are silent.
const patience = 200 * time.Millisecond

// A company sells things of one kind. In earnest, its things and trips are rows of its database.
type company struct {
	name   string
	server commit.Register
	free   int                     // things that nobody has
	trips  map[string]commit.State // Prepared: a thing is held for it. Committed: the thing is sold
}

// ask is the first phase. If the company has a thing, it holds that until it knows the outcome.
func (c *company) ask(ctx context.Context, trip string) error {
	tx, err := commit.New(c.server, trip)
	if err != nil {
		return err
	}
	if c.free == 0 {
		c.trips[trip], err = tx.Refuse(ctx, c.name)
		return err
	}
	c.free--
	c.trips[trip] = commit.Prepared // saved, before anybody is told
	return tx.Prepare(ctx, c.name, "")
}

// settle is the second phase: it learns the outcome, or brings it about. After an error of ask or settle, it is called again.
func (c *company) settle(ctx context.Context, trip string) error {
	tx, err := commit.New(c.server, trip)
	if err != nil {
		return err
	}
	outcome, err := tx.WaitThenFinish(ctx, patience)
	if err != nil {
		return err
	}
	if c.trips[trip] == commit.Prepared && outcome.State == commit.Aborted {
		c.free++
	}
	c.trips[trip] = outcome.State
	return nil
}

// book is the work of an agent: it says which companies a trip needs, and asks them.
func book(ctx context.Context, server commit.Register, trip string, asked ...*company) error {
	tx, err := commit.New(server, trip)
	if err != nil {
		return err
	}
	if err := tx.Begin(ctx, "flight", "hotel", "car"); err != nil {
		return err
	}
	for _, c := range asked {
		if err := c.ask(ctx, trip); err != nil && !errors.Is(err, commit.ErrAborted) {
			return err
		}
	}
	return nil
}

func run(ctx context.Context, w io.Writer) error {
	servers, stop, err := memory.Cluster(memory.Config{Servers: 5})
	if err != nil {
		return err
	}
	defer stop()
	flight := &company{"flight", servers[1], 3, map[string]commit.State{}}
	hotel := &company{"hotel", servers[2], 2, map[string]commit.State{}}
	car := &company{"car", servers[3], 1, map[string]commit.State{}}
	play := func(trip, story string, agent *node.Node, asked ...*company) error {
		fmt.Fprintf(w, "%s: %s.\n", trip, story)
		if err := book(ctx, agent, trip, asked...); err != nil {
			return err
		}
		if len(asked) < 3 {
			agent.Close()
		}
		for _, c := range []*company{flight, hotel, car} {
			before := c.trips[trip]
			if err := c.settle(ctx, trip); err != nil {
				return err
			}
			fmt.Fprintf(w, "  %-6s  %v, then %v: %d left\n", c.name, before, c.trips[trip], c.free)
		}
		return nil
	}
	return errors.Join(play("trip/1", "an agent on server 1 asks for a flight, a hotel and a car", servers[0], flight, hotel, car),
		play("trip/2", "the agent asks for a flight and a hotel. Then server 1 dies, and the agent with it", servers[0], flight, hotel),
		play("trip/3", "an agent on server 5 asks for all three, but no car is left", servers[4], flight, hotel, car))
}

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}
