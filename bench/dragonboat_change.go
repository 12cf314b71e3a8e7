package main

import (
	"context"
	"errors"
	"time"

	"github.com/lni/dragonboat/v4"
)

// prepare takes a snapshot on each server, as one that runs for long has.
func (c *dragonboatCluster) prepare(ctx context.Context) error {
	for _, h := range c.hosts.get() {
		option := dragonboat.SnapshotOption{OverrideCompactionOverhead: true, CompactionOverhead: 10_000}
		if _, err := h.SyncRequestSnapshot(ctx, dragonboatShard, option); err != nil {
			return err
		}
	}
	return nil
}

// replace adds the new server, starts it, waits until it holds all names that the leader held then, and removes the old one. A leader
// that is to be removed hands over first.
func (c *dragonboatCluster) replace(ctx context.Context, leader bool) (settled time.Time, err error) {
	if err := wait(ctx, c.findLeader); err != nil {
		return settled, err
	}
	addr, err := freeAddr()
	if err != nil {
		return settled, err
	}
	first, hosts := int(c.leader.Load()), c.hosts.get()
	newcomer := len(hosts)
	if err := hosts[first].SyncRequestAddReplica(ctx, dragonboatShard, uint64(newcomer+1), addr, 0); err != nil {
		return settled, err
	}
	goal := c.applied[first].Load()
	if err := c.startServer(newcomer, addr, nil); err != nil {
		return settled, err
	}
	if err := wait(ctx, func() bool { return c.applied[newcomer].Load() >= goal }); err != nil {
		return settled, err
	}
	old := (first + 1) % newcomer
	if leader {
		old = first
		if err := c.handOver(ctx, old, (old+1)%newcomer); err != nil {
			return settled, err
		}
	}
	remover := hosts[(old+1)%newcomer]
	if err := remover.SyncRequestDeleteReplica(ctx, dragonboatShard, uint64(old+1), 0); err != nil {
		return settled, err
	}
	c.stopped.Store(int64(old))
	// A server that learns that it is removed stops its replica by itself.
	if err := hosts[old].StopReplica(dragonboatShard, uint64(old+1)); err != nil && !errors.Is(err, dragonboat.ErrShardNotFound) {
		return settled, err
	}
	return settled, nil
}

// handOver makes another server the leader. A request may come to nothing, which nobody tells, so it is repeated after two elections.
func (c *dragonboatCluster) handOver(ctx context.Context, from, to int) (err error) {
	again := 20 * time.Duration(c.rtt) * time.Millisecond
	asked := time.Now().Add(-again)
	waited := wait(ctx, func() bool {
		if time.Since(asked) >= again {
			asked = time.Now()
			err = c.hosts.get()[from].RequestLeaderTransfer(dragonboatShard, uint64(to+1))
		}
		return c.findLeader() && int(c.leader.Load()) != from
	})
	if waited != nil {
		return errors.Join(waited, err)
	}
	return nil
}
