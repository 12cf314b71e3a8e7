package node_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
)

// A sizedTransport takes packets of so many bytes at most, and loses others.
type sizedTransport struct {
	paxos.Transport
	most int
	lost *int
}

func (t sizedTransport) MaxPacket() int { return t.most }

func (t sizedTransport) Send(p paxos.Packet) {
	if b, _ := p.AppendBinary(nil); len(b) > t.most {
		*t.lost++
		return
	}
	t.Transport.Send(p)
}

// Limits that the Transport can't carry are an error of Start that names both. A default gives way: no packet is too large then, for
// this server's Transport and for those of the others.
func TestNodeRefusesASmallTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		lost, most, limits := 0, 64<<10, paxos.Limits{}
		c.config = func(cfg *node.Config) {
			cfg.Limits = limits
			if cfg.ID != 3 {
				cfg.Transport = sizedTransport{cfg.Transport, most, &lost}
			}
		}
		_, err := c.tryStart(context.Background(), 1)
		require.EqualError(t, err, "paxos: start: Config.Limits.MaxValue: 1048576, but the Transport takes packets of 65536 bytes at most: "+
			"want 64512 at most here, or 1049600 there at least")
		limits.MaxValue, limits.MaxPacket, most = 60<<10, 1<<20, 70<<10
		_, err = c.tryStart(context.Background(), 1)
		require.ErrorContains(t, err, "Config.Limits.MaxPacket: 1048576, but the Transport takes packets of 71680 bytes at most")
		limits.MaxPacket = 0
		c.startAll()
		calls := make([]<-chan outcome, 2000)
		for i := range calls {
			calls[i] = proposing(context.Background(), c.nodes[paxos.ServerID(i%3+1)], strings.Repeat("n", 100)+string(rune('a'+i%26))+strings.Repeat("m", i/26), "v")
		}
		for _, call := range calls {
			require.NoError(t, (<-call).err)
		}
		assert.Zero(t, lost)
	})
}

// Both sides say which limits differ, once, in the log and in Status; and what no quorum takes is an error of the call.
func TestNodeSaysThatLimitsDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		var logs [4]bytes.Buffer
		c.config = func(cfg *node.Config) {
			cfg.Logger = slog.New(slog.NewTextHandler(&logs[cfg.ID], nil))
			if cfg.ID > 1 {
				cfg.Limits.MaxValue = 100
			}
		}
		c.startAll()
		time.Sleep(time.Second)
		began := time.Now()
		_, err := c.nodes[1].Propose(soon(t), "lunch", paxos.Value(strings.Repeat("x", 101)))
		require.ErrorIs(t, err, paxos.ErrTooLarge)
		assert.ErrorContains(t, err, "server 2 takes 100 at most, server 3 takes 100 at most; majority(3) needs 2")
		assert.False(t, paxos.Unknown(err))
		assert.Zero(t, time.Since(began))
		assert.Equal(t, "Limits.MaxValue is 100 there, 1048576 here", c.nodes[1].Status().Peers[1].Limits)
		for _, n := range c.nodes {
			require.NoError(t, n.Close())
		}
		for id, want := range map[int]map[string]int{
			1: {`level=WARN msg="limits differ from those of a peer" cluster=test server=1 peer=2 err="Limits.MaxValue is 100 there, 1048576 here"`: 1, "peer=3": 1},
			2: {`level=WARN msg="limits differ from those of a peer" cluster=test server=2 peer=1 err="Limits.MaxValue is 1048576 there, 100 here"`: 1, "peer=3": 0},
			3: {"peer=1": 1, "peer=2": 0},
		} {
			for words, times := range want {
				assert.Equal(t, times, strings.Count(logs[id].String(), words), "%d: %s\n%s", id, words, logs[id].String())
			}
		}
	})
}
