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

	"errors"

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

func TestNodeNames(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		for _, name := range []string{"a", strings.Repeat("b", 255), "a$", paxos.Owned(1, "a"), paxos.Owned(77, "a"), "$2.1.1/", "küche 寿司", " ", "\u00a0", strings.Repeat("é", 127)} {
			propose(t, c.nodes[1], name, "burger")
			c.agreed(name)
		}
		bad := map[string]string{
			"":                            "name is empty",
			strings.Repeat("b", 256):      "name has 256 bytes, at most 255 are allowed: too large",
			strings.Repeat("é", 128):      "name has 256 bytes, at most 255 are allowed: too large",
			"a\x00b":                      "has a control character",
			"a\nb":                        "has a control character",
			"a\u0085b":                    "has a control character",
			"\x7f":                        "has a control character",
			"\xff":                        "is not valid UTF-8",
			"a\xed\xa0\x80":               "is not valid UTF-8",
			"$":                           "begins with $, which is reserved",
			"$ready":                      "begins with $, which is reserved",
			"$1.1/a":                      "begins with $, which is reserved",
			paxos.Owned(0, "a"):           "begins with $, which is reserved",
			paxos.Owned(1, ""):            "begins with $, which is reserved",
			paxos.Owned(1, "a\n"):         "has a control character",
			strings.Repeat("\xff", 1<<20): "at most 255 are allowed",
		}
		for name, want := range bad {
			for op, err := range allCalls(soon(t), c.nodes[1], name) {
				if op == "ready" {
					continue
				}
				e := opError(t, err)
				assert.Equal(t, op, e.Op)
				assert.Contains(t, err.Error(), want)
				assert.LessOrEqual(t, len(err.Error()), 2000)
				assert.False(t, e.Unknown())
				assert.Equal(t, len(name) > 255, errors.Is(err, paxos.ErrTooLarge))
				assert.ErrorIs(t, err, paxos.ErrName)
			}
		}
		assert.Zero(t, c.nodes[1].Status().Open, "they hold no memory")
	})
}

func TestNodeValueLimits(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		large := paxos.Value(strings.Repeat("x", 1<<20))
		assert.Equal(t, large, propose(t, c.nodes[1], "lunch", large).Value)
		assert.Equal(t, large, c.agreed("lunch"))
		_, err := c.nodes[1].Propose(soon(t), "dinner", large+"x")
		assert.EqualError(t, err, `paxos: propose "dinner": value has 1048577 bytes, at most 1048576 are allowed: too large`)
		require.ErrorIs(t, err, paxos.ErrTooLarge)
		assert.False(t, paxos.Unknown(err))
	})
}

func TestNodeBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		c.config = func(cfg *node.Config) { cfg.Limits = paxos.Limits{MaxCalls: 3, MaxOpen: 2} }
		n := c.start(1)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		calls := []<-chan outcome{proposing(ctx, n, "a", ""), waiting(ctx, n, "b")}
		pending(t, calls[0])
		_, err := n.Propose(soon(t), "c", "")
		require.ErrorContains(t, err, `paxos: propose "c": 2 instances are open`)
		require.ErrorIs(t, err, paxos.ErrBusy)
		calls = append(calls, waiting(ctx, n, "b"))
		pending(t, calls[2])
		_, err = n.Wait(soon(t), "a")
		assert.EqualError(t, err, `paxos: wait "a": 3 calls wait: too many calls or instances are open`)
		require.ErrorIs(t, err, paxos.ErrBusy)
		assert.False(t, paxos.Unknown(err))
		cancel()
		for _, call := range calls {
			require.ErrorIs(t, (<-call).err, context.Canceled)
		}
		c.start(2)
		time.Sleep(time.Minute) // the work for them is at rest
		propose(t, n, "c", "")
	})
}

// The calls that the loop has not begun are bounded, too.
func TestNodeBusyWhileTheLoopIsHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		c.config = func(cfg *node.Config) { cfg.Limits.MaxCalls = 2 }
		c.startAll()
		release := holdLoop(c)
		first := proposing(context.Background(), c.nodes[1], "a", "")
		pending(t, first)
		second := proposing(context.Background(), c.nodes[1], "b", "")
		pending(t, second)
		_, err := c.nodes[1].Propose(soon(t), "c", "")
		require.ErrorIs(t, err, paxos.ErrBusy)
		release()
		require.NoError(t, (<-first).err)
		got := <-second // together with the one that holdLoop makes, they were three
		require.ErrorIs(t, got.err, paxos.ErrBusy)
	})
}

func TestNodeOutOfRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		n := c.start(1)
		c.net.join(2).Send(paxos.Packet{From: 2, To: 1, Store: 1, Boot: 1, Members: c.members.Fingerprint(), Seq: 1, Messages: []paxos.Message{
			{Kind: paxos.KindPrepare, Instance: "lunch", Ballot: paxos.Ballot{Round: paxos.MaxRound, Server: 2}},
			{Kind: paxos.KindPrepare, Instance: "dinner", Ballot: paxos.Ballot{Round: paxos.MaxRound + 1, Server: 2}},
		}})
		time.Sleep(time.Second)
		_, err := n.Propose(context.Background(), "lunch", "burger")
		require.ErrorIs(t, err, paxos.ErrRounds)
		assert.False(t, paxos.Unknown(err))
		c.start(3)
		propose(t, n, "dinner", "soup") // a message beyond MaxRound was dropped
		assert.Equal(t, uint64(1), n.Status().Counters.Dropped)
	})
}
