package tcp_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
)

// A lost server is replaced over TLS by one that no member knew. The members learn its address from the configuration, and it needs to
// know only them. After that another one may be lost, and a restart needs no other Config.
func TestChangeOverTCP(t *testing.T) {
	const cluster = "changing"
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	configs, addrs := certificates(t, cluster, 4), map[paxos.ServerID]string{}
	m := paxos.Members{Cluster: cluster, Acceptors: []paxos.ServerID{1, 2, 3}}
	servers := map[paxos.ServerID]*server{}
	listen := func(id paxos.ServerID, m paxos.Members) {
		s := &server{id: id, members: m, tls: configs[id], storage: memory.NewStorage(), addrs: addrs}
		require.NoError(t, paxos.Format(s.storage, id, m))
		s.listen(t)
		servers[id] = s
	}
	for _, id := range m.Acceptors {
		listen(id, m)
	}
	for _, id := range m.Acceptors {
		servers[id].run(t)
	}
	d, err := servers[3].now().Propose(ctx, "lunch", "soup")
	require.NoError(t, err)
	require.NoError(t, servers[1].now().Ready(ctx))
	require.NoError(t, servers[2].now().Ready(ctx))
	servers[3].stop(t)
	_, err = servers[1].now().Propose(ctx, "dinner", "rice") // servers 1 and 2 hear each other: a change needs that
	require.NoError(t, err)

	newcomer := m
	newcomer.Learners = []paxos.ServerID{4}
	listen(4, newcomer)
	next := paxos.Members{Cluster: cluster, Acceptors: []paxos.ServerID{1, 2, 4}, Addresses: map[paxos.ServerID]string{4: addrs[4]}}
	now, err := servers[1].now().Change(ctx, next)
	require.NoError(t, err)
	assert.Equal(t, uint64(1), now.Number)
	servers[4].run(t)
	require.NoError(t, servers[1].now().Settled(ctx))
	require.NoError(t, servers[4].now().Ready(ctx))

	servers[2].stop(t)
	got, ok, err := servers[4].now().Read(ctx, "lunch")
	require.NoError(t, err)
	require.True(t, ok)
	assert.Equal(t, d, got)
	servers[1].stop(t)
	delete(addrs, 4) // the first Config knows nothing of server 4
	servers[1].listen(t)
	servers[1].run(t)
	_, err = servers[1].now().Propose(ctx, "dinner", "bread")
	require.NoError(t, err)
	servers[1].stop(t)
	servers[4].stop(t)
}
