package memory

import (
	"context"
	"fmt"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
)

// Cluster starts n servers, 1 to 64, that vote and hold everything in memory. It is for trials and for tests.
//
// The nodes are in the order of their ServerIDs, 1 to n. stop closes all of them. It is never nil, and may be called after
// an error.
func Cluster(n int) (nodes []*node.Node, stop func(), err error) {
	members := paxos.Members{Cluster: "memory"}
	for id := range max(n, 0) {
		members.Acceptors = append(members.Acceptors, paxos.ServerID(id+1))
	}
	stop = func() {
		for _, node := range nodes {
			node.Close()
		}
	}
	if err := members.Check(); err != nil {
		return nil, stop, fmt.Errorf("paxos: memory cluster of %d: %w", n, err)
	}
	network := NewNetwork()
	for _, id := range members.Acceptors {
		storage := NewStorage()
		if err := paxos.Format(storage, id, members); err != nil {
			stop()
			return nil, stop, err
		}
		node, err := node.Start(context.Background(), node.Config{ID: id, Members: members, Storage: storage, Transport: network.Join(id)})
		if err != nil {
			stop()
			return nil, stop, err
		}
		nodes = append(nodes, node)
	}
	return nodes, stop, nil
}
