package paxos

import (
	"context"
	"fmt"
)

// MemoryCluster starts n servers, 1 to 64, that vote and hold everything in memory: for trying things out and for tests.
// stop closes them; the nodes are ordered by ServerID, 1 to n.
func MemoryCluster(n int) (nodes []*Node, stop func(), err error) {
	members := Members{Cluster: "memory"}
	for id := range max(n, 0) {
		members.Acceptors = append(members.Acceptors, ServerID(id+1))
	}
	stop = func() {
		for _, node := range nodes {
			node.Close()
		}
	}
	if err := members.Check(); err != nil {
		return nil, stop, fmt.Errorf("paxos: memory cluster of %d: %w", n, err)
	}
	network := NewMemoryNetwork()
	for _, id := range members.Acceptors {
		storage := NewMemoryStorage()
		if err := Format(storage, id, members); err != nil {
			return nil, stop, err
		}
		node, err := Start(context.Background(), Config{ID: id, Members: members, Storage: storage, Transport: network.Join(id)})
		if err != nil {
			stop()
			return nil, stop, err
		}
		nodes = append(nodes, node)
	}
	return nodes, stop, nil
}
