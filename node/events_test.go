package node_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
)

// A Node keeps events only between SetTracing(true) and SetTracing(false). Then each arrival at one Node has its sending at
// another, by the numbers in the events alone, and each record of a Save is named.
func TestNodeKeepsEvents(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		set := func(on bool) {
			for _, n := range c.nodes {
				n.SetTracing(on)
			}
			synctest.Wait()
		}
		propose(t, c.nodes[1], "before", "v")
		assert.Empty(t, slices.Collect(c.nodes[1].Events(0)))
		assert.False(t, c.nodes[1].Tracing().On)

		c.nodes[3].Close()
		c.start(3)                   // its boot is another than those of the others
		time.Sleep(10 * time.Second) // until all have heard of it
		set(true)
		assert.Equal(t, paxos.Tracing{On: true}, c.nodes[1].Tracing())
		propose(t, c.nodes[1], "lunch", "burger")
		require.NoError(t, c.nodes[1].Settled(t.Context()))
		time.Sleep(time.Second)
		checkKept(t, c)
		set(false)
		kept := slices.Collect(c.nodes[1].Events(0))
		propose(t, c.nodes[1], "between", "v")
		time.Sleep(time.Second)
		assert.Equal(t, kept, slices.Collect(c.nodes[1].Events(0)), "they stay")
		middle := kept[len(kept)/2].Seq
		assert.Equal(t, kept[len(kept)/2+1:], slices.Collect(c.nodes[1].Events(middle)))
		assert.Empty(t, slices.Collect(c.nodes[1].Events(1<<64-1)))

		set(true)
		propose(t, c.nodes[1], "after", "v")
		for e := range c.nodes[1].Events(0) {
			assert.NotContains(t, []string{"lunch", "between"}, e.Message.Instance)
		}
		c.nodes[1].Close()
		assert.NotEmpty(t, slices.Collect(c.nodes[1].Events(0)), "after a Close, too")
	})
}

// checkKept checks the events of a decision of "lunch" that server 1 proposed.
func checkKept(t *testing.T, c *testCluster) {
	type arrow struct {
		from, to    paxos.ServerID
		boot, seq   uint64
		text, place string
	}
	sent, received := map[arrow]int{}, map[arrow]int{}
	var ops []string
	records := map[paxos.ServerID][]string{}
	for id, n := range c.nodes {
		saves, last := map[uint64]bool{}, uint64(0)
		for e := range n.Events(0) {
			if last != 0 {
				require.Equal(t, last+1, e.Seq)
			}
			last = e.Seq
			assert.Equal(t, []any{id, n.Status().Boot}, []any{e.Server, e.Boot})
			switch e.Kind {
			case paxos.EventSend:
				sent[arrow{id, e.Peer, e.Boot, e.Packet, e.Message.String(), e.Message.Instance}]++
				assert.Equal(t, c.nodes[e.Peer].Status().Boot, e.PeerBoot)
			case paxos.EventReceive:
				received[arrow{e.Peer, id, e.PeerBoot, e.Packet, e.Message.String(), e.Message.Instance}]++
			case paxos.EventCall:
				ops = append(ops, e.Op)
			case paxos.EventSave:
				saves[e.Save] = true
			case paxos.EventRecord:
				assert.True(t, saves[e.Save], "the Save is told first")
				if e.Message.Instance == "lunch" {
					records[id] = append(records[id], fmt.Sprint(e.Message.Kind, e.Message.Promised, e.Message.Accepted, string(e.Message.Value)))
				}
			}
		}
	}
	require.NotEmpty(t, received)
	for a, n := range received {
		assert.Equal(t, n, sent[a], a)
	}
	assert.Equal(t, []string{"propose", "settled"}, ops)
	for id := range c.nodes {
		require.NotEmpty(t, records[id])
		assert.Contains(t, records[id][len(records[id])-1], "burger", "server %d", id)
		assert.Contains(t, records[id][len(records[id])-1], paxos.KindDecided.String(), "server %d", id)
	}
}

// Long values are kept in part.
func TestNodeCutsEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		c.startAll()
		c.nodes[1].SetTracing(true)
		synctest.Wait()
		long := paxos.Value(strings.Repeat("long", 250))
		propose(t, c.nodes[1], "lunch", long)
		seen := 0
		for e := range c.nodes[1].Events(0) {
			if e.Message.Instance == "lunch" && e.Message.Value != "" {
				seen++
				assert.Equal(t, long[:64], e.Message.Value)
				assert.Equal(t, 936, e.Cut)
			}
		}
		assert.Positive(t, seen)
	})
}

// Trace gets the events of a call with the context of the call, also when that has ended.
func TestTraceContext(t *testing.T) {
	type key struct{}
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		var seen []string
		c.nodes[1].Close()
		c.config = func(cfg *node.Config) {
			cfg.Trace = func(ctx context.Context, e paxos.Event) {
				about, _ := ctx.Value(key{}).(string)
				if about != "" {
					seen = append(seen, fmt.Sprintf("%s %d %s", about, e.Kind, e.Op))
				}
				isCall := (e.Kind == paxos.EventCall || e.Kind == paxos.EventDone) && e.Message.Instance != "without"
				assert.Equal(t, isCall, about != "", e)
				assert.NoError(t, ctx.Err())
			}
		}
		n := c.start(1)
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "request 7"))
		_, err := n.Propose(ctx, "lunch", "burger")
		require.NoError(t, err)
		c.nodes[2].Close()
		c.nodes[3].Close()
		waits := waiting(context.WithValue(ctx, key{}, "request 8"), n, "dinner")
		synctest.Wait()
		cancel()
		assert.ErrorIs(t, (<-waits).err, context.Canceled)
		_, _, _ = n.Peek(t.Context(), "without")
		n.Close()
		assert.Equal(t, []string{
			fmt.Sprintf("request 7 %d propose", paxos.EventCall), fmt.Sprintf("request 7 %d ", paxos.EventDone),
			fmt.Sprintf("request 8 %d wait", paxos.EventCall), fmt.Sprintf("request 8 %d ", paxos.EventDone),
		}, seen)
	})
}
