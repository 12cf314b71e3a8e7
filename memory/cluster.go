package memory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
)

// A Config describes a [Cluster]. The zero value means three servers that vote, with the defaults of package node.
type Config struct {
	// Servers is the number of servers that vote, 1 to 64. Their ServerIDs are 1 to Servers. 0 means 3, or the Acceptors of
	// Members if there are any.
	Servers int
	// Members says more of the servers: their ServerIDs, which of them are learners, the quorum, and the name of the cluster.
	// No Acceptors means those of Servers. An empty Cluster means "memory".
	Members paxos.Members
	// Limits, Timing, Logger and Trace are those of each server: see [node.Config]. Servers use Logger and Trace at the same time.
	Limits paxos.Limits
	Timing paxos.Timing
	Logger *slog.Logger
	Trace  func(context.Context, paxos.Event)
	// Node, if not nil, changes the node.Config of each server, before it starts.
	Node func(c *node.Config)
}

// members returns the Members with the defaults filled in.
func (c Config) members() (paxos.Members, error) {
	m := c.Members
	if m.Cluster == "" {
		m.Cluster = "memory"
	}
	switch {
	case c.Servers < 0 || c.Servers > paxos.MaxAcceptors:
		return m, fmt.Errorf("Config.Servers: %d, want 1 to %d, or 0 for 3", c.Servers, paxos.MaxAcceptors)
	case c.Servers > 0 && len(m.Acceptors) > 0:
		return m, errors.New("Config.Servers: it is set, and Config.Members has Acceptors")
	case len(m.Acceptors) == 0:
		n := c.Servers
		if n == 0 {
			n = 3
		}
		for id := range n {
			m.Acceptors = append(m.Acceptors, paxos.ServerID(id+1))
		}
	}
	if err := m.Check(); err != nil {
		return m, fmt.Errorf("Config.%w", err)
	}
	return m, nil
}

// Cluster starts servers that hold everything in memory, in one process. It is for trials and for tests. For tests with crashes
// and lost packets, see package paxostest.
//
// The nodes are those of the acceptors, in the order of their ServerIDs, and then those of the learners. stop closes all of
// them. It is never nil, and may be called after an error. The error names the field of c that is wrong.
func Cluster(c Config) (nodes []*node.Node, stop func(), err error) {
	stop = func() {
		for _, node := range nodes {
			node.Close()
		}
	}
	members, err := c.members()
	if err != nil {
		return nil, stop, fmt.Errorf("paxos: memory cluster: %w", err)
	}
	network := NewNetwork()
	for _, id := range slices.Concat(members.Acceptors, members.Learners) {
		storage := NewStorage()
		if err := paxos.Format(storage, id, members); err != nil {
			stop()
			return nil, stop, err
		}
		config := node.Config{ID: id, Members: members, Storage: storage, Transport: network.Join(id),
			Limits: c.Limits, Timing: c.Timing, Logger: c.Logger, Trace: c.Trace}
		if c.Node != nil {
			c.Node(&config)
		}
		node, err := node.Start(context.Background(), config)
		if err != nil {
			stop()
			return nil, stop, err
		}
		nodes = append(nodes, node)
	}
	return nodes, stop, nil
}
