package main

import (
	"context"
	"sync"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/tcp"
)

// standing returns which server stands, and can use its ballot; -1: none.
func (c *paxosCluster) standing() int {
	for i, n := range c.nodes.get() {
		if isReady(n) {
			return i
		}
	}
	return -1
}

func isReady(n *node.Node) bool { return n.Metrics().Standing.Ready }

// stands asks a server to stand, and waits until it can use its ballot.
func (c *paxosCluster) stands(ctx context.Context, which int) error {
	n := c.nodes.get()[which]
	if err := n.Stand(ctx); err != nil {
		return err
	}
	return wait(ctx, func() bool { return isReady(n) })
}

// nextStands has another server stand than the one that does.
func (c *paxosCluster) nextStands(ctx context.Context) error {
	return c.stands(ctx, (c.standing()+1)%c.setup.Servers)
}

// A gate is the network of a server that may stand still, as a process does after a SIGSTOP: it sends and takes nothing more, and its
// connections stay. The loop of its Node stands in Send then. Bytes that the kernel has already are sent and saved all the
// same.
type gate struct {
	*tcp.Transport
	still sync.RWMutex // held for writing: the server stands still
}

func (g *gate) freeze() { g.still.Lock() }

// pass waits while the server stands still.
func (g *gate) pass() {
	g.still.RLock()
	g.still.RUnlock()
}

func (g *gate) Send(p paxos.Packet) {
	g.pass()
	g.Transport.Send(p)
}

func (g *gate) Receive(ctx context.Context) (paxos.Packet, error) {
	p, err := g.Transport.Receive(ctx)
	g.pass()
	return p, err
}
