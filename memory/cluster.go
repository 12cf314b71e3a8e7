package memory

import (
	"cmp"
	"context"
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

// WithDefaults returns c with the default Members filled in.
func (c Config) WithDefaults() Config {
	c.Members.Cluster = cmp.Or(c.Members.Cluster, "memory")
	if len(c.Members.Acceptors) == 0 {
		for id := range min(max(cmp.Or(c.Servers, 3), 0), paxos.MaxAcceptors) {
			c.Members.Acceptors = append(c.Members.Acceptors, paxos.ServerID(id+1))
		}
	}
	return c
}

// Check returns an error that names the wrong field, of Servers and Members. The defaults must be filled in already.
func (c Config) Check() error {
	if c.Servers < 0 || c.Servers > paxos.MaxAcceptors {
		return fmt.Errorf("Config.Servers: %d, want 1 to %d, or 0 for 3", c.Servers, paxos.MaxAcceptors)
	}
	if n := len(c.Members.Acceptors); c.Servers > 0 && c.Servers != n {
		return fmt.Errorf("Config.Servers: %d, but Config.Members has %d Acceptors", c.Servers, n)
	}
	if err := c.Members.Check(); err != nil {
		return fmt.Errorf("Config.%w", err)
	}
	return nil
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
	c = c.WithDefaults()
	if err := c.Check(); err != nil {
		return nil, stop, fmt.Errorf("paxos: memory cluster: %w", err)
	}
	network := NewNetwork()
	for _, id := range slices.Concat(c.Members.Acceptors, c.Members.Learners) {
		storage := NewStorage()
		if err := paxos.Format(storage, id, c.Members); err != nil {
			stop()
			return nil, stop, err
		}
		config := node.Config{ID: id, Members: c.Members, Storage: storage, Transport: network.Join(id),
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
