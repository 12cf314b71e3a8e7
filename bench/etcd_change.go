package main

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver"
)

// prepare waits until the servers have been connected for so long that etcd lets members change. A new server can't start before it is
// added, and snapshots are etcd's own affair.
func (c *etcdCluster) prepare(ctx context.Context) error {
	connected := time.Now().Add(etcdserver.HealthInterval + time.Second)
	return wait(ctx, func() bool { return time.Now().After(connected) })
}

// replace adds the new server as a learner, starts it, waits until it has applied what the leader had then, makes it a voter, and
// removes the old one. A leader that is to be removed hands over first.
func (c *etcdCluster) replace(ctx context.Context, leader bool) (settled time.Time, err error) {
	if err := wait(ctx, func() bool { return c.leader() >= 0 }); err != nil {
		return settled, err
	}
	first, newcomer := c.leader(), c.setup.Servers
	member, err := c.add(ctx, first)
	if err != nil {
		return settled, err
	}
	client := c.clients.get()[(first+1)%newcomer*etcdClients] // of a server that is not the leader
	promoted := func() bool { _, err = client.MemberPromote(ctx, member); return err == nil }
	if waited := wait(ctx, promoted); waited != nil {
		return settled, errors.Join(waited, err)
	}
	old := (first + 2) % newcomer
	servers := c.servers.get()
	if leader {
		old = first
		to := servers[(first+1)%newcomer].Server.MemberID()
		if err := servers[old].Server.MoveLeader(ctx, uint64(servers[old].Server.MemberID()), uint64(to)); err != nil {
			return settled, err
		}
	}
	if _, err := client.MemberRemove(ctx, uint64(servers[old].Server.MemberID())); err != nil {
		return settled, err
	}
	c.stopped.Store(int64(old))
	servers[old].Close()
	return settled, nil
}

// add adds a server as a learner, starts it, and waits until it has applied what the leader had then. It returns the ID of the member.
func (c *etcdCluster) add(ctx context.Context, leader int) (uint64, error) {
	newcomer := c.setup.Servers
	if err := c.configure(newcomer); err != nil {
		return 0, err
	}
	config, servers := c.configs[newcomer], c.servers.get()
	added, err := c.clients.get()[leader*etcdClients].MemberAddAsLearner(ctx, []string{config.AdvertisePeerUrls[0].String()})
	if err != nil {
		return 0, err
	}
	goal := servers[leader].Server.AppliedIndex()
	config.ClusterState, config.InitialCluster = embed.ClusterStateFlagExisting, c.peers()
	server, err := embed.StartEtcd(config)
	if err != nil {
		return 0, err
	}
	select {
	case <-server.Server.ReadyNotify():
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if err := wait(ctx, func() bool { return server.Server.AppliedIndex() >= goal }); err != nil {
		return 0, err
	}
	if err := c.connect(newcomer); err != nil {
		return 0, err
	}
	c.servers.add(server)
	return added.Member.ID, nil
}
