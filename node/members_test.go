package node_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// A reaching Transport notes the addresses that it is given.
type reaching struct {
	paxos.Transport
	mu   sync.Mutex
	told []string
}

func (r *reaching) Reach(id paxos.ServerID, address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, fmt.Sprintf("%d %s", id, address))
}

func (r *reaching) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	told := r.told
	r.told = nil
	return told
}

// A Transport is given the addresses of each configuration, and of the one that is stored at a start. A server that has left is given up
// when the change after its own is settled.
func TestChangeReachesServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChanging(t, 3)
		r := &reaching{}
		c.wrap = func(tr paxos.Transport) paxos.Transport { r.Transport = tr; return r }
		c.stop(1)
		c.start(1)
		require.NoError(t, c.nodes[1].Ready(t.Context()))
		assert.Empty(t, r.take(), "nothing is known of addresses")
		addresses := map[paxos.ServerID]string{1: "a", 2: "b", 3: "c"}
		m := c.members(3)
		m.Addresses = addresses
		c.change(1, m)
		synctest.Wait()
		assert.Equal(t, []string{"2 b", "3 c"}, r.take())
		m = c.members(2)
		m.Addresses = map[paxos.ServerID]string{1: "a", 2: "d"}
		c.change(1, m)
		synctest.Wait()
		assert.Equal(t, []string{"2 d"}, slices.Compact(r.take()), "server 3 has still to be told")
		m.Learners = []paxos.ServerID{4}
		m.Addresses = map[paxos.ServerID]string{2: "d", 4: "e"}
		c.change(1, m)
		synctest.Wait()
		assert.Equal(t, []string{"2 d", "4 e", "3 "}, r.take())
		c.stop(1)
		c.start(1)
		assert.Equal(t, []string{"2 d", "4 e", "3 "}, slices.Compact(r.take()), "a Transport made of the first members has server 3")
	})
}

// A server that has left is given up also if only the Config of the Transport ever had its address.
func TestChangeGivesUpServersWithoutAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChanging(t, 3)
		r := &reaching{}
		c.wrap = func(tr paxos.Transport) paxos.Transport { r.Transport = tr; return r }
		c.stop(1)
		c.start(1)
		require.NoError(t, c.nodes[1].Ready(t.Context()))
		time.Sleep(20 * time.Second) // until it has heard of all
		c.change(1, c.members(2))
		synctest.Wait()
		assert.Empty(t, r.take(), "server 3 has still to be told")
		c.change(1, c.members(2, 4))
		synctest.Wait()
		assert.Equal(t, []string{"3 "}, slices.Compact(r.take()))
	})
}

// A new server is formatted with the first acceptors, and may find none of them. The present acceptors tell it of themselves, though nothing
// is decided meanwhile, and of all changes since, one after the other. So they do with one that was away, also after their own restart.
func TestChangeFindsWhoKnowsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChanging(t, 1)
		d, err := c.nodes[1].Propose(t.Context(), "lunch", "soup")
		require.NoError(t, err)
		of := func(acceptors []paxos.ServerID, learners ...paxos.ServerID) paxos.Members {
			return paxos.Members{Cluster: "changing", Acceptors: acceptors, Learners: learners}
		}
		c.change(1, of([]paxos.ServerID{1}, 2))
		c.start(2)
		require.NoError(t, c.nodes[2].Ready(t.Context()))
		time.Sleep(20 * time.Second) // until server 1 has heard of it
		c.change(1, of([]paxos.ServerID{1, 2}))
		c.change(2, of([]paxos.ServerID{2}))
		c.stop(1)
		for i := range 20 {
			c.change(2, of([]paxos.ServerID{2}, paxos.ServerID(10+i)))
		}
		c.change(2, of([]paxos.ServerID{2}, 3))
		ready := func(id paxos.ServerID) {
			ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
			defer cancel()
			err := c.nodes[id].Ready(ctx)
			for errors.Is(err, paxos.ErrNotMember) { // under one of the configurations before its own
				time.Sleep(100 * time.Millisecond)
				err = c.nodes[id].Ready(ctx)
			}
			require.NoError(t, err)
		}
		c.start(3)
		ready(3)
		got, ok, err := c.nodes[3].Read(t.Context(), "lunch")
		require.NoError(t, err)
		require.True(t, ok)
		assert.Equal(t, d, got)
		now, _ := c.nodes[3].Configuration()
		assert.Equal(t, uint64(24), now.Number)

		c.change(2, of([]paxos.ServerID{2}, 3, 4))
		c.stop(2)
		c.start(2)
		c.start(4)
		ready(4)
	})
}
