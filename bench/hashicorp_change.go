package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/hashicorp/raft"
)

// prepare takes a snapshot on each server, as one that runs for long has, and starts the new server: it waits until it is added.
func (c *hashicorpCluster) prepare(context.Context) error {
	for _, server := range c.servers.get() {
		if err := server.Snapshot().Error(); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
			return err
		}
	}
	wire, err := raft.NewTCPTransport("127.0.0.1:0", nil, 4, 5*time.Second, io.Discard)
	if err != nil {
		return err
	}
	c.wire = append(c.wire, wire)
	return c.startServer(c.setup.Servers, wire, raft.Configuration{})
}

// replace adds the new server as a voter, waits until it has applied what was in the log of the leader then, and removes the old one. A
// leader that is to be removed hands over first.
func (c *hashicorpCluster) replace(ctx context.Context, leader bool) (settled time.Time, err error) {
	const timeout = 10 * time.Second
	if err := wait(ctx, c.findLeader); err != nil {
		return settled, err
	}
	first, servers := int(c.leader.Load()), c.servers.get()
	newcomer := len(servers) - 1
	if err := servers[first].AddVoter(hashicorpID(newcomer), c.wire[newcomer].LocalAddr(), 0, timeout).Error(); err != nil {
		return settled, err
	}
	goal := servers[first].LastIndex()
	if err := wait(ctx, func() bool { return servers[newcomer].AppliedIndex() >= goal }); err != nil {
		return settled, err
	}
	old := (first + 1) % newcomer
	if leader {
		old = first
		if err := servers[old].LeadershipTransfer().Error(); err != nil {
			return settled, err
		}
		if err := wait(ctx, func() bool { return c.findLeader() && int(c.leader.Load()) != old }); err != nil {
			return settled, err
		}
	}
	if err := servers[c.leader.Load()].RemoveServer(hashicorpID(old), 0, timeout).Error(); err != nil {
		return settled, err
	}
	c.stopped.Store(int64(old))
	return settled, servers[old].Shutdown().Error()
}
