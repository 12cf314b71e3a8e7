package pebble_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/adapters/pebble"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
)

// Format is for once in the life of a server, and Open for each start. A second Open is refused.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "pebble")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	storage, err := pebble.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer storage.Close()
	members := paxos.Members{Cluster: "lunch", Acceptors: []paxos.ServerID{1}}
	if err := paxos.Format(storage, 1, members); err != nil {
		log.Fatal(err)
	}
	server, err := node.Start(context.Background(), node.Config{
		ID: 1, Members: members, Storage: storage, Transport: memory.NewNetwork().Join(1),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close() // before the storage
	d, err := server.Propose(context.Background(), "lunch", "burger")
	fmt.Println(d.Value, err)
	_, err = pebble.Open(dir, nil)
	fmt.Println(errors.Is(err, pebble.ErrLocked))
	// Output:
	// burger <nil>
	// true
}
