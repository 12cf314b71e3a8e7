package node_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/replica"
)

// A changing cluster runs servers in memory that come and go.
type changing struct {
	t       *testing.T
	began   paxos.Members
	network *memory.Network
	storage map[paxos.ServerID]*memory.Storage
	nodes   map[paxos.ServerID]*node.Node
	limits  paxos.Limits // of servers that start
	wrap    func(paxos.Transport) paxos.Transport
}

// newChanging starts servers 1 to n, all of them acceptors.
func newChanging(t *testing.T, n int) *changing {
	c := &changing{t: t, network: memory.NewNetwork(), storage: map[paxos.ServerID]*memory.Storage{}, nodes: map[paxos.ServerID]*node.Node{}}
	c.began = c.members(n)
	for _, id := range c.began.Acceptors {
		c.start(id)
	}
	for _, n := range c.nodes {
		require.NoError(t, n.Ready(t.Context()))
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			assert.NoError(t, n.Close())
		}
	})
	return c
}

// members returns acceptors 1 to n, and learners.
func (c *changing) members(n int, learners ...paxos.ServerID) (m paxos.Members) {
	m.Cluster, m.Learners = "changing", learners
	for i := range n {
		m.Acceptors = append(m.Acceptors, paxos.ServerID(i+1))
	}
	return m
}

// start starts a server, on a new storage if it has none.
func (c *changing) start(id paxos.ServerID) *node.Node {
	members := c.began
	if c.storage[id] == nil {
		c.storage[id] = memory.NewStorage()
		if !members.Has(id) {
			members.Learners = []paxos.ServerID{id}
		}
		require.NoError(c.t, paxos.Format(c.storage[id], id, members))
	} else if !members.Has(id) {
		members.Learners = []paxos.ServerID{id}
	}
	transport := c.network.Join(id)
	if c.wrap != nil {
		transport = c.wrap(transport)
	}
	n, err := node.Start(c.t.Context(), node.Config{ID: id, Members: members, Storage: c.storage[id], Transport: transport, Limits: c.limits})
	require.NoError(c.t, err)
	c.nodes[id] = n
	return n
}

func (c *changing) stop(id paxos.ServerID) {
	require.NoError(c.t, c.nodes[id].Close())
	delete(c.nodes, id)
}

// change changes the members by a server, and waits until that is settled there.
func (c *changing) change(by paxos.ServerID, next paxos.Members) paxos.Configuration {
	c.t.Helper()
	synctest.Wait() // until all that was sent has come: a server that was not heard is not ready
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	now, err := c.nodes[by].Change(ctx, next)
	require.NoError(c.t, err)
	require.NoError(c.t, c.nodes[by].Settled(ctx))
	return now
}

// A lost server is replaced: its successor takes over all decisions. The cluster then stands the loss of another server.
func TestChangeReplacesALostServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChanging(t, 3)
		d, err := c.nodes[1].Propose(t.Context(), "lunch", "soup")
		require.NoError(t, err)
		c.stop(3)
		c.start(4)
		next := paxos.Members{Cluster: c.began.Cluster, Acceptors: []paxos.ServerID{1, 2, 4}, Addresses: map[paxos.ServerID]string{4: "here"}}
		now := c.change(2, next)
		assert.Equal(t, uint64(1), now.Number)
		assert.Equal(t, next.Acceptors, now.Members.Acceptors)
		assert.Equal(t, "here", now.Members.Addresses[4])
		require.NoError(t, c.nodes[4].Settled(t.Context()))
		c.stop(1)
		got, ok, err := c.nodes[4].Read(t.Context(), "lunch")
		require.NoError(t, err)
		require.True(t, ok)
		assert.Equal(t, d, got)
		_, err = c.nodes[4].Propose(t.Context(), "dinner", "bread")
		require.NoError(t, err)

		s := c.nodes[4].Status()
		assert.Equal(t, uint64(1), s.Configuration)
		assert.True(t, s.Settled)
		config, settled := c.nodes[4].Configuration()
		assert.True(t, settled)
		assert.Equal(t, now, config)
		config.Members.Acceptors[0] = 9
		again, _ := c.nodes[4].Configuration()
		assert.Equal(t, now, again, "the caller's own copy")
	})
}

// All servers are replaced at once, and the old ones stopped for good.
func TestChangeMovesAllServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChanging(t, 3)
		var want []paxos.Decision
		for _, name := range []string{"a", "b", "c"} {
			d, err := c.nodes[1].Propose(t.Context(), name, "v"+paxos.Value(name))
			require.NoError(t, err)
			want = append(want, d)
		}
		_, err := c.nodes[1].Change(t.Context(), paxos.Members{Cluster: "changing", Acceptors: []paxos.ServerID{4, 5, 6}})
		require.ErrorIs(t, err, paxos.ErrNotReady)
		assert.ErrorContains(t, err, "server 4 is no member yet: add it as a learner first")
		c.change(1, c.members(3, 4, 5, 6))
		for id := range paxos.ServerID(3) {
			c.start(id + 4)
		}
		for id := range paxos.ServerID(3) {
			require.NoError(t, c.nodes[id+4].Ready(t.Context()))
		}
		time.Sleep(5 * time.Second) // until server 1 has heard of all of them
		c.change(1, paxos.Members{Cluster: "changing", Acceptors: []paxos.ServerID{4, 5, 6}, Learners: []paxos.ServerID{1}})
		c.stop(2)
		c.stop(3)
		require.NoError(t, c.nodes[5].Settled(t.Context()))
		now := c.change(5, paxos.Members{Cluster: "changing", Acceptors: []paxos.ServerID{4, 5, 6}})
		assert.Equal(t, uint64(3), now.Number)
		_, err = c.nodes[1].Wait(t.Context(), "nothing")
		require.ErrorIs(t, err, paxos.ErrNotMember)
		assert.ErrorContains(t, err, "server 1 is not in configuration 3")
		c.stop(1)
		for _, d := range want {
			got, ok, err := c.nodes[6].Read(t.Context(), d.Instance)
			require.NoError(t, err)
			require.True(t, ok)
			assert.Equal(t, d.Value, got.Value)
		}
		for _, id := range []paxos.ServerID{4, 5, 6} { // started anew on what their storages know
			c.stop(id)
		}
		for _, id := range []paxos.ServerID{4, 5, 6} {
			c.start(id)
		}
		_, err = c.nodes[4].Propose(t.Context(), "d", "v")
		require.NoError(t, err)
	})
}

// A new learner has all decisions at once, though nobody calls it, and nothing is decided meanwhile. An acceptor knows how much of its
// decisions the learner has.
func TestStatusShowsWhatALearnerHasTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChanging(t, 1)
		for i := range 5 {
			_, err := c.nodes[1].Propose(t.Context(), fmt.Sprint("job/", i), "done")
			require.NoError(t, err)
		}
		c.change(1, c.members(1, 2))
		before := c.nodes[1].Status()
		require.Len(t, before.Peers, 1)
		assert.Zero(t, before.Peers[0].Taken)
		c.start(2)
		time.Sleep(time.Second)
		assert.Equal(t, before.Counters.Decided, c.nodes[2].Status().Counters.Decided)
		time.Sleep(20 * time.Second) // until it has pulled once more
		assert.Equal(t, before.Index, c.nodes[1].Status().Peers[0].Taken)
	})
}

// Of two changes at once one is decided. The other caller is told which.
func TestChangeConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChanging(t, 5)
		for _, id := range []paxos.ServerID{3, 4, 5} { // no quorum answers until both calls have begun
			c.stop(id)
		}
		errs := make(chan error, 2)
		for id, n := range map[paxos.ServerID]int{1: 3, 2: 4} {
			go func() {
				now, err := c.nodes[id].Change(t.Context(), c.members(n))
				assert.Equal(t, uint64(1), now.Number)
				errs <- err
			}()
		}
		synctest.Wait()
		for _, id := range []paxos.ServerID{3, 4, 5} {
			c.start(id)
		}
		first, second := <-errs, <-errs
		if first == nil {
			first, second = second, first
		}
		require.NoError(t, second)
		require.ErrorIs(t, first, paxos.ErrConflict)
		assert.ErrorContains(t, first, `paxos: change "$config/1": configuration 1 has acceptors 1,2,3`) // or 1,2,3,4
	})
}

// Wrong members are told at once, by the field.
func TestChangeOfWrongMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChanging(t, 1)
		for _, tt := range []struct {
			m    paxos.Members
			want string
		}{
			{paxos.Members{}, "Members.Cluster: "},
			{paxos.Members{Cluster: "changing"}, "Members.Acceptors: "},
			{paxos.Members{Cluster: "another", Acceptors: []paxos.ServerID{1}}, `Members.Cluster: "another", the cluster is "changing"`},
			{paxos.Members{Cluster: "changing", Acceptors: []paxos.ServerID{1}, Addresses: map[paxos.ServerID]string{7: "x"}}, "Members.Addresses"},
		} {
			_, err := c.nodes[1].Change(t.Context(), tt.m)
			assert.ErrorContains(t, err, tt.want)
		}
		config, settled := c.nodes[1].Configuration()
		assert.Zero(t, config.Number)
		assert.True(t, settled)
	})
}

// Configurations are no decisions of the service.
func TestDecisionsHideConfigurations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChanging(t, 1)
		_, err := c.nodes[1].Propose(t.Context(), "a", "v")
		require.NoError(t, err)
		c.change(1, c.members(1, 2))
		_, err = c.nodes[1].Propose(t.Context(), "b", "v")
		require.NoError(t, err)
		var names []string
		for learned, err := range c.nodes[1].Decisions(t.Context(), 0) {
			require.NoError(t, err)
			if names = append(names, learned.Instance); learned.Instance == "b" {
				break
			}
		}
		assert.Equal(t, []string{"a", "b"}, names)
		for _, call := range []func(string) error{
			func(name string) error { _, err := c.nodes[1].Propose(t.Context(), name, "v"); return err },
			func(name string) error { _, _, err := c.nodes[1].Read(t.Context(), name); return err },
			func(name string) error { _, _, err := c.nodes[1].Peek(t.Context(), name); return err },
		} {
			assert.ErrorIs(t, call("$config/1"), paxos.ErrName)
		}
	})
}

// A server that is removed refuses calls, and one that could not live with the others is no acceptor.
func TestChangeRefusesWhoDoesNotFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChanging(t, 2)
		c.limits = paxos.Limits{MaxValue: 300}
		c.change(1, c.members(2, 3))
		c.start(3)
		require.NoError(t, c.nodes[3].Ready(t.Context()))
		time.Sleep(5 * time.Second)
		all := c.members(3)
		all.Quorum, _ = paxos.Flexible(3, 1, 3)
		_, err := c.nodes[1].Change(t.Context(), all)
		require.ErrorIs(t, err, paxos.ErrNotReady)
		assert.ErrorContains(t, err, "server 3 takes values of 300 bytes at most by Limits.MaxValue, and this server takes 1048576")
		c.limits.MaxValue = 40
		c.stop(3)
		c.start(3)
		require.NoError(t, c.nodes[3].Ready(t.Context()))
		_, err = c.nodes[3].Change(t.Context(), c.members(1))
		require.ErrorIs(t, err, paxos.ErrTooLarge)
		assert.ErrorContains(t, err, "at most 40 are allowed by Limits.MaxValue")
		c.change(1, c.members(2))
		time.Sleep(20 * time.Second) // until server 3 has asked for news
		require.ErrorIs(t, c.nodes[3].Settled(t.Context()), paxos.ErrNotMember)
		require.ErrorIs(t, c.nodes[3].Ready(t.Context()), paxos.ErrNotMember)
	})
}

// An import lists undecided instances in pages, in the order of names, whatever their number and the order of the storage.
func TestListOfUndecidedInstances(t *testing.T) {
	s := memory.NewStorage()
	var want, got []string
	var b paxos.Batch
	for i := range 1500 {
		name := fmt.Sprintf("job/%04d", i*7%1500)
		b.Records = append(b.Records, paxos.Record{Instance: name, Acceptor: paxos.Acceptor{Promised: paxos.Ballot{Round: 1, Server: 1}}})
		want = append(want, name)
	}
	require.NoError(t, s.Save(b))
	slices.Sort(want)
	for after := ""; ; {
		page, err := replica.List(s, replica.ListAsk{Open: true, Name: after, Max: 256})
		require.NoError(t, err)
		for _, n := range page.Names {
			got = append(got, n.Instance)
		}
		if len(page.Names) < 256 {
			break
		}
		after = got[len(got)-1]
	}
	assert.Equal(t, want, got)
	_, err := replica.List(failing{s}, replica.ListAsk{Open: true, Max: 256})
	assert.ErrorContains(t, err, "undecided instances: disk is gone")
}

// A failing storage can't list its undecided instances.
type failing struct{ paxos.Storage }

func (failing) Undecided() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) { yield("", errors.New("disk is gone")) }
}
