// Disk decides one name on a cluster of one server, on the storage of wal.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/wal"
)

func main() {
	dir, err := os.MkdirTemp("", "outside")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := decide(filepath.Join(dir, "storage")); err != nil {
		log.Fatal(err)
	}
}

func decide(place string) error {
	members := paxos.Members{Cluster: "outside", Acceptors: []paxos.ServerID{1}}
	if err := wal.Create(place, 1, members); err != nil {
		return err
	}
	storage, err := wal.Open(place, wal.Options{})
	if err != nil {
		return err
	}
	defer storage.Close()
	ctx := context.Background()
	node, err := node.Start(ctx, node.Config{
		ID: 1, Members: members, Storage: storage, Transport: memory.NewNetwork().Join(1),
	})
	if err != nil {
		return err
	}
	defer node.Close()
	d, err := node.Propose(ctx, "lunch", "burger")
	if err != nil {
		return err
	}
	fmt.Println(d.Value)
	return nil
}
